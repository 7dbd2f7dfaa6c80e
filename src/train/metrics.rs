//! Metrics of an epoch.

use serde::{Deserialize, Serialize};

/// Metrics of one epoch; a line of `metrics.jsonl`. Accuracies are 0 to 1, and `None` if the objective has no correct
/// answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// The epoch, from 1.
    pub epoch: u64,
    /// The stage, from 1; `None` if the training has only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u64>,
    /// Mean training loss, with the penalties of regularisers, over the steps of the epoch.
    pub loss: f64,
    /// Accuracy on the training samples over the steps of the epoch, as the method computes them.
    pub train_accuracy: Option<f64>,
    /// Accuracy on the validation samples after the epoch, as rates; `None` without validation samples, or where
    /// neurons have no rate.
    pub validation_accuracy: Option<f64>,
    /// Accuracy on a fixed subset after the epoch, as spikes at the last step; `None` if the subset is empty.
    pub spiking_accuracy: Option<f64>,
    /// The number of timesteps as spikes of still samples: that of the method, or the network's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiking_steps: Option<i64>,
    /// The mean number of spikes of all neurons per sample, if they were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spikes_per_image: Option<f64>,
    /// Mean loss of the validation samples after the epoch, as rates, if it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
    /// Mean loss of a fixed subset after the epoch, as spikes, if it was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spiking_loss: Option<f64>,
    /// Whether the method of training computes spikes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trained_as_spikes: bool,
    /// The learning rate at the end of the epoch.
    pub learning_rate: f64,
    /// Training samples per second.
    pub images_per_second: f64,
    /// Time spent on training steps (s).
    pub seconds: f64,
}

impl EpochMetrics {
    /// The value that is highest in the best epoch, of those of a stage: the accuracy on the validation samples, or on the
    /// training samples if there are none; without accuracies, the negated loss. Of an epoch that was trained as spikes,
    /// it is the accuracy (or the negated loss) as spikes, if it was evaluated.
    pub fn score(&self) -> f64 {
        let (accuracy, loss) = match self.trained_as_spikes {
            true => (self.spiking_accuracy, self.spiking_loss),
            false => (None, None),
        };
        let accuracy = accuracy.or(self.validation_accuracy).or(self.train_accuracy);
        accuracy.unwrap_or_else(|| -loss.or(self.validation_loss).unwrap_or(self.loss))
    }
}

/// The sums of the current epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// The sum of the loss over samples.
    pub loss: f64,
    /// The number of correct answers, if the objective defines them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<i64>,
    /// The number of samples.
    pub images: i64,
    /// Time spent (s).
    pub seconds: f64,
}

impl Running {
    /// Mean loss so far.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    /// Accuracy so far (0 to 1), if the objective defines correct answers.
    pub fn accuracy(&self) -> Option<f64> {
        self.right.map(|right| right as f64 / self.images as f64)
    }

    /// Samples per second so far.
    pub fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(1e-9)
    }
}
