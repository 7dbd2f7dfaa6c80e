//! The `[training]` section of an experiment.

use serde::{Deserialize, Serialize};

use crate::data::Augmentation;

use super::{ObjectiveName, OptimizerConfig, Precision, Schedule, TrainError};

/// The training configuration. The default is the reference recipe: 10 epochs, batch size 200, RMSprop at 0.001,
/// cross-entropy of the unfiltered rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// The number of passes over the training samples.
    pub epochs: u64,
    /// The number of samples per step; the last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// The learning rate, before the schedule's factor.
    pub learning_rate: f64,
    /// The number format of convolutions and linear layers.
    pub precision: Precision,
    /// The objective: `cross_entropy`, `mean_squared_error`, or a registered one.
    #[serde(skip_serializing_if = "ObjectiveName::is_default")]
    pub objective: ObjectiveName,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The learning rate schedule.
    pub schedule: Schedule,
    /// The random transformations of training images; none if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 200,
            learning_rate: 0.001,
            precision: Precision::default(),
            objective: ObjectiveName::default(),
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::default(),
            augmentation: None,
        }
    }
}

impl TrainingConfig {
    /// # Errors
    /// If a value is not valid; the error names it.
    pub fn validate(&self) -> Result<(), TrainError> {
        let fail = |key, value, expected| Err(TrainError::config("training", key, value, expected));
        if self.epochs == 0 {
            return fail("epochs", 0.0, "1 or more");
        }
        if self.batch_size == 0 {
            return fail("batch_size", 0.0, "1 or more");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return fail("learning_rate", self.learning_rate, "a number above 0");
        }
        if let Some((key, value, expected)) = self.augmentation.as_ref().and_then(Augmentation::fault) {
            return Err(TrainError::config("training.augmentation", key, value, expected));
        }
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}
