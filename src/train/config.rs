//! The `[training]` section of an experiment.

use serde::{Deserialize, Serialize};

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
        }
    }
}

/// More epochs are assumed to be a mistake.
const MOST_EPOCHS: u64 = 1_000_000_000;

impl TrainingConfig {
    /// # Errors
    /// If a value is not valid; the error names it.
    pub fn validate(&self) -> Result<(), TrainError> {
        let fail = |key, value, expected| Err(TrainError::config("training", key, value, expected));
        if !(1..=MOST_EPOCHS).contains(&self.epochs) {
            return fail("epochs", self.epochs as f64, "1 to 1000000000");
        }
        if self.batch_size == 0 {
            return fail("batch_size", 0.0, "1 or more");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= f64::from(f32::MAX)) {
            return fail("learning_rate", self.learning_rate, "a number above 0, up to 3.4e38");
        }
        self.optimizer.validate()?;
        self.schedule.validate()
    }
}
