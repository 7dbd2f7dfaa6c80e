//! Learning rate schedules.

use serde::{Deserialize, Serialize};

use super::TrainError;

/// A schedule: the factor of the learning rate over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Constant factor 1.
    #[default]
    Constant,
    /// Cosine decay from 1 to `last` over all epochs.
    Cosine {
        /// The final factor.
        #[serde(default)]
        last: f64,
    },
    /// Step decay: multiplied by `factor` after every `every` epochs.
    Step {
        /// The number of epochs between changes.
        every: u64,
        /// The factor of each change.
        factor: f64,
    },
}

impl Schedule {
    /// The factor after `epochs` of `total` epochs (fractions count).
    ///
    /// ```
    /// use tch_spiking::train::Schedule;
    ///
    /// assert!((Schedule::Cosine { last: 0.0 }.factor(5.0, 10.0) - 0.5).abs() < 1e-12);
    /// assert_eq!(Schedule::Step { every: 3, factor: 0.1 }.factor(5.9, 10.0), 0.1);
    /// ```
    pub fn factor(self, epochs: f64, total: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine { last } => {
                let progress = (epochs / total).clamp(0.0, 1.0);
                let half_cosine = (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0;
                last + (1.0 - last) * half_cosine
            }
            Self::Step { every, factor } => factor.powf((epochs / every.max(1) as f64).floor()),
        }
    }

    /// # Errors
    /// If a parameter is not valid; the error names it.
    pub fn validate(self) -> Result<(), TrainError> {
        let fail = |name, value, expected| Err(TrainError::config("training.schedule", name, value, expected));
        match self {
            Self::Cosine { last } if !(0.0..=1.0).contains(&last) => fail("last", last, "a number from 0 to 1"),
            Self::Step { every: 0, .. } => fail("every", 0.0, "1 epoch or more"),
            Self::Step { factor, .. } if !(factor > 0.0 && factor.is_finite()) => {
                fail("factor", factor, "a number above 0")
            }
            _ => Ok(()),
        }
    }
}
