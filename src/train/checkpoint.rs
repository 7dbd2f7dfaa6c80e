//! Checkpoints: weights, optimiser state and position of a training run.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::average::Average;
use super::{EpochMetrics, Optimizer, Position, TrainError, Trainer};
use crate::error::{Error, Result};
use crate::formats::weights::{self, OPTIMIZER_PREFIX, Provenance};

/// The metadata key that distinguishes a checkpoint from a weights file.
const POSITION: &str = "position";

#[derive(Serialize, Deserialize)]
struct SavedPosition {
    position: Position,
    /// The metrics of the latest completed epoch; a checkpoint of version 0.1.0 has those of all in its position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latest: Option<EpochMetrics>,
    /// What the checkpoint was made by; version 0.1.0 does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made_by: Option<MadeBy>,
    optimizer_steps: u64,
    /// The number of updates of the weights' average.
    #[serde(default)]
    average_updates: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dataset: Option<String>,
}

/// What a checkpoint was made by: with the same, training goes on bit for bit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeBy {
    /// The experiment in TOML, if [set](Trainer::with_experiment).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    /// The device: `cpu` or `cuda`.
    pub device: String,
    /// The number of CPU threads, on which the order of sums depends.
    pub threads: i32,
}

impl Trainer {
    /// Sets the experiment in TOML, which checkpoints record.
    pub fn with_experiment(mut self, toml: Option<String>) -> Self {
        self.experiment = toml;
        self
    }

    /// What the checkpoints of this trainer are made by.
    pub fn made_by(&self) -> MadeBy {
        let device = if self.network.device() == Device::Cpu { "cpu" } else { "cuda" };
        MadeBy { experiment: self.experiment.clone(), device: device.to_string(), threads: tch::get_num_threads() }
    }

    /// Saves weights, optimiser state and position to the safetensors file `path`, from which
    /// [`load_checkpoint`](Self::load_checkpoint) resumes bit for bit. The file is also a valid weights file. Its size
    /// does not depend on the number of epochs: of their metrics it holds the latest only.
    ///
    /// # Errors
    /// If it cannot be written; an existing file is left intact.
    pub fn save_checkpoint(&self, path: &Path) -> Result<()> {
        let (averages, average_updates) = self.average.as_ref().map(Average::state).unwrap_or_default();
        let position = SavedPosition {
            position: self.position.clone(),
            latest: self.position.history.last().cloned(),
            made_by: Some(self.made_by()),
            optimizer_steps: self.optimizer.steps(),
            average_updates,
            dataset: self.dataset.clone(),
        };
        let text = serde_json::to_string(&position).map_err(|error| Error::io("write", path, error.into()))?;
        let mut provenance = self.provenance();
        provenance.facts.insert(POSITION.to_string(), text);
        let state = self.optimizer.state().into_iter().chain(averages);
        let state: Vec<(String, Tensor)> =
            state.map(|(name, tensor)| (format!("{OPTIMIZER_PREFIX}{name}"), tensor)).collect();
        weights::save_network_with(path, &self.network, &provenance, &state)
    }

    /// Resumes from the checkpoint `path`, saved by a trainer with the same network, optimiser, samples and seed.
    ///
    /// # Errors
    /// If the file cannot be read, is not a checkpoint, or has another network, optimiser or data set; nothing is
    /// changed then.
    pub fn load_checkpoint(&mut self, path: &Path) -> Result<()> {
        self.load_checkpoint_if(path, &|_| Ok(()))
    }

    /// The same, if `accept` returns no error for what the checkpoint was made by (if it says so).
    ///
    /// # Errors
    /// As for [`load_checkpoint`](Self::load_checkpoint), and that of `accept`.
    pub fn load_checkpoint_if(&mut self, path: &Path, accept: &dyn Fn(&MadeBy) -> Result<()>) -> Result<()> {
        let file = weights::read(path)?;
        let fail = |cause: String| TrainError::Checkpoint { path: path.to_path_buf(), cause };
        let position = file.metadata.get(POSITION).ok_or_else(|| {
            fail("is not a checkpoint: expected weights with a training position, found none".to_string())
        })?;
        let saved: SavedPosition = serde_json::from_str(position)
            .map_err(|error| fail(format!("has a position that cannot be read: {error}")))?;
        if let (Some(then), Some(now)) = (&saved.dataset, &self.dataset)
            && then != now
        {
            return Err(fail(format!("is a checkpoint of training on {then}, but the data is now {now}")).into());
        }
        saved.made_by.as_ref().map_or(Ok(()), accept)?;
        weights::check_fit(&self.network, &file.tensors)?;
        let state = file.tensors.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix(OPTIMIZER_PREFIX)?.to_string(), tensor.shallow_clone()))
        });
        let state = state.collect::<BTreeMap<_, _>>();
        let stage = self.stage_of(saved.position.epoch);
        let mut optimizer = Optimizer::new(stage.config.optimizer, self.network.named_parameters())?;
        optimizer.load_state(&state, saved.optimizer_steps)?;
        let average = stage.average(&self.network).map(|average| average.at(&state, saved.average_updates));
        let average = average.transpose()?;
        weights::load_into(&self.network, &file.tensors)?;
        self.enter_stage_of(saved.position.epoch)?;
        (self.optimizer, self.average) = (optimizer, average);
        let SavedPosition { mut position, latest, .. } = saved;
        let all = std::mem::take(&mut position.history);
        match position.best {
            None => all.into_iter().for_each(|metrics| position.add(metrics)),
            Some(_) => position.history = latest.into_iter().collect(),
        }
        self.position = position;
        Ok(())
    }

    /// Puts the metrics of earlier epochs, in any order, before those of a loaded checkpoint, which holds the latest
    /// only.
    pub fn restore_history(&mut self, mut earlier: Vec<EpochMetrics>) {
        let history = &mut self.position.history;
        let known_from = history.first().map_or(self.position.epoch + 1, |metrics| metrics.epoch);
        earlier.retain(|metrics| metrics.epoch < known_from);
        earlier.sort_by_key(|metrics| metrics.epoch);
        earlier.dedup_by_key(|metrics| metrics.epoch);
        history.splice(0..0, earlier);
    }

    /// The provenance to store in a network file: seed, data, epochs and the latest accuracies.
    pub fn provenance(&self) -> Provenance {
        let mut facts = BTreeMap::from([("epochs".to_string(), self.position.epoch.to_string())]);
        if let Some(metrics) = self.position.history.last() {
            let results = [
                ("validation_accuracy", metrics.validation_accuracy),
                ("spiking_accuracy", metrics.spiking_accuracy),
                ("validation_loss", metrics.validation_loss),
                ("spiking_loss", metrics.spiking_loss),
            ];
            for (name, result) in results {
                facts.extend(result.map(|result| (name.to_string(), format!("{result:.4}"))));
            }
        }
        Provenance { seed: self.seed, dataset: self.dataset.clone(), facts }
    }
}
