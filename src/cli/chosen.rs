//! Which network and which images a command is about: options that several commands share.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use tch_spiking::data::{self, DataConfig, Dataset, DatasetName};
use tch_spiking::engine::Engine;
use tch_spiking::weights::{LoadedNetwork, TensorMap, load_network, load_network_as, load_network_mapped};
use tch_spiking::{Experiment, pretrained};

use super::Console;

/// Which network.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Weights file or checkpoint, such as runs/1/best.safetensors; of any format, see `inspect`
    #[arg(long, value_name = "FILE", conflicts_with = "pretrained")]
    weights: Option<PathBuf>,
    /// Experiment whose network the weights are of, for a file that does not say
    #[arg(long, value_name = "FILE.toml", conflicts_with = "pretrained")]
    config: Option<PathBuf>,
    /// Which tensor of the file is which parameter, where names, order and shapes do not tell
    #[arg(long, value_name = "FILE.toml", requires = "config")]
    map: Option<PathBuf>,
    /// Pretrained network [default: mnist-lif]
    #[arg(long, value_name = "NAME")]
    pretrained: Option<String>,
}

impl NetworkArgs {
    /// The network and what to call it.
    pub fn load(&self, device: tch::Device, console: &Console) -> anyhow::Result<(String, LoadedNetwork)> {
        self.open(self.weights.as_deref(), device, console)
    }

    /// The network of the file `input`, if there is one, else the chosen one; and what to call it. It may not be the file
    /// that `output` is about to replace.
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
            bail!("{} is the source itself: name another file to write", output.display());
        }
        self.open(chosen, device, console)
    }

    fn open(
        &self,
        file: Option<&Path>,
        device: tch::Device,
        console: &Console,
    ) -> anyhow::Result<(String, LoadedNetwork)> {
        match (file, &self.config) {
            (None, Some(_)) => bail!("--config says what network a weights file is of: give the file too"),
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

/// The weights in `path` in the network of `experiment`; says what was matched with what where that is not plain.
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

/// Which images.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// Which images [default: those that the network was trained on; MNIST falls back to the built-in digits]
    #[arg(long, value_enum)]
    pub dataset: Option<DatasetName>,
    /// Look for the data in this folder first
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl ImageArgs {
    /// The data set, of which only the test images are wanted, `limit` of them at most.
    pub fn load(&self, network: &LoadedNetwork, limit: Option<usize>, console: &Console) -> anyhow::Result<Dataset> {
        self.load_with_training(network, 0, limit, console)
    }

    /// The same with the first `training` training images too.
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
        // Built-in digits: those that the run was tested on.
        let seed = console.seed.unwrap_or(network.provenance.seed);
        let mut data = data::load(&config, seed, &mut |text| console.note(text))?;
        if let Some(limit) = limit {
            data.test = data.test.range(0..limit);
        }
        Ok(data)
    }
}

/// Which engine computes a simulation.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// What computes the spikes: `event` where there are few, on the CPU; `dense`; `auto` picks
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
