//! What is known of an epoch.

use serde::{Deserialize, Serialize};

/// One epoch; a line of `metrics.jsonl`. Accuracies are shares, 0 to 1, and none where the objective has no right answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean loss of the training samples, as they were seen.
    pub loss: f64,
    /// Of the training samples as they were seen, as rates.
    pub train_accuracy: Option<f64>,
    /// Of the validation samples after the epoch, as rates; none without validation samples.
    pub validation_accuracy: Option<f64>,
    /// Of a fixed sample after the epoch, as spikes at the last step; none if the sample is empty.
    pub spiking_accuracy: Option<f64>,
    /// Mean loss of the validation samples after the epoch, as rates, if it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Mean loss of a fixed sample after the epoch, as spikes, if it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiking_loss: Option<f64>,
    /// The learning rate at the epoch's end.
    pub learning_rate: f64,
    /// Training samples a second.
    pub images_per_second: f64,
    /// Time spent on training steps (s).
    pub seconds: f64,
}

impl EpochMetrics {
    /// What the best epoch has the highest of: the accuracy of the validation samples, or of the training samples where there
    /// are none; where there are no accuracies, the loss, negated.
    pub fn score(&self) -> f64 {
        let accuracy = self.validation_accuracy.or(self.train_accuracy);
        accuracy.unwrap_or_else(|| -self.validation_loss.unwrap_or(self.loss))
    }
}

/// The sums of an epoch under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// Loss times samples.
    pub loss: f64,
    /// Samples answered right, where there are right answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<i64>,
    /// Samples seen.
    pub images: i64,
    /// Time spent (s).
    pub seconds: f64,
}

impl Running {
    /// Mean loss so far.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    /// Share of samples answered right so far, where there are right answers.
    pub fn accuracy(&self) -> Option<f64> {
        self.right.map(|right| right as f64 / self.images as f64)
    }

    /// Samples a second so far.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(1e-9)
    }
}
