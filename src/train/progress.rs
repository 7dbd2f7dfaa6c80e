//! How far a training is, and what it tells while it runs.

use serde::{Deserialize, Serialize};

use super::{EpochMetrics, Running, Trainer};
use crate::error::Result;

/// How far a training has come: with weights and optimiser state all that a resumed run needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epochs done.
    pub epoch: u64,
    /// Steps done in the epoch under way.
    pub step: u64,
    /// The sums of the epoch under way.
    pub running: Running,
    /// The epochs done.
    pub history: Vec<EpochMetrics>,
}

/// How a call of [`Trainer::run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done.
    Finished,
    /// Stopped between two steps, as asked.
    Interrupted,
}

/// What a training tells while it runs. Every method does nothing by default.
pub trait Observer {
    /// A step was done.
    fn step(&mut self, _progress: &Progress) {}
    /// An epoch was done and evaluated.
    ///
    /// # Errors
    /// End the training.
    fn epoch(&mut self, _trainer: &Trainer, _metrics: &EpochMetrics) -> Result<()> {
        Ok(())
    }
}

/// Nobody watches.
impl Observer for () {}

/// Where a training is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The epoch under way, counted from 1.
    pub epoch: u64,
    /// How many epochs there will be.
    pub epochs: u64,
    /// Steps done in this epoch.
    pub step: u64,
    /// Steps in an epoch.
    pub steps: u64,
    /// The epoch's sums so far.
    pub running: &'a Running,
}
