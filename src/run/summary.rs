//! The result of a run.

use serde::{Deserialize, Serialize};

use crate::data::Source;

/// The result of a run, as in `summary.json`: accuracies of samples with classes, losses of others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Which data was used.
    pub dataset: Source,
    /// Training samples.
    pub train_images: i64,
    /// Epochs done.
    pub epochs: u64,
    /// The seed.
    pub seed: u64,
    /// The device.
    pub device: String,
    /// Test samples.
    pub test_images: i64,
    /// Share of test samples answered right as rates; of the newest weights, as all below.
    pub test_rate_accuracy: Option<f64>,
    /// The same as spikes, at the last step.
    pub test_spiking_accuracy: Option<f64>,
    /// The same at every step.
    pub test_accuracy_by_step: Vec<f64>,
    /// Mean loss of the test samples as rates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_rate_loss: Option<f64>,
    /// The same as spikes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_spiking_loss: Option<f64>,
    /// Time spent on training steps (s).
    pub training_seconds: f64,
    /// The version of this library.
    pub version: String,
}
