//! The `[training]` section of an experiment.

use serde::{Deserialize, Serialize};

use crate::data::Augmentation;

use super::{
    Clipping, Method, ObjectiveConfig, OptimizerConfig, Precision, Regulariser, Schedule, StageConfig, TrainError,
};

/// The training configuration. The default is the reference recipe: 10 epochs, batch size 200, RMSprop at 0.001,
/// cross-entropy of the unfiltered rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// The number of passes over the training samples; with stages, of each stage that does not say its own.
    pub epochs: u64,
    /// The number of samples per step; the last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// The learning rate, before the schedule's factor.
    pub learning_rate: f64,
    /// The number of epochs over which the learning rate rises linearly from 0, before the schedule begins.
    #[serde(skip_serializing_if = "is_zero")]
    pub warm_up: f64,
    /// The decay of an exponential moving average of the weights, which evaluations and saved weights then are of; 0 for
    /// none.
    #[serde(skip_serializing_if = "is_zero")]
    pub ema: f64,
    /// The number format of convolutions and linear layers.
    pub precision: Precision,
    /// The objective, by name or with its parameters.
    #[serde(skip_serializing_if = "ObjectiveConfig::is_default")]
    pub objective: ObjectiveConfig,
    /// How the neurons compute in a training step.
    #[serde(skip_serializing_if = "Method::is_default")]
    pub method: Method,
    /// The optimiser.
    pub optimizer: OptimizerConfig,
    /// The learning rate schedule.
    pub schedule: Schedule,
    /// The random transformations of training images; none if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// The largest gradient of a step.
    #[serde(skip_serializing_if = "Clipping::is_none")]
    pub clipping: Clipping,
    /// Penalties on the neurons' activity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub regularisers: Vec<Regulariser>,
    /// Stages, one after the other, if the training has several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageConfig>,
}

/// Whether it is the default, which is omitted in files.
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 200,
            learning_rate: 0.001,
            warm_up: 0.0,
            ema: 0.0,
            precision: Precision::default(),
            objective: ObjectiveConfig::default(),
            method: Method::default(),
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::default(),
            augmentation: None,
            clipping: Clipping::default(),
            regularisers: vec![],
            stages: vec![],
        }
    }
}

/// More epochs are assumed to be a mistake.
const MOST_EPOCHS: u64 = 1_000_000_000;

impl TrainingConfig {
    /// # Errors
    /// If a value is not valid; the error names it, and the stage it is of.
    pub fn validate(&self) -> Result<(), TrainError> {
        if self.stages.is_empty() {
            return self.validate_values();
        }
        for (number, stage) in (1..).zip(self.in_stages()) {
            stage.validate_values().map_err(|cause| TrainError::Stage { number, cause: Box::new(cause) })?;
        }
        Ok(())
    }

    fn validate_values(&self) -> Result<(), TrainError> {
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
        if let Some((key, value, expected)) = self.augmentation.as_ref().and_then(Augmentation::fault) {
            return Err(TrainError::config("training.augmentation", key, value, expected));
        }
        if !(self.warm_up >= 0.0 && self.warm_up < self.epochs as f64) {
            return fail("warm_up", self.warm_up, "a number of epochs of 0 or more and below epochs");
        }
        if !(0.0..1.0).contains(&self.ema) {
            return fail("ema", self.ema, "a number of 0 or more and below 1");
        }
        self.method.validate()?;
        self.objective.validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.clipping.validate()?;
        self.regularisers.iter().try_for_each(Regulariser::validate)
    }

    /// The total number of epochs.
    pub fn total_epochs(&self) -> u64 {
        self.in_stages().iter().fold(0, |sum, stage| sum.saturating_add(stage.epochs))
    }

    /// Sets the total number of epochs; with stages, that of the last stage.
    ///
    /// # Errors
    /// If the last stage would have none.
    pub fn set_total_epochs(&mut self, epochs: u64) -> Result<(), TrainError> {
        let Some(last) = self.stages.len().checked_sub(1) else {
            self.epochs = epochs;
            return Ok(());
        };
        let before = self.in_stages()[..last].iter().fold(0_u64, |sum, stage| sum.saturating_add(stage.epochs));
        match epochs.checked_sub(before).filter(|epochs| *epochs > 0) {
            Some(own) => {
                self.stages[last].epochs = Some(own);
                Ok(())
            }
            None => Err(TrainError::EpochsOfStages { epochs, before }),
        }
    }

    /// The factor of the learning rate after `epochs` epochs (fractions count), `step` epochs before the end of the
    /// current step.
    pub(super) fn factor(&self, epochs: f64, step: f64) -> f64 {
        if epochs < self.warm_up {
            // That of the step's end, so that the first step is not for nothing.
            return ((epochs + step) / self.warm_up).min(1.0);
        }
        self.schedule.factor(epochs - self.warm_up, self.epochs as f64 - self.warm_up)
    }
}
