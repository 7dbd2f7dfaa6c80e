//! How good the network is at an epoch's end.

use std::fmt::Debug;

use tch::{Kind, Tensor};

use super::{Objective, Trainer};
use crate::data::{Samples, batches};
use crate::error::Result;
use crate::network::SpikingSequential;

/// What is evaluated at an epoch's end, for its [`EpochMetrics`](super::EpochMetrics).
pub trait Evaluation: Debug + Send {
    /// Evaluates the network of `trainer` as it is now.
    ///
    /// # Errors
    /// End the training.
    fn evaluate(&self, trainer: &Trainer) -> Result<Evaluated>;
}

/// The result of an [`Evaluation`]; what was not evaluated is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated {
    /// Mean loss of the validation samples, as rates.
    pub validation_loss: Option<f64>,
    /// Share of validation samples answered right, as rates.
    pub validation_accuracy: Option<f64>,
    /// Mean loss of a sample, as spikes.
    pub spiking_loss: Option<f64>,
    /// Share of a sample answered right, as spikes.
    pub spiking_accuracy: Option<f64>,
}

/// Loss and accuracy of the validation samples as rates, if there are any: what a [`Trainer`] does by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsRates;

impl Evaluation for AsRates {
    fn evaluate(&self, trainer: &Trainer) -> Result<Evaluated> {
        let Some(validation) = trainer.validation() else { return Ok(Evaluated::default()) };
        let score = score_rates(trainer.network(), validation, trainer.objective())?;
        Ok(Evaluated { validation_loss: Some(score.loss), validation_accuracy: score.accuracy, ..Evaluated::default() })
    }
}

/// How good outputs are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean loss; `NaN` of no samples.
    pub loss: f64,
    /// Share of samples answered right, where there are right answers.
    pub accuracy: Option<f64>,
}

/// Samples at a time.
const BATCH: i64 = 500;

/// Loss and accuracy of `samples` with the network as rates, without gradients.
///
/// # Errors
/// If the samples are not what the network takes, or have no targets of the objective's kind.
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
