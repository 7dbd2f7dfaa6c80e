//! Evaluation of the network at the end of an epoch.

use std::fmt::Debug;

use tch::{Kind, Tensor};

use super::{Objective, Trainer};
use crate::data::{Samples, batches};
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
}

/// Loss and accuracy of the validation samples as rates, if there are any: the default of a [`Trainer`].
#[derive(Clone, Copy, Debug, Default)]
pub struct AsRates;

impl Evaluation for AsRates {
    fn evaluate(&self, trainer: &Trainer) -> Result<Evaluated> {
        let Some(validation) = trainer.validation() else { return Ok(Evaluated::default()) };
        let score = score_rates(trainer.network(), validation, trainer.objective())?;
        Ok(Evaluated { validation_loss: Some(score.loss), validation_accuracy: score.accuracy, ..Evaluated::default() })
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
/// If the samples do not match the network, or their targets do not match the objective.
pub fn score_rates(network: &SpikingSequential, samples: &dyn Samples, objective: &dyn Objective) -> Result<Score> {
    let _without_gradient = tch::no_grad_guard();
    let (mut loss, mut right) = (0.0, None);
    for batch in batches(samples, samples.len(), BATCH, network) {
        let batch = batch?;
        let output = network.rates_activity(&batch.input, None)?;
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
