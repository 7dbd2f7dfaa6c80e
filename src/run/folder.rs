//! The folder of a run. Every file is written atomically.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::changes::changes;
use super::claim::Claim;
use super::{Experiment, Run, Summary, history};
use crate::atomic_file::write_atomically;
use crate::error::{Error, Result};
use crate::formats::weights;
#[cfg(feature = "figures")]
use crate::report::{CurvePoint, learning_curve};
use crate::train::{MadeBy, Position, TrainError, Trainer};

const CONFIG: &str = "config.toml";
const METRICS: &str = "metrics.jsonl";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";
#[cfg(feature = "figures")]
const CURVE: [&str; 2] = ["learning_curve.png", "learning_curve.svg"];
const WEIGHTS: &str = "weights.safetensors";
const SUMMARY: &str = "summary.json";
/// The files that make a folder one of a run.
const FILES: [&str; 6] = [CONFIG, LAST, BEST, METRICS, WEIGHTS, SUMMARY];

/// The folder of a run.
///
/// | file | holds |
/// |---|---|
/// | `config.toml` | the experiment, with every key |
/// | `metrics.jsonl` | one object per epoch |
/// | `last.safetensors` | the latest checkpoint: weights, optimiser state, position |
/// | `best.safetensors` | the weights of the epoch with the best validation accuracy, of the latest stage |
/// | `learning_curve.png`, `.svg` | the figure of `metrics.jsonl` |
/// | `weights.safetensors` | the weights after the last epoch, with their test accuracy, once the run is completed |
/// | `summary.json` | the result, once the run is completed |
/// | `run.lock` | the process that uses the folder, while it does |
///
/// A folder belongs to one value of this type (and its clones) at a time, in all processes; the claim ends with the
/// value, and with the process.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Shared by the clones; released by the last one.
    _claim: Arc<Claim>,
}

impl RunFolder {
    /// Creates the folder of a new run, or claims an existing one without files of a run.
    ///
    /// # Errors
    /// If it already contains a run or a part of one, is in use, or cannot be created; or if the experiment cannot be
    /// written as TOML.
    pub fn create(path: impl Into<PathBuf>, experiment: &Experiment) -> Result<Self> {
        let (path, text) = (path.into(), experiment.to_toml()?);
        std::fs::create_dir_all(&path).map_err(|source| Error::io("create the folder", &path, source))?;
        let folder = Self { _claim: Arc::new(Claim::new(&path)?), path };
        folder.begin(&text)
    }

    /// Creates the folder of a new run in `parent`, with the lowest number that is free as its name, from 1. A number
    /// belongs to one process, however many search at a time.
    ///
    /// # Errors
    /// As for [`create`](Self::create).
    pub fn create_next(parent: &Path, experiment: &Experiment) -> Result<Self> {
        let text = experiment.to_toml()?;
        std::fs::create_dir_all(parent).map_err(|source| Error::io("create the folder", parent, source))?;
        let mut number = 1_u64;
        loop {
            let path = parent.join(number.to_string());
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    let folder = Self { _claim: Arc::new(Claim::new(&path)?), path };
                    return folder.begin(&text);
                }
                Err(source) if source.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(Error::io("create the folder", &path, source)),
            }
        }
    }

    /// Writes the configuration `text` of a new run, unless the folder holds files of another.
    fn begin(self, text: &str) -> Result<Self> {
        if let Some(file) = FILES.into_iter().find(|file| self.file(file).exists()) {
            return Err(TrainError::FolderTaken { folder: self.path, file: file.to_string() }.into());
        }
        self.write_text(text)?;
        Ok(self)
    }

    /// Opens the folder of an existing run, which may have ended before its first checkpoint.
    ///
    /// # Errors
    /// If its config is missing, its checkpoint was lost, or it is in use.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let not_a_run = |cause: String| Err(TrainError::NotARun { folder: path.clone(), cause }.into());
        if !path.join(CONFIG).is_file() {
            return not_a_run(format!("it contains no {CONFIG}"));
        }
        // The checkpoint is written before the metrics.
        if path.join(METRICS).exists() && !path.join(LAST).is_file() {
            let config = path.join(CONFIG);
            let start = match path.join(BEST) {
                best if best.is_file() => format!(" --weights {}", best.display()),
                _ => String::new(),
            };
            return not_a_run(format!(
                "it contains no {LAST}, the checkpoint to go on from. Put it back, or start a new run: \
                 tch-spiking train --config {}{start}",
                config.display()
            ));
        }
        Ok(Self { _claim: Arc::new(Claim::new(&path)?), path })
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the latest checkpoint.
    pub fn last(&self) -> PathBuf {
        self.file(LAST)
    }

    /// The path of the best weights.
    pub fn best(&self) -> PathBuf {
        self.file(BEST)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads the experiment of this run.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn experiment(&self) -> Result<Experiment> {
        Experiment::from_file(self.file(CONFIG))
    }

    /// Writes the experiment (again, when a run is resumed with more epochs).
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_config(&self, experiment: &Experiment) -> Result<()> {
        self.write_text(&experiment.to_toml()?)
    }

    fn write_text(&self, config: &str) -> Result<()> {
        write_atomically(self.file(CONFIG), |file| file.write_all(config.as_bytes()))
    }

    /// Restores `run` (of this folder's experiment, possibly with more epochs) from the latest checkpoint; if there is
    /// none yet, the run stays at its start.
    ///
    /// # Errors
    /// If the checkpoint is damaged, belongs to another network or was made by another configuration or number of
    /// threads, or all epochs are completed.
    pub fn resume(&self, run: &mut Run) -> Result<()> {
        let now = run.trainer().made_by();
        self.resume_if(run, &|then| match changes(then, &now) {
            differences if differences.is_empty() => Ok(()),
            differences => Err(TrainError::Changed { path: self.last(), differences }.into()),
        })
    }

    /// The same, whatever the checkpoint was made by, as long as it fits.
    ///
    /// # Errors
    /// If the checkpoint is damaged or belongs to another network, or all epochs are completed.
    pub fn resume_changed(&self, run: &mut Run) -> Result<()> {
        self.resume_if(run, &|_| Ok(()))
    }

    fn resume_if(&self, run: &mut Run, accept: &dyn Fn(&MadeBy) -> Result<()>) -> Result<()> {
        if !self.last().exists() {
            return Ok(());
        }
        let earlier = history::read(&self.file(METRICS)).map_err(|cause| {
            Error::from(TrainError::NotARun { folder: self.path.clone(), cause: format!("{METRICS}{cause}") })
        })?;
        run.trainer_mut().load_checkpoint_if(&self.last(), accept).map_err(|error| match error {
            Error::Train(TrainError::Checkpoint { cause, .. }) => {
                TrainError::NotARun { folder: self.path.clone(), cause: format!("{LAST} {cause}") }.into()
            }
            other => other,
        })?;
        run.trainer_mut().restore_history(earlier);
        // A run that was stopped between its last epoch and its test still has the test to do.
        let &Position { epoch, step, .. } = run.trainer().position();
        let tested_or_beyond = self.tested_after() == Some(epoch) || step > 0;
        if epoch >= run.trainer().epochs() && tested_or_beyond {
            return Err(TrainError::NothingToDo { done: epoch }.into());
        }
        Ok(())
    }

    /// The number of completed epochs when the summary was written.
    fn tested_after(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.file(SUMMARY)).ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?.get("epochs")?.as_u64()
    }

    /// Saves the state after an epoch: metrics, figure, best weights, checkpoint.
    ///
    /// # Errors
    /// If something cannot be written; the previous file is left intact.
    pub fn save_epoch(&self, trainer: &Trainer) -> Result<()> {
        if trainer.position().is_best() {
            trainer.with_average(|trainer| {
                weights::save_network(&self.best(), trainer.network(), &trainer.provenance())
            })?;
        }
        // The checkpoint comes first: the other files can be restored from it.
        self.save_checkpoint(trainer)?;
        self.save_history(trainer)
    }

    /// Saves metrics and figure of the completed epochs, if any.
    ///
    /// # Errors
    /// If something cannot be written; the previous file is left intact.
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
        let points = trainer.position().history.iter().map(|metrics| CurvePoint {
            epoch: metrics.epoch as f64,
            loss: metrics.loss,
            train_accuracy: metrics.train_accuracy,
            validation_accuracy: metrics.validation_accuracy,
            spiking_accuracy: metrics.spiking_accuracy,
            spiking_steps: metrics.spiking_steps,
            spikes_per_image: metrics.spikes_per_image,
            stage: metrics.stage,
            validation_loss: metrics.validation_loss,
            spiking_loss: metrics.spiking_loss,
        });
        let title = format!("Learning curve: {}", trainer.dataset().unwrap_or("a run"));
        let curve = learning_curve(&title, &points.collect::<Vec<_>>());
        CURVE.iter().try_for_each(|file| curve.save(self.file(file)))
    }

    /// Saves a checkpoint; possible at any step.
    ///
    /// # Errors
    /// If it cannot be written; the previous one is left intact.
    pub fn save_checkpoint(&self, trainer: &Trainer) -> Result<()> {
        trainer.save_checkpoint(&self.last())
    }

    /// Writes the result of the run: the final weights, with their accuracy in the metadata, and the summary.
    ///
    /// # Errors
    /// If something cannot be written.
    pub fn save_result(&self, trainer: &Trainer, summary: &Summary) -> Result<()> {
        let mut provenance = trainer.provenance();
        let number = |number: f64| format!("{number:.4}");
        let steps = Some(summary.test_accuracy_by_step.len()).filter(|steps| *steps > 0);
        let facts = [
            ("test_images", Some(summary.test_images.to_string())),
            ("test_rate_accuracy", summary.test_rate_accuracy.map(number)),
            ("test_spiking_accuracy", summary.test_spiking_accuracy.map(number)),
            ("test_rate_loss", summary.test_rate_loss.map(number)),
            ("test_spiking_loss", summary.test_spiking_loss.map(number)),
            ("test_steps", steps.map(|steps| steps.to_string())),
        ];
        provenance.facts.extend(facts.into_iter().filter_map(|(name, fact)| Some((name.to_string(), fact?))));
        trainer.with_average(|trainer| weights::save_network(&self.file(WEIGHTS), trainer.network(), &provenance))?;
        let path = self.file(SUMMARY);
        let text = serde_json::to_string_pretty(summary).map_err(|error| Error::io("write", &path, error.into()))?;
        write_atomically(path, |file| writeln!(file, "{text}"))
    }
}
