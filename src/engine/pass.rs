//! The forward pass of a network, in any mode, on libtorch and any device.
//!
//! Layers run one by one over all timesteps: one convolution on `[T * B, C, H, W]`, then one scan over `T` in one kernel,
//! instead of `T` rounds of small operations. Layers before the first neurons have a constant input and are computed
//! once. Only the layers of a cycle, closed by a delayed connection, run step by step (`recurrent.rs`).

use tch::{Kind, Tensor};
use tch_spiking_core::Synapse;
use tch_spiking_core::kernels::NoiseKey;
use tch_spiking_core::spec::{LayerKind, NetworkError, Origin, Section, streams};
use tch_spiking_core::surrogate::Surrogate;

use super::recurrent::{self, Delays};
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
/// A delayed connection passes on the output of the timestep before; at the first that of the state, or 0 without one.
/// Layers of a cycle run step by step, and gradients flow through the connection from each step to the one before, but where
/// `truncate` cuts them. An observer is called for them when all steps are done ([`Observer::after`] only).
///
/// # Errors
/// Returns an error if input or state do not match the network, a layer of neurons has no rate in a mode that needs
/// it, or the network has delayed connections and rates are asked of an input that is constant over time.
pub fn forward(network: &Network, input: &Activity, state: Option<&mut State>, pass: &mut Pass) -> Result<Activity> {
    check(network, input, state.as_deref(), pass)?;
    let steps = if pass.mode == Mode::Rates { 1 } else { pass.steps };
    network.check_pass(input.batch(), input.steps().unwrap_or(steps), pass.training.is_some())?;
    // Delayed connections and synapses in a cycle remember from step to step, in rates too.
    let mut own = match &state {
        None if network.is_recurrent() => Some(network.zero_state(input.batch())?),
        _ => None,
    };
    let mut run = Run::new(network, input, state.or(own.as_mut()), pass);
    for (position, section) in network.sections().iter().enumerate() {
        match section {
            Section::Node(index) => run.node(*index)?,
            Section::Cycle(nodes) => run.cycle(nodes)?,
        }
        run.free(section, position);
    }
    run.finish()
}

/// A pass under way.
pub(super) struct Run<'a, 'o> {
    pub network: &'a Network,
    pub input: &'a Activity,
    pub state: Option<&'a mut State>,
    pub pass: &'a mut Pass<'o>,
    pub steps: i64,
    /// The outputs of the layers so far that are still to be read.
    pub activities: Vec<Option<Activity>>,
    pub delays: Delays,
}

impl<'a, 'o> Run<'a, 'o> {
    fn new(network: &'a Network, input: &'a Activity, state: Option<&'a mut State>, pass: &'a mut Pass<'o>) -> Self {
        let steps = input.steps().unwrap_or(pass.steps);
        let delays = Delays::new(state.as_deref());
        let activities = network.layers().iter().map(|_| None).collect();
        Self { network, input, state, pass, steps, activities, delays }
    }

    /// Computes a layer over all timesteps.
    fn node(&mut self, index: usize) -> Result<()> {
        let layer = &self.network.layers()[index];
        let mut inputs = self.inputs(layer)?;
        if let Some(observer) = &mut self.pass.observer {
            observer.before(index, layer, &mut inputs)?;
        }
        let mode = self.pass.mode;
        let place = Place { network: self.network, layer, index, mode, steps: self.pass.steps, elapsed: 0 };
        let (output, spikes) = place.compute(&inputs, self.state.as_deref_mut(), self.pass)?;
        self.delays.remember(self.network, Origin::Node(index), &output)?;
        let output = self.observe(index, &inputs, output, spikes)?;
        self.activities[index] = Some(output);
        Ok(())
    }

    /// The inputs of a layer over all timesteps.
    pub(super) fn inputs(&self, layer: &Layer) -> Result<Vec<Activity>> {
        let mut inputs = Vec::with_capacity(layer.inputs().len());
        for edge in layer.inputs() {
            let Some(activity) = self.read(edge.from) else { continue };
            inputs.push(match edge.delayed {
                true => self.delays.later(self.network, edge.from, &activity, self.steps, self.pass.mode)?,
                false => activity,
            });
        }
        Ok(inputs)
    }

    /// The activity from `origin`.
    pub(super) fn read(&self, origin: Origin) -> Option<Activity> {
        match origin {
            Origin::Input => Some(self.input.shallow_clone()),
            Origin::Node(from) => self.activities[from].as_ref().map(Activity::shallow_clone),
        }
    }

    /// Shows a layer to the observer, and returns its output.
    pub(super) fn observe(
        &mut self,
        index: usize,
        inputs: &[Activity],
        output: Activity,
        spikes: Option<Recorded>,
    ) -> Result<Activity> {
        let Some(observer) = &mut self.pass.observer else { return Ok(output) };
        let layer = &self.network.layers()[index];
        let mut visit = Visit { index, layer, inputs, output, steps: self.steps, dt: self.network.spec().dt, spikes };
        observer.after(&mut visit)?;
        Ok(visit.output)
    }

    /// Frees what no later section reads.
    fn free(&mut self, section: &Section, position: usize) {
        let read = section.nodes().iter().flat_map(|&node| self.network.layers()[node].inputs());
        for edge in read {
            if let Origin::Node(from) = edge.from
                && self.network.last_reader(from) <= position
            {
                self.activities[from] = None;
            }
        }
    }

    fn finish(mut self) -> Result<Activity> {
        if let Some(state) = self.state {
            state.step += self.pass.steps.unsigned_abs();
            state.delayed = self.delays.into_state(self.network, self.input)?;
        }
        let output = self.activities.pop().flatten().unwrap_or_else(|| self.input.shallow_clone());
        Ok(output.to_kind(self.network.kind())?)
    }
}

/// Checks everything that can be checked before computing.
fn check(network: &Network, input: &Activity, state: Option<&State>, pass: &Pass) -> Result<(), NetworkError> {
    // In mixed precision, the input may be of a shorter dtype.
    let kind = match (input.tensor().kind(), network.kind()) {
        (Kind::BFloat16, Kind::Float) => Kind::BFloat16,
        (_, kind) => kind,
    };
    network.check_input(input.tensor(), input.leading(), kind)?;
    if pass.mode != Mode::Rates || input.is_varying() {
        check_steps(input, if pass.mode == Mode::Rates { input.steps().unwrap_or(1) } else { pass.steps })?;
    }
    recurrent::check(network, input, pass)?;
    match state {
        Some(state)
            if state.batch() != input.batch()
                || state.layers.len() != network.layers().len()
                || state.delayed.len() != network.delayed().len() =>
        {
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
        let Some(state) = state.filter(|_| self.mode != Mode::Rates) else {
            let (gain, bias) = (neurons.gain_like(&neurons.bias)?, neurons.resting_current()?);
            return Ok((input.with(operation::rate(&neurons.model, input.tensor(), &gain, &bias)?), None));
        };
        let (gain, bias) = (neurons.gain_like(&neurons.bias)?, neurons.resting_current()?);
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
