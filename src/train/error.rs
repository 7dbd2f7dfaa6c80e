//! Errors of training.

use std::path::{Path, PathBuf};

/// Training cannot start or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A value of the `[training]` section is not valid.
    #[error("{section}: {key} = {value} is not valid: expected {expected}")]
    Config {
        /// The section of the experiment.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The value given.
        value: f64,
        /// The valid values.
        expected: &'static str,
    },
    /// A method of training has an invalid parameter, or cannot train the network.
    #[error("{0}")]
    Method(String),
    /// A regulariser names a layer that the network does not have.
    #[error("training.regularisers: {0}")]
    Regulariser(String),
    /// A stage is not valid.
    #[error("training.stages, stage {number}: {cause}")]
    Stage {
        /// The stage, from 1.
        number: usize,
        /// What is not valid.
        cause: Box<TrainError>,
    },
    /// The requested number of epochs ends before the last stage.
    #[error("{epochs} epochs end before the last stage: the stages before it take {before}, expected more")]
    EpochsOfStages {
        /// The requested number.
        epochs: u64,
        /// The epochs of all stages but the last.
        before: u64,
    },
    /// There are no training samples.
    #[error("there are no training samples")]
    NoSamples,
    /// An objective cannot compare output and target.
    #[error("the objective {objective}: {cause}")]
    Objective {
        /// Its name.
        objective: String,
        /// The expected and the actual target.
        cause: String,
    },
    /// The name of the objective is unknown, or already in use.
    #[error("the objective name {name:?} is unknown or already in use: existing names are {}; add others with train::register_objective", known.join(", "))]
    ObjectiveName {
        /// The name.
        name: String,
        /// The names in use.
        known: Vec<String>,
    },
    /// More processes than rows in a batch.
    #[error(
        "{processes} processes cannot share a batch of {smallest} samples, the smallest of an epoch: expected at least one \
         sample each; change training.batch_size"
    )]
    Shares {
        /// The number of processes.
        processes: i64,
        /// The size of the smallest batch.
        smallest: i64,
    },
    /// A file to resume from is not a checkpoint, or belongs to another training run.
    #[error("{} {cause}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The problem: "is not a checkpoint ..".
        cause: String,
    },
    /// The loss is not finite.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; the first layer whose output is not finite is {layer}. \
         Lower training.learning_rate, or give the neurons some smoothing (the hard LIF rate has an infinite slope at its \
         threshold)"
    )]
    NonFinite {
        /// NaN or infinity.
        loss: f64,
        /// The epoch, from 1.
        epoch: u64,
        /// The step within the epoch, from 1.
        step: u64,
        /// The layer's name.
        layer: String,
    },
    /// A saved optimiser state does not fit the network.
    #[error("the saved state of the optimiser does not fit: {name}: expected {expected}, found {found}")]
    OptimizerState {
        /// The tensor's name.
        name: String,
        /// Its shape in this network.
        expected: String,
        /// Its shape in the file.
        found: String,
    },
    /// The output folder already contains a run, or a part of one.
    #[error("{}", taken(folder, file))]
    FolderTaken {
        /// The folder.
        folder: PathBuf,
        /// A file of a run in it.
        file: String,
    },
    /// Another process uses the folder of a run.
    #[error("{} is in use by {holder}: wait for it to end, or choose another folder (--out)", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
        /// The process that uses it.
        holder: String,
    },
    /// The checkpoint of a run was made by another configuration than that of now.
    #[error(
        "{} was made by another configuration, so the run would not be the one that began: {}. Undo the changes, or go on \
         with them (--force)",
        path.display(), differences.join("; ")
    )]
    Changed {
        /// The checkpoint.
        path: PathBuf,
        /// What differs: "training.batch_size = 100 then, 50 now".
        differences: Vec<String>,
    },
    /// An evaluation was stopped on request.
    #[error("stopped on request")]
    Stopped,
    /// A folder to resume has no checkpoint.
    #[error("{} is not a run that can be resumed: {cause}", folder.display())]
    NotARun {
        /// The folder.
        folder: PathBuf,
        /// The missing or invalid part.
        cause: String,
    },
    /// The run has already completed all epochs.
    #[error("this run has already completed {done} epochs: request more (--epochs {})", done + 1)]
    NothingToDo {
        /// The number of completed epochs.
        done: u64,
    },
}

/// The message of [`TrainError::FolderTaken`].
fn taken(folder: &Path, file: &str) -> String {
    let path = folder.display();
    if folder.join("config.toml").exists() {
        return format!("{path} already contains a run: resume it (--resume {path}), or choose another folder (--out)");
    }
    format!(
        "{path} already contains a part of a run ({file}), without the config.toml that would be needed to resume it: \
         move it, or choose another folder (--out)"
    )
}

impl TrainError {
    pub(super) fn config(section: &'static str, key: &'static str, value: f64, expected: &'static str) -> Self {
        Self::Config { section, key, value, expected }
    }
}
