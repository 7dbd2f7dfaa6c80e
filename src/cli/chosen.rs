//! Options shared by several commands: the network, the images, the engine.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tch_spiking::data::{self, DataConfig, Dataset, DatasetName};
use tch_spiking::engine::Engine;
use tch_spiking::weights::{
    LoadedNetwork, TensorMap, load_network, load_network_as, load_network_mapped, require_finite,
};
use tch_spiking::{Experiment, pretrained};

use super::Console;

/// Options that choose the network.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Weights file or checkpoint, such as runs/1/best.safetensors; of any format, see `inspect`
    #[arg(long, value_name = "FILE", conflicts_with = "pretrained")]
    weights: Option<PathBuf>,
    /// Experiment with the network of the weights, for files without a specification
    #[arg(long, value_name = "FILE.toml", conflicts_with = "pretrained")]
    config: Option<PathBuf>,
    /// Mapping from tensors of the file to parameters, if names, order and shapes do not match
    #[arg(long, value_name = "FILE.toml", requires = "config")]
    map: Option<PathBuf>,
    /// Use weights that are NaN or infinite all the same
    #[arg(long)]
    allow_non_finite: bool,
    /// Pretrained network [default: mnist-lif]
    #[arg(long, value_name = "NAME")]
    pretrained: Option<String>,
}

impl NetworkArgs {
    /// Loads the network; returns its display name too.
    pub fn load(&self, device: tch::Device, console: &Console) -> anyhow::Result<(String, LoadedNetwork)> {
        self.open(self.weights.as_deref(), device, console)
    }

    /// Loads the network of the file `input` if given, otherwise the chosen one; returns its display name too. It must
    /// not be the file `output`, which will be overwritten.
    pub fn source(
        &self,
        input: Option<&Path>,
        output: &Path,
        device: tch::Device,
        console: &Console,
    ) -> anyhow::Result<(String, LoadedNetwork)> {
        let chosen = input.or(self.weights.as_deref());
        if let (Some(Ok(from)), Ok(to)) = (chosen.map(Path::canonicalize), output.canonicalize())
            && from == to
        {
            bail!("{} is also the source: choose another output file", output.display());
        }
        self.open(chosen, device, console)
    }

    fn open(
        &self,
        file: Option<&Path>,
        device: tch::Device,
        console: &Console,
    ) -> anyhow::Result<(String, LoadedNetwork)> {
        let (name, loaded) = self.find(file, device, console)?;
        if !self.allow_non_finite {
            let parameters = loaded.network.named_parameters();
            require_finite(parameters.iter().map(|(name, tensor)| (name, tensor))).context(name.clone())?;
        }
        Ok((name, loaded))
    }

    fn find(
        &self,
        file: Option<&Path>,
        device: tch::Device,
        console: &Console,
    ) -> anyhow::Result<(String, LoadedNetwork)> {
        match (file, &self.config) {
            (None, Some(_)) => bail!("--config describes the network of a weights file: give the weights file too"),
            (None, None) => {
                let name = self.pretrained.as_deref().unwrap_or(pretrained::DEFAULT);
                Ok((name.to_string(), load_network(&pretrained::find(name)?, device)?))
            }
            (Some(path), config) => {
                let loaded = match config {
                    Some(config) => {
                        load_as(path, &Experiment::from_file(config)?, self.map.as_deref(), device, console)?
                    }
                    None => load_network(path, device)?,
                };
                Ok((path.display().to_string(), loaded))
            }
        }
    }
}

/// Loads the weights in `path` into the network of `experiment`; prints the matches if they are not by name.
pub fn load_as(
    path: &Path,
    experiment: &Experiment,
    map: Option<&Path>,
    device: tch::Device,
    console: &Console,
) -> anyhow::Result<LoadedNetwork> {
    let (spec, seed) = (&experiment.network, console.seed.unwrap_or(experiment.seed));
    let mut loaded = match map {
        Some(map) => load_network_mapped(path, spec, seed, device, &TensorMap::from_file(map)?)?,
        None => load_network_as(path, spec, seed, device)?,
    };
    if !loaded.matching.is_plain() {
        console.note(&loaded.matching.to_string());
    }
    let trained_on = experiment.data.dataset.to_possible_value().map(|dataset| dataset.get_name().to_string());
    loaded.provenance.dataset = loaded.provenance.dataset.or(trained_on);
    Ok(loaded)
}

/// Options that choose the images.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Data set [default: that of the training; MNIST falls back to the built-in digits]
    #[arg(long, value_enum)]
    pub dataset: Option<DatasetName>,
    /// Search this folder first
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl ImageArgs {
    /// Loads the data set for its test images, at most `limit` of them.
    pub fn load(&self, network: &LoadedNetwork, limit: Option<usize>, console: &Console) -> anyhow::Result<Dataset> {
        self.load_with_training(network, 0, limit, console)
    }

    /// Loads the data set with at most `limit` test images and the first `training` training images.
    pub fn load_with_training(
        &self,
        network: &LoadedNetwork,
        training: usize,
        limit: Option<usize>,
        console: &Console,
    ) -> anyhow::Result<Dataset> {
        let trained_on = match network.provenance.dataset.as_deref() {
            Some("fashion") => DatasetName::Fashion,
            Some("digits") => DatasetName::Digits,
            _ => DatasetName::Auto,
        };
        let config = DataConfig {
            dataset: self.dataset.clone().unwrap_or(trained_on),
            path: self.data.clone(),
            train_images: Some(training),
            validation_images: 0,
            ..DataConfig::default()
        };
        // Built-in digits: the ones that the run was tested on.
        let seed = console.seed.unwrap_or(network.provenance.seed);
        let mut data = data::load(&config, seed, &mut |text| console.note(text))?;
        if let Some(limit) = limit {
            data.test = data.test.range(0..limit);
        }
        Ok(data)
    }
}

/// The option that chooses the engine.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// Simulation engine: `event` (CPU, fast for sparse spikes), `dense`, or `auto` (the faster one)
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t = EngineChoice::Auto)]
    engine: EngineChoice,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EngineChoice {
    Auto,
    Dense,
    Event,
}

impl EngineArgs {
    pub fn engine(&self) -> Engine {
        match self.engine {
            EngineChoice::Auto => Engine::Auto,
            EngineChoice::Dense => Engine::Dense,
            EngineChoice::Event => Engine::Event,
        }
    }
}
