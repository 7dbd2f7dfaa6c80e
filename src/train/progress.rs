//! Position and progress of training, and observers.

use serde::{Deserialize, Serialize};

use super::{EpochMetrics, Running, Trainer};
use crate::error::Result;

/// The position of training. With weights and optimiser state, this is all that a resumed run needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// The number of completed epochs.
    pub epoch: u64,
    /// The number of completed steps in the current epoch.
    pub step: u64,
    /// The sums of the current epoch.
    pub running: Running,
    /// The metrics of the completed epochs.
    pub history: Vec<EpochMetrics>,
}

/// The outcome of a call of [`Trainer::run`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are completed.
    Finished,
    /// Stopped between two steps, on request.
    Interrupted,
}

/// An observer of a running training. Every method does nothing by default.
pub trait Observer {
    /// Called after every step.
    fn step(&mut self, _progress: &Progress) {}
    /// Called after an epoch was completed and evaluated.
    ///
    /// # Errors
    /// Any error stops the training.
    fn epoch(&mut self, _trainer: &Trainer, _metrics: &EpochMetrics) -> Result<()> {
        Ok(())
    }
}

/// No observer.
impl Observer for () {}

/// The progress of training.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The current epoch, from 1.
    pub epoch: u64,
    /// The total number of epochs.
    pub epochs: u64,
    /// The number of completed steps in this epoch.
    pub step: u64,
    /// The number of steps per epoch.
    pub steps: u64,
    /// The epoch's sums so far.
    pub running: &'a Running,
}
