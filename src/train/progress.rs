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
    /// The best epoch so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<BestEpoch>,
    /// The metrics of the completed epochs. A checkpoint holds those of the latest only, so that its size does not grow;
    /// a [`RunFolder`](crate::run::RunFolder) reads the others from `metrics.jsonl`.
    #[serde(default, skip_serializing)]
    pub history: Vec<EpochMetrics>,
}

/// The best epoch of a training, of its latest stage: the first with the highest [score](EpochMetrics::score). (Scores of
/// stages with different methods are not of the same thing.)
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Its stage, from 1, if the training has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u64>,
    /// Its score; a score that is not finite counts as the lowest number.
    pub score: f64,
}

impl Position {
    /// Adds the metrics of a completed epoch.
    pub(super) fn add(&mut self, metrics: EpochMetrics) {
        let score = Some(metrics.score()).filter(|score| score.is_finite()).unwrap_or(f64::MIN);
        if self.best.is_none_or(|best| best.stage != metrics.stage || score > best.score) {
            self.best = Some(BestEpoch { epoch: metrics.epoch, stage: metrics.stage, score });
        }
        self.history.push(metrics);
    }

    /// Whether the latest completed epoch is the best so far.
    pub fn is_best(&self) -> bool {
        self.best.is_some_and(|best| best.epoch == self.epoch)
    }
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
