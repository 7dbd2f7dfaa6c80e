//! The folder of a run: everything that it leaves behind, every file whole at any moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::Experiment;
use crate::atomic_file::write_atomically;
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::formats::weights::{self, OPTIMIZER_PREFIX, Provenance};
#[cfg(feature = "figures")]
use crate::report::{CurvePoint, learning_curve};
use crate::train::{EpochMetrics, Position, TrainError, Trainer};

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
#[cfg(feature = "figures")]
const CURVE: [&str; 2] = ["learning_curve.png", "learning_curve.svg"];
const WEIGHTS: &str = "weights.safetensors";
const SUMMARY: &str = "summary.json";
/// The metadata of a checkpoint that a plain weights file does not have.
const POSITION: &str = "position";

/// A run's folder.
///
/// | file | holds |
/// |---|---|
/// | `config.toml` | the experiment, every key spelt out |
/// | `metrics.jsonl` | an object an epoch |
/// | `last.safetensors` | the newest checkpoint: weights, optimiser state, position |
/// | `best.safetensors` | the weights of the epoch with the best validation accuracy |
/// | `learning_curve.png`, `.svg` | the picture of `metrics.jsonl` (feature `figures`) |
/// | `weights.safetensors` | the weights after the last epoch, with their test accuracy, once the run is done |
/// | `summary.json` | the result, once the run is done |
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
}

/// The result of a run, as in `summary.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Which data was used.
    pub dataset: crate::data::Source,
    /// Training images.
    pub train_images: i64,
    /// Epochs done.
    pub epochs: u64,
    /// The seed.
    pub seed: u64,
    /// The device.
    pub device: String,
    /// Test images.
    pub test_images: i64,
    /// Share of test images classified right as rates; of the newest weights, as all below.
    pub test_rate_accuracy: f64,
    /// The same as spikes, at the last step.
    pub test_spiking_accuracy: f64,
    /// The same at every step.
    pub test_accuracy_by_step: Vec<f64>,
    /// Time spent on training steps (s).
    pub training_seconds: f64,
    /// The version of this library.
    pub version: String,
}

impl RunFolder {
    /// A folder for a new run, made if it is not there.
    ///
    /// # Errors
    /// If it holds a run already, or cannot be made.
    pub fn create(path: impl Into<PathBuf>, experiment: &Experiment) -> Result<Self> {
        let folder = Self { path: path.into() };
        if [CONFIG, METRICS, LAST, BEST].iter().any(|file| folder.file(file).exists()) {
            return Err(TrainError::FolderTaken { folder: folder.path }.into());
        }
        std::fs::create_dir_all(&folder.path).map_err(|source| Error::io("create the folder", &folder.path, source))?;
        folder.write_config(experiment)?;
        Ok(folder)
    }

    /// The folder of a run that is there, perhaps ended before its first checkpoint.
    ///
    /// # Errors
    /// If it has no config, or has lost its checkpoint.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let folder = Self { path: path.into() };
        let needed: &[&str] = if folder.file(METRICS).exists() { &[CONFIG, LAST] } else { &[CONFIG] };
        for file in needed {
            if !folder.file(file).is_file() {
                let cause = format!("there is no {file} in it");
                return Err(TrainError::NotARun { folder: folder.path, cause }.into());
            }
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest checkpoint.
    pub fn last(&self) -> PathBuf {
        self.file(LAST)
    }

    /// The best weights.
    pub fn best(&self) -> PathBuf {
        self.file(BEST)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The experiment of this run.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn experiment(&self) -> Result<Experiment> {
        Experiment::from_file(self.file(CONFIG))
    }

    /// Writes the experiment (again, when a run goes on with more epochs).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_config(&self, experiment: &Experiment) -> Result<()> {
        let text = experiment.to_toml()?;
        write_atomically(self.file(CONFIG), |file| file.write_all(text.as_bytes()))
    }

    /// The trainer of this run, where its newest checkpoint left it, or at the start if there is none yet; `experiment` is
    /// the run's own, with perhaps more epochs.
    ///
    /// # Errors
    /// If the checkpoint is damaged or belongs to another network, or all epochs are done.
    pub fn resume(&self, experiment: Experiment, data: &Dataset, device: Device) -> Result<Trainer> {
        let mut trainer = Trainer::new(experiment, data, device)?;
        if !self.last().exists() {
            return Ok(trainer);
        }
        let file = weights::read(&self.last())?;
        let not_a_run = |cause: String| TrainError::NotARun { folder: self.path.clone(), cause };
        let position = file.metadata.get(POSITION).ok_or_else(|| not_a_run(format!("{LAST} is no checkpoint")))?;
        let position: SavedPosition =
            serde_json::from_str(position).map_err(|error| not_a_run(format!("{LAST}: {error}")))?;
        if position.dataset != trainer.source().name() {
            let (then, now) = (position.dataset, trainer.source().name());
            return Err(not_a_run(format!("it was trained on {then}, and now {now} would be used")).into());
        }
        weights::load_into(trainer.network(), &file.tensors)?;
        let state = file.tensors.into_iter();
        let state = state.filter_map(|(name, tensor)| Some((name.strip_prefix(OPTIMIZER_PREFIX)?.to_string(), tensor)));
        trainer.optimizer.load_state(&state.collect::<BTreeMap<_, _>>(), position.optimizer_steps)?;
        trainer.position = position.position;
        // A run that was stopped between its last epoch and its test still has the test to do.
        let Position { epoch, step, .. } = *trainer.position();
        let tested_or_beyond = self.tested_after() == Some(epoch) || step > 0;
        if epoch >= trainer.experiment().training.epochs && tested_or_beyond {
            return Err(TrainError::NothingToDo { done: epoch }.into());
        }
        Ok(trainer)
    }

    /// How many epochs the run had done when its summary was written.
    fn tested_after(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.file(SUMMARY)).ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?.get("epochs")?.as_u64()
    }

    /// Saves all that is known after an epoch: metrics, picture, best weights, checkpoint.
    ///
    /// # Errors
    /// If something cannot be written; what was there before is whole then.
    pub fn save_epoch(&self, trainer: &Trainer) -> Result<()> {
        let history = &trainer.position().history;
        let score = |metrics: &EpochMetrics| metrics.validation_accuracy.unwrap_or(metrics.train_accuracy);
        let (newest, earlier) = match history.split_last() {
            Some((newest, earlier)) => (newest, earlier),
            None => return self.save_checkpoint(trainer),
        };
        if earlier.iter().all(|metrics| score(metrics) < score(newest)) {
            weights::save_network(&self.best(), trainer.network(), &self.provenance(trainer))?;
        }
        // Before what can be made again from it.
        self.save_checkpoint(trainer)?;
        self.save_history(trainer)
    }

    /// Saves metrics and picture of the epochs done, if there are any.
    ///
    /// # Errors
    /// If something cannot be written; what was there before is whole then.
    pub fn save_history(&self, trainer: &Trainer) -> Result<()> {
        let history = &trainer.position().history;
        if history.is_empty() {
            return Ok(());
        }
        write_atomically(self.file(METRICS), |file| {
            history.iter().try_for_each(|metrics| writeln!(file, "{}", serde_json::to_string(metrics)?))
        })?;
        #[cfg(feature = "figures")]
        self.save_curve(trainer)?;
        Ok(())
    }

    #[cfg(feature = "figures")]
    fn save_curve(&self, trainer: &Trainer) -> Result<()> {
        let point = |metrics: &EpochMetrics| CurvePoint {
            epoch: metrics.epoch as f64,
            loss: metrics.loss,
            train_accuracy: metrics.train_accuracy,
            validation_accuracy: metrics.validation_accuracy,
            spiking_accuracy: metrics.spiking_accuracy,
        };
        let points: Vec<CurvePoint> = trainer.position().history.iter().map(point).collect();
        let curve = learning_curve(&format!("Learning curve: {}", trainer.source().name()), &points);
        CURVE.iter().try_for_each(|file| curve.save(self.file(file)))
    }

    /// Saves a checkpoint, at any step.
    ///
    /// # Errors
    /// If it cannot be written; the one before is whole then.
    pub fn save_checkpoint(&self, trainer: &Trainer) -> Result<()> {
        let position = SavedPosition {
            position: trainer.position().clone(),
            optimizer_steps: trainer.optimizer.steps(),
            dataset: trainer.source().name().to_string(),
        };
        let mut provenance = self.provenance(trainer);
        let text = serde_json::to_string(&position).map_err(|error| Error::io("write", self.last(), error.into()))?;
        provenance.facts.insert(POSITION.to_string(), text);
        let state = trainer.optimizer.state().into_iter();
        let state: Vec<(String, Tensor)> =
            state.map(|(name, tensor)| (format!("{OPTIMIZER_PREFIX}{name}"), tensor)).collect();
        weights::save_network_with(&self.last(), trainer.network(), &provenance, &state)
    }

    /// Writes the result of the run: the final weights, which say how good they are, and the summary.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn save_result(&self, trainer: &Trainer, summary: &Summary) -> Result<()> {
        let mut provenance = self.provenance(trainer);
        provenance.facts.extend([
            ("test_images".to_string(), summary.test_images.to_string()),
            ("test_rate_accuracy".to_string(), format!("{:.4}", summary.test_rate_accuracy)),
            ("test_spiking_accuracy".to_string(), format!("{:.4}", summary.test_spiking_accuracy)),
            ("test_steps".to_string(), summary.test_accuracy_by_step.len().to_string()),
        ]);
        weights::save_network(&self.file(WEIGHTS), trainer.network(), &provenance)?;
        let path = self.file(SUMMARY);
        let text = serde_json::to_string_pretty(summary).map_err(|error| Error::io("write", &path, error.into()))?;
        write_atomically(path, |file| writeln!(file, "{text}"))
    }

    fn provenance(&self, trainer: &Trainer) -> Provenance {
        let mut facts = BTreeMap::from([("epochs".to_string(), trainer.position().epoch.to_string())]);
        if let Some(metrics) = trainer.position().history.last() {
            let accuracies =
                [("validation_accuracy", metrics.validation_accuracy), ("spiking_accuracy", metrics.spiking_accuracy)];
            for (name, accuracy) in accuracies {
                facts.extend(accuracy.map(|accuracy| (name.to_string(), format!("{accuracy:.4}"))));
            }
        }
        Provenance { seed: trainer.experiment().seed, dataset: Some(trainer.source().name().to_string()), facts }
    }
}

#[derive(Serialize, Deserialize)]
struct SavedPosition {
    position: Position,
    optimizer_steps: u64,
    dataset: String,
}
