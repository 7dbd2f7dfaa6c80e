//! The forward pass of a network, in any mode, on libtorch and any device.
//!
//! A network without delayed connections runs layer by layer over all timesteps: one convolution on `[T * B, C, H, W]`,
//! then one scan over `T` in one kernel, instead of `T` rounds of small operations. Layers before the first neurons
//! have a constant input and are computed once.

use tch::Kind;
use tch_spiking_core::Synapse;
use tch_spiking_core::kernels::NoiseKey;
use tch_spiking_core::spec::{LayerKind, NetworkError, Origin, streams};
use tch_spiking_core::surrogate::Surrogate;

use super::{Activity, Observer, Recorded, Visit};
use crate::error::Result;
use crate::network::{Layer, Network, Neurons, Parameters, State};
use crate::operation::{self, DriveNoise, Spikes, SpikingDrive};

/// The computation of neurons in a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// The rate at each timestep, without memory; differentiable. Synapses pass a constant input through.
    Rates,
    /// Spikes, continuing from the state.
    Spikes,
    /// Spikes forward, the gradient of the rate at each timestep backward (KerasSpiking's spiking-aware training).
    SpikingAware,
    /// Spikes forward, their gradients through time backward, with a surrogate for the derivative of the spike.
    Surrogate {
        /// The derivative of the spike.
        surrogate: Surrogate,
        /// The number of timesteps after which the gradient is cut; see [`through_time`](operation::through_time).
        truncate: Option<i64>,
    },
}

/// A training step: enables dropout and batch statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingStep {
    /// Number of the step, from which dropout is drawn.
    pub number: u64,
}

/// The settings of a forward pass.
#[derive(Debug)]
pub struct Pass<'a> {
    /// Computation of the neurons.
    pub mode: Mode,
    /// Number of timesteps; ignored for rates of a constant input.
    pub steps: i64,
    /// The training step, if it is one.
    pub training: Option<TrainingStep>,
    /// Observer of every layer's activity.
    pub observer: Option<&'a mut dyn Observer>,
}

impl Pass<'_> {
    /// Creates a pass of rates outside of training.
    pub fn rates() -> Self {
        Self { mode: Mode::Rates, steps: 1, training: None, observer: None }
    }

    /// Creates a pass of `steps` timesteps of spikes outside of training.
    pub fn spikes(steps: i64) -> Self {
        Self { mode: Mode::Spikes, steps, training: None, observer: None }
    }
}

/// Runs `network` on `input`; `state`, which spikes need, is advanced in place.
///
/// Whether gradients are recorded depends on libtorch's setting (`tch::no_grad`); they flow in the modes for training.
///
/// # Errors
/// Returns an error if input or state do not match the network, a layer of neurons has no rate in a mode that needs
/// it, or the network is recurrent.
pub fn forward(
    network: &Network,
    input: &Activity,
    mut state: Option<&mut State>,
    pass: &mut Pass,
) -> Result<Activity> {
    check(network, input, state.as_deref(), pass)?;
    let steps = input.steps().unwrap_or(pass.steps);
    let mut activities: Vec<Option<Activity>> = Vec::with_capacity(network.layers().len());
    for (index, layer) in network.layers().iter().enumerate() {
        let read = |origin: Origin| match origin {
            Origin::Input => Some(input.shallow_clone()),
            Origin::Node(from) => activities[from].as_ref().map(Activity::shallow_clone),
        };
        let mut inputs: Vec<Activity> = layer.inputs().iter().filter_map(|edge| read(edge.from)).collect();
        // Freed as soon as no later layer reads them.
        for edge in layer.inputs() {
            if let Origin::Node(from) = edge.from
                && network.last_reader(from) <= index
            {
                activities[from] = None;
            }
        }
        if let Some(observer) = &mut pass.observer {
            observer.before(index, layer, &mut inputs)?;
        }
        let at = Place { network, layer, index };
        let (output, spikes) = at.compute(&inputs, state.as_deref_mut(), pass)?;
        let output = match &mut pass.observer {
            Some(observer) => {
                let mut visit = Visit { index, layer, inputs: &inputs, output, steps, dt: network.spec().dt, spikes };
                observer.after(&mut visit)?;
                visit.output
            }
            None => output,
        };
        activities.push(Some(output));
    }
    if let Some(state) = state {
        state.step += pass.steps.unsigned_abs();
    }
    let output = activities.pop().flatten().unwrap_or_else(|| input.shallow_clone());
    Ok(output.to_kind(network.kind())?)
}

/// Checks everything that can be checked before computing.
fn check(network: &Network, input: &Activity, state: Option<&State>, pass: &Pass) -> Result<(), NetworkError> {
    // In mixed precision, the input of rates may be of a shorter dtype.
    let kind = match (pass.mode, input.tensor().kind(), network.kind()) {
        (Mode::Rates, Kind::BFloat16, Kind::Float) => Kind::BFloat16,
        (_, _, kind) => kind,
    };
    network.check_input(input.tensor(), input.leading(), kind)?;
    if pass.mode != Mode::Rates || input.is_varying() {
        check_steps(input, if pass.mode == Mode::Rates { input.steps().unwrap_or(1) } else { pass.steps })?;
    }
    if network.is_recurrent() {
        let cause = "it has delayed connections, which can be described but not run yet".to_string();
        return Err(NetworkError::Specification(cause));
    }
    match state {
        Some(state) if state.batch() != input.batch() || state.layers.len() != network.layers().len() => {
            Err(NetworkError::State(format!("it is of {} samples, the input of {}", state.batch(), input.batch())))
        }
        None if pass.mode != Mode::Rates => Err(NetworkError::State("there is none, and spikes need one".to_string())),
        _ => Ok(()),
    }
}

pub(super) fn check_steps(input: &Activity, steps: i64) -> Result<(), NetworkError> {
    let fail = |expected: String| Err(NetworkError::Input { expected, found: format!("{steps} steps") });
    match input.steps() {
        _ if steps < 1 => fail("at least one timestep".to_string()),
        Some(given) if given != steps => fail(format!("{given} timesteps of input")),
        _ => Ok(()),
    }
}

/// A layer at its position in the network.
struct Place<'a> {
    network: &'a Network,
    layer: &'a Layer,
    index: usize,
}

impl Place<'_> {
    fn compute(
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
            (LayerKind::Synapse(synapse), _) => Ok((self.synapse(*synapse, input, state, pass)?, None)),
            (
                LayerKind::Neuron(_)
                | LayerKind::Conv2d(_)
                | LayerKind::Linear(_)
                | LayerKind::AvgPool(_)
                | LayerKind::MaxPool(_)
                | LayerKind::Flatten
                | LayerKind::Dropout(_)
                | LayerKind::Relu
                | LayerKind::LeakyRelu(_)
                | LayerKind::BatchNorm(_)
                | LayerKind::Add
                | LayerKind::Concat
                | LayerKind::Custom(_),
                _,
            ) => Ok((self.stateless(inputs, pass)?, None)),
        }
    }

    fn synapse(&self, synapse: Synapse, input: &Activity, state: Option<&mut State>, pass: &Pass) -> Result<Activity> {
        let dt = self.network.spec().dt;
        let steps = match (pass.mode, input) {
            (Mode::Rates, Activity::Constant(_)) => return Ok(input.shallow_clone()),
            (Mode::Rates, Activity::Varying(_)) => input.steps().unwrap_or(1),
            (Mode::Spikes | Mode::SpikingAware | Mode::Surrogate { .. }, _) => pass.steps,
        };
        // In mixed precision the state would lose a long time constant.
        let (given, own) = (input.kind(), self.network.kind());
        let values = input.over_time(steps)?.f_to_kind(own)?;
        let filtered = match state {
            Some(state) => operation::filter(synapse, &values, dt, &mut state.layers[self.index])?,
            None => {
                let zeros = || values.f_get(0)?.f_zeros_like();
                let zeros = (0..synapse.state_len()).map(|_| zeros()).collect::<Result<Vec<_>, _>>();
                operation::filter(synapse, &values, dt, &mut zeros?)?
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
        let Some(state) = state.filter(|_| pass.mode != Mode::Rates) else {
            let (gain, bias) = (neurons.gain_like(&neurons.bias)?, neurons.resting_current()?);
            return Ok((input.with(operation::rate(&neurons.model, input.tensor(), &gain, &bias)?), None));
        };
        let (gain, bias) = (neurons.gain_like(input.tensor())?, neurons.resting_current()?);
        let noise = neurons.model.is_noisy().then(|| DriveNoise {
            key: NoiseKey::new(self.network.seed(), self.index),
            first_sample: state.first_sample,
            first_step: state.step,
        });
        let drive = SpikingDrive {
            learned: &neurons.learned,
            noise,
            ..SpikingDrive::new(input.tensor(), &gain, &bias, pass.steps, self.network.spec().dt)
        };
        let variables = &mut state.layers[self.index];
        let Spikes { output, total, recorded } = match pass.mode {
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
                | LayerKind::BatchNorm(_)
                | LayerKind::Neuron(_)
                | LayerKind::Synapse(_)
                | LayerKind::Add
                | LayerKind::Concat,
                ..,
            ) => Ok(Activity::map_all(inputs, |batch| layer.apply(batch))?),
        }
    }
}
