//! The forward pass of a network, in any mode, on libtorch and any device.
//!
//! Layers run one by one over all timesteps: one convolution on `[T * B, C, H, W]`, then one scan over `T` in one kernel,
//! instead of `T` rounds of small operations. Layers before the first neurons have a constant input and are computed
//! once. Only the layers of a cycle, closed by a delayed connection, run step by step (`recurrent.rs`).

use tch::Kind;
use tch_spiking_core::spec::{NetworkError, Origin, Section};
use tch_spiking_core::surrogate::Surrogate;

use super::place::Place;
use super::recurrent::{self, Delays};
use super::{Activity, Observer, Recorded, Visit};
use crate::error::Result;
use crate::network::{Layer, Network, State};

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
        /// The number of timesteps after which the gradient is cut; see [`through_time`](crate::operation::through_time).
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
            if state.layers.len() != network.layers().len() || state.delayed.len() != network.delayed().len() =>
        {
            Err(NetworkError::State("it is of another network: make one with zero_state".to_string()))
        }
        Some(state) if state.batch() != input.batch() => {
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
