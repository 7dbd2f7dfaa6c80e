//! What is known of an epoch.

use serde::{Deserialize, Serialize};

/// One epoch; a line of `metrics.jsonl`. Accuracies are shares, 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean cross-entropy over the training images, as they were seen.
    pub loss: f64,
    /// Of the training images as they were seen, as rates.
    pub train_accuracy: f64,
    /// Of the validation images after the epoch, as rates; none without validation images.
    pub validation_accuracy: Option<f64>,
    /// Of a fixed sample after the epoch, as spikes at the last step; none if the sample is empty.
    pub spiking_accuracy: Option<f64>,
    /// The learning rate at the epoch's end.
    pub learning_rate: f64,
    /// Training images a second.
    pub images_per_second: f64,
    /// Time spent on training steps (s).
    pub seconds: f64,
}

/// The sums of an epoch under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Loss times images.
    pub loss: f64,
    /// Images classified right.
    pub right: i64,
    /// Images seen.
    pub images: i64,
    /// Time spent (s).
    pub seconds: f64,
}

impl Running {
    /// Mean loss so far.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    /// Share of images classified right so far.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.images as f64
    }

    /// Images a second so far.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(1e-9)
    }
}
