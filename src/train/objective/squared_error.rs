//! Squared errors of values and of classes, over time.

use serde::{Deserialize, Serialize};
use tch::{Reduction, TchError, Tensor};

use super::super::TrainError;
use super::{Objective, Over, Readout, classes, count_right};
use crate::data::Target;
use crate::engine::Activity;
use crate::error::Result;

/// Mean squared error: `(y - target)^2`, the mean over batch and outputs; over time, of all timesteps for a target over
/// time, of the last timestep otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeanSquaredError;

impl MeanSquaredError {
    pub(super) const NAME: &'static str = "mean_squared_error";
}

impl Objective for MeanSquaredError {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor> {
        let fail = |cause: String| TrainError::Objective { objective: Self::NAME.to_string(), cause };
        let (output, target) = match target {
            Target::Values(values) => (output.last()?, values),
            Target::Sequence(values) => (output.over_time(values.size().first().copied().unwrap_or(0))?, values),
            Target::Classes(_) => {
                return Err(fail(
                    "expected values as targets, found classes; use cross_entropy for classes".to_string(),
                )
                .into());
            }
        };
        if output.size() != target.size() {
            let cause =
                format!("expected a target of shape {:?}, like the output, found {:?}", output.size(), target.size());
            return Err(fail(cause).into());
        }
        Ok(output.f_mse_loss(&target.f_to_kind(output.kind())?, Reduction::Mean)?)
    }
}

/// Which output [`ClassSquaredError`] compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// The mean over time, unfiltered.
    #[default]
    Mean,
    /// Every timestep, filtered: a membrane or a filtered readout is to stay at the target.
    Each,
}

/// Squared error of an output that is to be `on` for the class and `off` for the others, the mean over batch and outputs:
/// of the mean over time (PLIF, Fang et al. 2021), or of every timestep (snnTorch's `mse_membrane_loss`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassSquaredError {
    /// What is compared.
    pub over: Compared,
    /// The target of the class.
    pub on: f64,
    /// The target of all other classes.
    pub off: f64,
}

impl Default for ClassSquaredError {
    fn default() -> Self {
        Self { over: Compared::Mean, on: 1.0, off: 0.0 }
    }
}

impl ClassSquaredError {
    pub(super) const NAME: &'static str = "mse";
}

impl Objective for ClassSquaredError {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor> {
        let output = match self.over {
            Compared::Mean => Over::Mean.reduce(output)?,
            Compared::Each => output.over_time(1)?,
        };
        let wanted = class_targets(&output, classes(Self::NAME, target)?, self.on, self.off)?;
        Ok(output.f_mse_loss(&wanted, Reduction::Mean)?)
    }

    fn right(&self, output: &Activity, target: &Target) -> Result<Option<Tensor>> {
        Ok(Some(count_right(&Over::Mean.reduce(output)?, classes(Self::NAME, target)?)?))
    }

    fn readout(&self) -> Readout {
        match self.over {
            Compared::Mean => Readout::Unfiltered,
            Compared::Each => Readout::Filtered,
        }
    }
}

/// Squared error of spike counts: `mean (sum_t o[t] - T rate)^2 / T`, where `rate`, in spikes per timestep, is
/// `correct_rate` for the class and `incorrect_rate` for the others (snnTorch's `mse_count_loss`).
///
/// A spike must put out 1: the last layer's amplitude is to be the timestep. It reads the unfiltered output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CountSquaredError {
    /// Spikes per timestep of the class, 0 to 1.
    pub correct_rate: f64,
    /// Spikes per timestep of all other classes, 0 to 1.
    pub incorrect_rate: f64,
}

impl Default for CountSquaredError {
    fn default() -> Self {
        Self { correct_rate: 1.0, incorrect_rate: 0.0 }
    }
}

impl CountSquaredError {
    pub(super) const NAME: &'static str = "mse_count";
}

impl Objective for CountSquaredError {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor> {
        let steps = output.steps().unwrap_or(1) as f64;
        let counts = Over::Sum.reduce(output)?;
        let (on, off) = (steps * self.correct_rate, steps * self.incorrect_rate);
        let wanted = class_targets(&counts, classes(Self::NAME, target)?, on, off)?;
        Ok(counts.f_mse_loss(&wanted, Reduction::Mean)?.f_div_scalar(steps)?)
    }

    fn right(&self, output: &Activity, target: &Target) -> Result<Option<Tensor>> {
        Ok(Some(count_right(&Over::Sum.reduce(output)?, classes(Self::NAME, target)?)?))
    }

    fn readout(&self) -> Readout {
        Readout::Unfiltered
    }
}

/// `on` at each sample's class and `off` elsewhere, in the shape of `output`, `[.., B, classes]`.
fn class_targets(output: &Tensor, classes: &Tensor, on: f64, off: f64) -> Result<Tensor, TchError> {
    let width = output.size().last().copied().unwrap_or(0);
    let at_class = classes.f_one_hot(width)?.f_to_kind(output.kind())?;
    at_class.f_mul_scalar(on - off)?.f_add_scalar(off)?.f_expand_as(output)
}
