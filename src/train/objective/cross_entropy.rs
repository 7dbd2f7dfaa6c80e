//! Cross-entropy of a class, over time.

use serde::{Deserialize, Serialize};
use tch::{Reduction, TchError, Tensor};

use super::{Objective, Over, Readout, classes, count_right};
use crate::data::Target;
use crate::engine::Activity;
use crate::error::Result;

const NO_IGNORED_CLASS: i64 = -100;

/// Cross-entropy: `-log softmax(y)[class]`, the mean over the batch, with `y` made of the output over time as logits.
///
/// ```toml
/// [training]
/// objective = { type = "cross_entropy", over = "mean", label_smoothing = 0.1 }
/// ```
///
/// Without `over`, `y` is the mean over the timesteps of a still sample, and the last timestep of a sample that varies in
/// time, whose answer may depend on its end. Rates of still samples have no time: `y` is the output itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CrossEntropy {
    /// How the output over time becomes logits; see above for the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<Over>,
    /// The share of the target that is spread evenly over all classes, 0 to 1 (Szegedy et al. 2016).
    pub label_smoothing: f64,
}

impl CrossEntropy {
    pub(super) const NAME: &'static str = "cross_entropy";

    fn over(self) -> Over {
        self.over.unwrap_or(Over::Last)
    }
}

impl Objective for CrossEntropy {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor> {
        let classes = classes(Self::NAME, target)?;
        Ok(cross_entropy(&self.over().reduce(output)?, classes, self.label_smoothing)?)
    }

    fn right(&self, output: &Activity, target: &Target) -> Result<Option<Tensor>> {
        Ok(Some(count_right(&self.over().reduce(output)?, classes(Self::NAME, target)?)?))
    }

    fn readout(&self) -> Readout {
        self.over().readout()
    }
}

fn cross_entropy(logits: &Tensor, classes: &Tensor, label_smoothing: f64) -> Result<Tensor, TchError> {
    logits.f_cross_entropy_loss(classes, None::<Tensor>, Reduction::Mean, NO_IGNORED_CLASS, label_smoothing)
}

/// Temporal efficient training: `(1 - lambda) mean_t CE(o[t]) + lambda mean (o - 1)^2`, Deng et al. (2022).
///
/// Every timestep is to give the answer by itself; the second term keeps outliers down. The answer is that of the mean
/// over time. With `lambda = 0` it is snnTorch's `ce_rate_loss`. It reads the unfiltered output.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tet {
    /// The share of the second term, 0 to 1.
    pub lambda: f64,
}

impl Default for Tet {
    fn default() -> Self {
        Self { lambda: 0.05 }
    }
}

impl Tet {
    pub(super) const NAME: &'static str = "tet";
}

impl Objective for Tet {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor> {
        let classes = classes(Self::NAME, target)?;
        let output = output.over_time(1)?;
        let every_step = classes.f_repeat([output.size()[0]])?;
        let answers = cross_entropy(&output.f_flatten(0, 1)?, &every_step, 0.0)?;
        if self.lambda == 0.0 {
            return Ok(answers);
        }
        let outliers = output.f_sub_scalar(1.0)?.f_square()?.f_mean(output.kind())?;
        Ok(answers.f_mul_scalar(1.0 - self.lambda)?.f_add(&outliers.f_mul_scalar(self.lambda)?)?)
    }

    fn right(&self, output: &Activity, target: &Target) -> Result<Option<Tensor>> {
        Ok(Some(count_right(&Over::Mean.reduce(output)?, classes(Self::NAME, target)?)?))
    }

    fn readout(&self) -> Readout {
        Readout::Unfiltered
    }
}
