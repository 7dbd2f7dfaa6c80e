//! Evaluation of the network at the end of an epoch.

use std::fmt::Debug;

use tch::{Kind, Tensor};

use super::watch::Watch;
use super::{Method, Objective, Trainer};
use crate::data::{Samples, batches, has_rates};
use crate::error::Result;
use crate::network::SpikingSequential;

/// An evaluation at the end of each epoch, for its [`EpochMetrics`](super::EpochMetrics).
pub trait Evaluation: Debug + Send {
    /// Evaluates the current network of `trainer`.
    ///
    /// # Errors
    /// Any error stops the training.
    fn evaluate(&self, trainer: &Trainer) -> Result<Evaluated>;
}

/// The result of an [`Evaluation`]; `None` for values that were not evaluated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated {
    /// Mean loss of the validation samples, as rates.
    pub validation_loss: Option<f64>,
    /// Accuracy on the validation samples, as rates (0 to 1).
    pub validation_accuracy: Option<f64>,
    /// Mean loss of a fixed subset, as spikes.
    pub spiking_loss: Option<f64>,
    /// Accuracy on a fixed subset, as spikes (0 to 1).
    pub spiking_accuracy: Option<f64>,
    /// The number of timesteps of still samples as spikes.
    pub spiking_steps: Option<i64>,
    /// The mean number of spikes of all neurons per sample.
    pub spikes_per_image: Option<f64>,
}

/// Loss and accuracy of the validation samples, if there are any: as rates, where all neurons have one; and by a method
/// over time, as spikes at the trained number of timesteps. The default of a [`Trainer`].
#[derive(Clone, Copy, Debug, Default)]
pub struct AsTrained;

impl Evaluation for AsTrained {
    fn evaluate(&self, trainer: &Trainer) -> Result<Evaluated> {
        let Some(validation) = trainer.validation() else { return Ok(Evaluated::default()) };
        let (network, method, objective) = (trainer.network(), trainer.method(), trainer.objective());
        let mut evaluated = Evaluated::default();
        if has_rates(network, validation)? {
            let rates = score_rates(network, validation, objective)?;
            (evaluated.validation_loss, evaluated.validation_accuracy) = (Some(rates.loss), rates.accuracy);
        }
        if method != Method::Rate {
            let spikes = score(method, network, validation, objective)?;
            (evaluated.spiking_loss, evaluated.spiking_accuracy) = (Some(spikes.loss), spikes.accuracy);
            evaluated.spiking_steps = method.steps(network);
        }
        Ok(evaluated)
    }
}

/// Loss and accuracy of outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss; `NaN` without samples.
    pub loss: f64,
    /// Accuracy (0 to 1), if the objective defines correct answers.
    pub accuracy: Option<f64>,
}

/// The batch size of an evaluation.
const BATCH: i64 = 500;

/// Computes loss and accuracy of `samples` with the network as rates, without gradients.
///
/// # Errors
/// If the samples do not match the network, their targets do not match the objective, or neurons have no rate.
pub fn score_rates(network: &SpikingSequential, samples: &dyn Samples, objective: &dyn Objective) -> Result<Score> {
    score(Method::Rate, network, samples, objective)
}

/// Computes loss and accuracy of `samples` as `method` trains the network, without gradients: the objective reads the
/// output of as many timesteps.
///
/// # Errors
/// If the samples do not match the network, their targets do not match the objective, or the method needs a rate that
/// neurons do not have.
pub fn score(
    method: Method,
    network: &SpikingSequential,
    samples: &dyn Samples,
    objective: &dyn Objective,
) -> Result<Score> {
    let _without_gradient = tch::no_grad_guard();
    let (mut loss, mut right, mut done) = (0.0, None, 0);
    let mut watch = Watch::new(network, objective.readout());
    for batch in batches(samples, samples.len(), BATCH, network) {
        let batch = batch?;
        let output = watch.run(method, network, &batch.input, None, done)?;
        done += batch.input.batch().unsigned_abs();
        let of_batch = objective.loss(&output, &batch.target)?.f_to_kind(Kind::Double)?.f_double_value(&[])?;
        loss += of_batch * batch.input.batch() as f64;
        let count = |count: Tensor| count.f_int64_value(&[]);
        if let Some(count) = objective.right(&output, &batch.target)?.map(count).transpose()? {
            right = Some(right.unwrap_or(0) + count);
        }
    }
    let share = |sum: f64| sum / samples.len() as f64;
    Ok(Score { loss: share(loss), accuracy: right.map(|right| share(right as f64)) })
}
