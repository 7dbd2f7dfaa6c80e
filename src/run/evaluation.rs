//! Evaluation after every epoch of a run.

use crate::data::{Samples, has_rates};
use crate::error::Result;
use crate::evaluate::{SpikingOptions, rate_accuracy, spiking_loss, spiking_with};
use crate::network::SpikingSequential;
use crate::train::{Evaluated, Evaluation, Objective, Trainer, score_rates};

/// Evaluates the validation samples as rates, where all neurons have one, and the first of them (or of the training
/// samples if there are none) as spikes, for the trained number of timesteps: accuracies for samples with classes, losses
/// for others.
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
        let mut evaluated = Evaluated::default();
        if let Some(validation) = trainer.validation()
            && has_rates(network, validation)?
        {
            match self.classes {
                true => evaluated.validation_accuracy = Some(rate_accuracy(network, validation)?),
                false => {
                    let score = score_rates(network, validation, trainer.objective())?;
                    (evaluated.validation_loss, evaluated.validation_accuracy) = (Some(score.loss), score.accuracy);
                }
            }
        }
        if self.sample > 0 {
            let samples = trainer.validation().unwrap_or(trainer.training());
            let steps = trainer.method().steps(network).unwrap_or(network.spec().steps);
            let spikes = self.spikes(network, samples, trainer.objective(), steps, &mut |_| {})?;
            (evaluated.spiking_accuracy, evaluated.spiking_loss) = (spikes.by_step.last().copied(), spikes.loss);
            (evaluated.spiking_steps, evaluated.spikes_per_image) = (Some(steps), spikes.per_image);
        }
        Ok(evaluated)
    }
}

/// The result of an evaluation as spikes.
pub(super) struct Spikes {
    /// Accuracy at every timestep (0 to 1); empty for samples without classes.
    pub by_step: Vec<f64>,
    /// Mean number of spikes per sample with a class.
    pub per_image: Option<f64>,
    /// Mean loss of samples without classes.
    pub loss: Option<f64>,
}

impl RatesAndSpikes {
    /// Runs the first samples as spikes, still ones for `steps` timesteps; `progress` receives the number of completed samples.
    pub(super) fn spikes(
        &self,
        network: &SpikingSequential,
        samples: &dyn Samples,
        objective: &dyn Objective,
        steps: i64,
        progress: &mut dyn FnMut(i64),
    ) -> Result<Spikes> {
        let count = i64::try_from(self.sample).ok();
        let options = SpikingOptions { steps, memory: self.memory, samples: count, ..SpikingOptions::default() };
        Ok(match self.classes {
            true => {
                let evaluation = spiking_with(network, samples, options, progress)?;
                Spikes {
                    by_step: evaluation.accuracy_by_step,
                    per_image: Some(evaluation.spikes_per_image),
                    loss: None,
                }
            }
            false => {
                let loss = Some(spiking_loss(network, samples, objective, options)?);
                Spikes { by_step: vec![], per_image: None, loss }
            }
        })
    }
}
