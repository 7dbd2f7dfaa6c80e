//! Which network and which images a command is about: options that several commands share.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use tch_spiking::data::{self, DataConfig, Dataset, DatasetName};
use tch_spiking::engine::Engine;
use tch_spiking::pretrained;
use tch_spiking::weights::{LoadedNetwork, load_network};

use super::Console;

/// Which network.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Weights file or checkpoint, such as runs/1/best.safetensors
    #[arg(long, value_name = "FILE", conflicts_with = "pretrained")]
    weights: Option<PathBuf>,
    /// Pretrained network [default: mnist-lif]
    #[arg(long, value_name = "NAME")]
    pretrained: Option<String>,
}

impl NetworkArgs {
    /// The network and what to call it.
    pub fn load(&self, device: tch::Device) -> anyhow::Result<(String, LoadedNetwork)> {
        let (name, path) = self.find()?;
        Ok((name, load_network(&path, device)?))
    }

    /// The network of the file `input`, if there is one, else the chosen one; and what to call it. It may not be the file
    /// that `output` is about to replace.
    pub fn source(
        &self,
        input: Option<&Path>,
        output: &Path,
        device: tch::Device,
    ) -> anyhow::Result<(String, LoadedNetwork)> {
        let (name, path) = match input {
            Some(path) => (path.display().to_string(), path.to_path_buf()),
            None => self.find()?,
        };
        if let (Ok(from), Ok(to)) = (path.canonicalize(), output.canonicalize())
            && from == to
        {
            bail!("{} is the source itself: name another file to write", output.display());
        }
        Ok((name, load_network(&path, device)?))
    }

    fn find(&self) -> anyhow::Result<(String, PathBuf)> {
        Ok(match &self.weights {
            Some(path) => (path.display().to_string(), path.clone()),
            None => {
                let name = self.pretrained.as_deref().unwrap_or(pretrained::DEFAULT);
                (name.to_string(), pretrained::find(name)?)
            }
        })
    }
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
            dataset: self.dataset.unwrap_or(trained_on),
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
