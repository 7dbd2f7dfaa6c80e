//! Objectives: the functions that training minimises.

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use super::TrainError;
use crate::data::Target;
use crate::engine::Activity;
use crate::error::Result;
use crate::registry::{Registry, unknown};

/// An objective: the loss of a batch's output with respect to its target.
///
/// A program can implement its own objective; [`register_objective`] makes it available to experiment
/// files.
pub trait Objective: Debug + Send {
    /// The name in an experiment file, such as `cross_entropy`.
    fn name(&self) -> &str;

    /// The loss, a scalar tensor, differentiable with respect to `output`: the mean over the batch.
    ///
    /// # Shapes
    /// `output` is `[B, output]`, or `[T, B, output]` over time.
    ///
    /// # Errors
    /// If the kind of target is not supported, or the shapes do not match.
    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor>;

    /// The number of correct answers, a scalar `Int64` tensor, if the objective defines them. Called without
    /// gradients.
    ///
    /// # Errors
    /// As for [`loss`](Self::loss).
    fn right(&self, _output: &Activity, _target: &Target) -> Result<Option<Tensor>> {
        Ok(None)
    }
}

/// Cross-entropy: `-log softmax(y)[class]`, the mean over the batch, with the output `y` as logits; over time, of the
/// last timestep.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossEntropy;

impl CrossEntropy {
    const NAME: &'static str = "cross_entropy";

    fn classes<'a>(&self, target: &'a Target) -> Result<&'a Tensor> {
        match target {
            Target::Classes(classes) => Ok(classes),
            Target::Values(_) | Target::Sequence(_) => Err(TrainError::Objective {
                objective: Self::NAME.to_string(),
                cause: "expected classes as targets, found values; use mean_squared_error for values".to_string(),
            }
            .into()),
        }
    }
}

impl Objective for CrossEntropy {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn loss(&self, output: &Activity, target: &Target) -> Result<Tensor> {
        const NO_IGNORED_CLASS: i64 = -100;
        let classes = self.classes(target)?;
        Ok(output.last()?.f_cross_entropy_loss(classes, None::<Tensor>, Reduction::Mean, NO_IGNORED_CLASS, 0.0)?)
    }

    fn right(&self, output: &Activity, target: &Target) -> Result<Option<Tensor>> {
        let answers = output.last()?.f_argmax(-1, false)?;
        Ok(Some(answers.f_eq_tensor(self.classes(target)?)?.f_sum(Kind::Int64)?))
    }
}

/// Mean squared error: `(y - target)^2`, the mean over batch and outputs; over time, of all timesteps for a target over
/// time, of the last timestep otherwise.
#[derive(Clone, Copy, Debug, Default)]
pub struct MeanSquaredError;

impl MeanSquaredError {
    const NAME: &'static str = "mean_squared_error";
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

type Make = Arc<dyn Fn() -> Box<dyn Objective> + Send + Sync>;

static REGISTERED: Registry<Make> = Registry::new();

const BUILT_IN: [&str; 2] = [CrossEntropy::NAME, MeanSquaredError::NAME];

/// Registers an objective for `training.objective`, for the whole process. `make` creates it,
/// and its [`name`](Objective::name) is the registered name. Call this before reading such an experiment.
///
/// ```
/// use tch::Tensor;
/// use tch_spiking::Experiment;
/// use tch_spiking::data::Target;
/// use tch_spiking::engine::Activity;
/// use tch_spiking::train::{MeanSquaredError, Objective, register_objective};
///
/// #[derive(Debug)]
/// struct RootMeanSquare;
///
/// impl Objective for RootMeanSquare {
///     fn name(&self) -> &str {
///         "root_mean_square"
///     }
///     fn loss(&self, output: &Activity, target: &Target) -> tch_spiking::Result<Tensor> {
///         Ok(MeanSquaredError.loss(output, target)?.f_sqrt()?)
///     }
/// }
///
/// register_objective(|| Box::new(RootMeanSquare))?;
/// let experiment = Experiment::from_toml("training = { objective = 'root_mean_square' }")?;
/// assert_eq!(experiment.training.objective.make()?.name(), "root_mean_square");
/// # Ok::<(), tch_spiking::Error>(())
/// ```
///
/// # Errors
/// If the name is empty or already in use, by an objective of the library or an earlier call.
pub fn register_objective(make: impl Fn() -> Box<dyn Objective> + Send + Sync + 'static) -> Result<(), TrainError> {
    let name = make().name().to_string();
    match !name.is_empty() && !BUILT_IN.contains(&name.as_str()) && REGISTERED.add(&name, Arc::new(make)) {
        true => Ok(()),
        false => Err(TrainError::ObjectiveName { name, known: all_names() }),
    }
}

fn all_names() -> Vec<String> {
    BUILT_IN.iter().map(ToString::to_string).chain(REGISTERED.names()).collect()
}

/// The name of an objective: `training.objective`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectiveName(String);

impl Default for ObjectiveName {
    fn default() -> Self {
        Self(CrossEntropy::NAME.to_string())
    }
}

impl TryFrom<String> for ObjectiveName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let known = all_names();
        if known.contains(&name) { Ok(Self(name)) } else { Err(unknown("objective", &name, &known)) }
    }
}

impl From<ObjectiveName> for String {
    fn from(name: ObjectiveName) -> Self {
        name.0
    }
}

impl ObjectiveName {
    /// Creates the objective of this name.
    ///
    /// # Errors
    /// If the name is not registered; names read from a file are already checked.
    pub fn make(&self) -> Result<Box<dyn Objective>, TrainError> {
        Ok(match self.0.as_str() {
            CrossEntropy::NAME => Box::new(CrossEntropy),
            MeanSquaredError::NAME => Box::new(MeanSquaredError),
            name => match REGISTERED.get(name) {
                Some(make) => make(),
                None => return Err(TrainError::ObjectiveName { name: name.to_string(), known: all_names() }),
            },
        })
    }

    /// Whether it is the default, which is omitted in files.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
