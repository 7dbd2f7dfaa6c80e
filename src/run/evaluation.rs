//! Evaluation after every epoch of a run.

use crate::data::Samples;
use crate::error::Result;
use crate::evaluate::{SpikingOptions, rate_accuracy, spiking_loss, spiking_with};
use crate::network::SpikingSequential;
use crate::train::{AsRates, Evaluated, Evaluation, Objective, Trainer};

/// Evaluates the validation samples as rates, and the first of them (or of the training samples if there are none) as
/// spikes: accuracies for samples with classes, losses for others.
#[derive(Clone, Copy, Debug)]
pub struct RatesAndSpikes {
    /// Whether the samples have classes.
    pub classes: bool,
    /// The number of samples to run as spikes.
    pub sample: usize,
    /// The approximate memory budget of a simulation (bytes).
    pub memory: usize,
}

impl Evaluation for RatesAndSpikes {
    fn evaluate(&self, trainer: &Trainer) -> Result<Evaluated> {
        let network = trainer.network();
        let mut evaluated = match (self.classes, trainer.validation()) {
            (true, Some(validation)) => {
                let validation_accuracy = Some(rate_accuracy(network, validation)?);
                Evaluated { validation_accuracy, ..Evaluated::default() }
            }
            _ => AsRates.evaluate(trainer)?,
        };
        if self.sample > 0 {
            let samples = trainer.validation().unwrap_or(trainer.training());
            let spikes = self.spikes(network, samples, trainer.objective(), &mut |_| {})?;
            (evaluated.spiking_accuracy, evaluated.spiking_loss) = (spikes.by_step.last().copied(), spikes.loss);
        }
        Ok(evaluated)
    }
}

/// The result of an evaluation as spikes.
pub(super) struct Spikes {
    /// Accuracy at every timestep (0 to 1); empty for samples without classes.
    pub by_step: Vec<f64>,
    /// Mean loss of samples without classes.
    pub loss: Option<f64>,
}

impl RatesAndSpikes {
    /// Runs the first samples as spikes; `progress` receives the number of completed samples.
    pub(super) fn spikes(
        &self,
        network: &SpikingSequential,
        samples: &dyn Samples,
        objective: &dyn Objective,
        progress: &mut dyn FnMut(i64),
    ) -> Result<Spikes> {
        let (steps, count) = (network.spec().steps, i64::try_from(self.sample).ok());
        let options = SpikingOptions { steps, memory: self.memory, samples: count, ..SpikingOptions::default() };
        Ok(match self.classes {
            true => {
                let evaluation = spiking_with(network, samples, options, progress)?;
                Spikes { by_step: evaluation.accuracy_by_step, loss: None }
            }
            false => Spikes { by_step: vec![], loss: Some(spiking_loss(network, samples, objective, options)?) },
        })
    }
}
