//! What can go wrong in training.

use std::path::PathBuf;

/// Training cannot start or go on.
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
        /// What is valid.
        expected: &'static str,
    },
    /// There is nothing to train on.
    #[error("there are no training samples")]
    NoSamples,
    /// An objective cannot compare output and target.
    #[error("the objective {objective}: {cause}")]
    Objective {
        /// Its name.
        objective: String,
        /// What was expected and what came.
        cause: String,
    },
    /// No objective has this name, or it is taken.
    #[error("{name:?} cannot name an objective here: the names in use are {}; a program adds its own with train::register_objective", known.join(", "))]
    ObjectiveName {
        /// The name.
        name: String,
        /// The names in use.
        known: Vec<String>,
    },
    /// More processes than rows in a batch.
    #[error(
        "{processes} processes cannot share a batch of {smallest} samples, the smallest of an epoch: expected at least one \
         sample each; choose another training.batch_size"
    )]
    Shares {
        /// How many processes there are.
        processes: i64,
        /// The samples of the smallest batch.
        smallest: i64,
    },
    /// A file to go on from is no checkpoint, or one of another training.
    #[error("{} {cause}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What it is or has that it should not: "is no checkpoint ..".
        cause: String,
    },
    /// The loss is no number any more.
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; the first layer whose output is not finite is {layer}. \
         Lower training.learning_rate, or give the neurons some smoothing (the hard LIF rate has an infinite slope at its \
         threshold)"
    )]
    NonFinite {
        /// NaN or infinity.
        loss: f64,
        /// Counted from 1.
        epoch: u64,
        /// Counted from 1 within the epoch.
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
    /// The output folder holds a run already.
    #[error(
        "{0} holds a run already: go on with it (--resume {0}), or choose another folder (--out)", folder.display()
    )]
    FolderTaken {
        /// The folder.
        folder: PathBuf,
    },
    /// A folder to resume has no checkpoint.
    #[error("{} is no run that can be resumed: {cause}", folder.display())]
    NotARun {
        /// The folder.
        folder: PathBuf,
        /// What is missing or wrong.
        cause: String,
    },
    /// A run that has all its epochs.
    #[error("this run has done {done} epochs already: ask for more (--epochs {})", done + 1)]
    NothingToDo {
        /// How many it has done.
        done: u64,
    },
}

impl TrainError {
    pub(super) fn config(section: &'static str, key: &'static str, value: f64, expected: &'static str) -> Self {
        Self::Config { section, key, value, expected }
    }
}
