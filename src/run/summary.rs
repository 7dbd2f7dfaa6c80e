//! The result of a run.

use serde::{Deserialize, Serialize};

use crate::data::Source;

/// The result of a run, as in `summary.json`: accuracies for samples with classes, losses for others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// The data set.
    pub dataset: Source,
    /// The number of training samples.
    pub train_images: i64,
    /// The number of completed epochs.
    pub epochs: u64,
    /// The seed.
    pub seed: u64,
    /// The device.
    pub device: String,
    /// The number of test samples.
    pub test_images: i64,
    /// Test accuracy as rates (0 to 1), of the final weights, like all values below.
    pub test_rate_accuracy: Option<f64>,
    /// Test accuracy as spikes, at the last step.
    pub test_spiking_accuracy: Option<f64>,
    /// Test accuracy as spikes, at every step.
    pub test_accuracy_by_step: Vec<f64>,
    /// Mean loss of the test samples as rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_rate_loss: Option<f64>,
    /// Mean loss of the test samples as spikes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_spiking_loss: Option<f64>,
    /// Time spent on training steps (s).
    pub training_seconds: f64,
    /// The version of this library.
    pub version: String,
}

impl Summary {
    /// The test accuracy as spikes after `steps` timesteps (from 1), if it was measured.
    pub fn accuracy_after(&self, steps: i64) -> Option<f64> {
        let index = usize::try_from(steps).ok()?.checked_sub(1)?;
        self.test_accuracy_by_step.get(index).copied()
    }
}
