//! Objectives: the functions that training minimises.
//!
//! | file | holds |
//! |---|---|
//! | `cross_entropy.rs` | [`CrossEntropy`] of the output over time, and of every timestep ([`Tet`]) |
//! | `squared_error.rs` | [`MeanSquaredError`] of values; of classes: [`ClassSquaredError`], [`CountSquaredError`] |
//! | `config.rs` | objectives by name, and their registry |

mod config;
mod cross_entropy;
mod squared_error;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::TrainError;
use crate::data::Target;
use crate::engine::Activity;
use crate::error::Result;

pub use config::{ObjectiveConfig, register_objective};
pub use cross_entropy::{CrossEntropy, Tet};
pub use squared_error::{ClassSquaredError, Compared, CountSquaredError, MeanSquaredError};

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

    /// Which output it reads of a network that ends in synapses. By default what they put out.
    fn readout(&self) -> Readout {
        Readout::Filtered
    }
}

/// The output of a network that ends in synapses, such as a `lowpass` readout. For other networks, and rates of still
/// samples, both are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readout {
    /// What the last synapse puts out.
    Filtered,
    /// What the synapses receive. An objective that averages over time by itself needs no filter; and in a few
    /// timesteps, a filter with a long time constant has hardly left zero.
    Unfiltered,
}

/// How an output over time `o`, `[T, B, output]`, becomes one value per sample, `[B, output]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    /// The last timestep, filtered.
    Last,
    /// The mean over time, unfiltered.
    Mean,
    /// The sum over time, unfiltered: the number of spikes, where a spike puts out 1.
    Sum,
    /// The maximum over time, filtered.
    Max,
}

impl Over {
    /// The output that is reduced.
    fn readout(self) -> Readout {
        match self {
            Self::Last | Self::Max => Readout::Filtered,
            Self::Mean | Self::Sum => Readout::Unfiltered,
        }
    }

    /// `[B, output]`; a constant output is the same at every timestep.
    fn reduce(self, output: &Activity) -> Result<Tensor, TchError> {
        match (output, self) {
            (Activity::Constant(tensor), _) => Ok(tensor.shallow_clone()),
            (Activity::Varying(_), Self::Last) => output.last(),
            (Activity::Varying(tensor), Self::Mean) => tensor.f_mean_dim(0, false, tensor.kind()),
            (Activity::Varying(tensor), Self::Sum) => tensor.f_sum_dim_intlist(0, false, tensor.kind()),
            (Activity::Varying(tensor), Self::Max) => Ok(tensor.f_max_dim(0, false)?.0),
        }
    }
}

/// The classes of a target, for the objective `name`.
fn classes<'a>(name: &str, target: &'a Target) -> Result<&'a Tensor> {
    match target {
        Target::Classes(classes) => Ok(classes),
        Target::Values(_) | Target::Sequence(_) => Err(TrainError::Objective {
            objective: name.to_string(),
            cause: "expected classes as targets, found values; use mean_squared_error for values".to_string(),
        }
        .into()),
    }
}

/// The number of samples whose highest value, of `[B, output]`, is at their class.
fn count_right(values: &Tensor, classes: &Tensor) -> Result<Tensor> {
    Ok(values.f_argmax(-1, false)?.f_eq_tensor(classes)?.f_sum(Kind::Int64)?)
}
