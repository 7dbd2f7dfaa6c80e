//! A layer, computed in a mode of the pass.

use tch::Tensor;
use tch_spiking_core::Synapse;
use tch_spiking_core::kernels::NoiseKey;
use tch_spiking_core::spec::{LayerKind, NetworkError, streams};

use super::{Activity, Mode, Pass, Recorded};
use crate::error::Result;
use crate::network::{Layer, Network, Neurons, Parameters, State};
use crate::operation::{self, DriveNoise, Spikes, SpikingDrive};

/// A layer at its position in the network, and the timesteps for which it is computed.
pub(super) struct Place<'a> {
    pub network: &'a Network,
    pub layer: &'a Layer,
    pub index: usize,
    pub mode: Mode,
    /// Number of timesteps, and of those of the pass before them.
    pub steps: i64,
    pub elapsed: u64,
}

impl Place<'_> {
    pub(super) fn compute(
        &self,
        inputs: &[Activity],
        state: Option<&mut State>,
        pass: &Pass,
    ) -> Result<(Activity, Option<Recorded>)> {
        let Some(input) = inputs.first() else {
            return Err(NetworkError::State(format!("layer {} has no input", self.layer.name())).into());
        };
        match (self.layer.kind(), &self.layer.parameters) {
            (LayerKind::Neuron(_), Parameters::Neurons(neurons)) => self.neurons(neurons, input, state, pass),
            (LayerKind::Synapse(synapse), Parameters::Synapse { log_tau }) => {
                Ok((self.synapse(synapse.synapse, log_tau.as_ref(), input, state)?, None))
            }
            (
                LayerKind::Neuron(_)
                | LayerKind::Synapse(_)
                | LayerKind::Conv2d(_)
                | LayerKind::Linear(_)
                | LayerKind::AvgPool(_)
                | LayerKind::MaxPool(_)
                | LayerKind::Flatten
                | LayerKind::Dropout(_)
                | LayerKind::Relu
                | LayerKind::LeakyRelu(_)
                | LayerKind::Scale(_)
                | LayerKind::BatchNorm(_)
                | LayerKind::Standardize(_)
                | LayerKind::Add
                | LayerKind::Concat
                | LayerKind::Custom(_),
                _,
            ) => Ok((self.stateless(inputs, pass)?, None)),
        }
    }

    fn synapse(
        &self,
        synapse: Synapse,
        log_tau: Option<&Tensor>,
        input: &Activity,
        state: Option<&mut State>,
    ) -> Result<Activity> {
        let dt = self.network.spec().dt;
        let steps = match (self.mode, input) {
            (Mode::Rates, Activity::Constant(_)) => return Ok(input.shallow_clone()),
            (Mode::Rates, Activity::Varying(_)) => input.steps().unwrap_or(1),
            (Mode::Spikes | Mode::SpikingAware | Mode::Surrogate { .. }, _) => self.steps,
        };
        // In mixed precision the state would lose a long time constant.
        let (given, own) = (input.kind(), self.network.kind());
        let values = input.over_time(steps)?.f_to_kind(own)?;
        let filter = |state: &mut [Tensor]| match log_tau {
            Some(log_tau) => operation::filter_learned(synapse, log_tau, &values, dt, state),
            None => operation::filter(synapse, &values, dt, state),
        };
        let filtered = match state {
            Some(state) => filter(&mut state.layers[self.index])?,
            None => {
                let zeros = || values.f_get(0)?.f_zeros_like();
                let zeros = (0..synapse.state_len()).map(|_| zeros()).collect::<Result<Vec<_>, _>>();
                filter(&mut zeros?)?
            }
        };
        let filtered = filtered.f_to_kind(given)?;
        Ok(Activity::Varying(filtered))
    }

    fn neurons(
        &self,
        neurons: &Neurons,
        input: &Activity,
        state: Option<&mut State>,
        pass: &Pass,
    ) -> Result<(Activity, Option<Recorded>)> {
        let (gain, bias) = (neurons.gain_like(&neurons.bias)?, neurons.resting_current()?);
        let Some(state) = state.filter(|_| self.mode != Mode::Rates) else {
            return Ok((input.with(operation::rate(&neurons.model, input.tensor(), &gain, &bias)?), None));
        };
        let noise = neurons.model.is_noisy().then(|| DriveNoise {
            key: NoiseKey::new(self.network.seed(), self.index),
            first_sample: state.first_sample,
            first_step: state.step + self.elapsed,
        });
        let learned = neurons.learned_like(input.tensor())?;
        let drive = SpikingDrive {
            learned: &learned,
            noise,
            ..SpikingDrive::new(input.tensor(), &gain, &bias, self.steps, self.network.spec().dt)
        };
        let variables = &mut state.layers[self.index];
        let Spikes { output, total, recorded } = match self.mode {
            Mode::SpikingAware => operation::spike_aware(&neurons.model, &drive, variables)?,
            Mode::Surrogate { surrogate, truncate } => {
                operation::through_time(&neurons.model, &drive, variables, &surrogate, truncate)?
            }
            Mode::Rates | Mode::Spikes => {
                let records =
                    |name: &str| pass.observer.as_ref().is_some_and(|observer| observer.records(self.layer, name));
                let record: Vec<bool> = neurons.model.state().iter().map(|variable| records(variable.name)).collect();
                operation::spike(&neurons.model, &drive, variables, &record)?
            }
        };
        Ok((Activity::Varying(output), Some(Recorded { total, states: recorded })))
    }

    fn stateless(&self, inputs: &[Activity], pass: &Pass) -> Result<Activity> {
        let (layer, input) = (self.layer, &inputs[0]);
        match (layer.kind(), &layer.parameters, pass.training) {
            (LayerKind::BatchNorm(norm), Parameters::Normalization(tensors), Some(_)) => {
                let mut failure = None;
                let output = Activity::map_all(inputs, |batch| {
                    tensors.train(*norm, batch[0], layer.name()).or_else(|error| {
                        failure = Some(error);
                        Ok(batch[0].shallow_clone())
                    })
                })?;
                failure.map_or(Ok(output), Err)
            }
            (LayerKind::Dropout(dropout), _, Some(step)) if dropout.p > 0.0 => {
                let rng = streams::dropout(self.network.seed(), self.index, step.number);
                // One mask for all timesteps of a sample.
                let size = input.tensor().size();
                let shape = &size[usize::from(input.is_varying())..];
                let mask = crate::network::dropout_mask(input.tensor(), shape, dropout.p, rng)?;
                Ok(input.with(input.tensor().f_mul(&mask)?))
            }
            // Custom layers compute in the network's own dtype.
            (LayerKind::Custom(_), ..) => {
                let (own, given) = (self.network.kind(), input.tensor().kind());
                let inputs = inputs.iter().map(|input| input.to_kind(own)).collect::<Result<Vec<_>, _>>()?;
                let training = pass.training.is_some();
                Ok(Activity::map_all(&inputs, |batch| layer.apply_in(batch, training))?.to_kind(given)?)
            }
            (
                LayerKind::Conv2d(_)
                | LayerKind::Linear(_)
                | LayerKind::AvgPool(_)
                | LayerKind::MaxPool(_)
                | LayerKind::Flatten
                | LayerKind::Dropout(_)
                | LayerKind::Relu
                | LayerKind::LeakyRelu(_)
                | LayerKind::Scale(_)
                | LayerKind::BatchNorm(_)
                | LayerKind::Standardize(_)
                | LayerKind::Neuron(_)
                | LayerKind::Synapse(_)
                | LayerKind::Add
                | LayerKind::Concat,
                ..,
            ) => Ok(Activity::map_all(inputs, |batch| layer.apply(batch))?),
        }
    }
}
