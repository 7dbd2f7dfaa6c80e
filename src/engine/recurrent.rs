//! Delayed connections, and the layers of a cycle step by step.

use tch::{Kind, TchError, Tensor};
use tch_spiking_core::spec::{LayerKind, NetworkError, Origin, Section};

use super::pass::Run;
use super::place::Place;
use super::{Activity, Mode, Pass, Recorded};
use crate::error::Result;
use crate::network::{Layer, Network, State};

/// Refuses what has no meaning in a network with delayed connections.
pub(super) fn check(network: &Network, input: &Activity, pass: &Pass) -> Result<(), NetworkError> {
    let fail = |cause: String| Err(NetworkError::Specification(cause));
    if network.is_recurrent() && pass.mode == Mode::Rates && !input.is_varying() {
        return fail(
            "it has delayed connections, so its rates depend on time: give an input over time ([T, B, ..]), or run spikes"
                .to_string(),
        );
    }
    if let Some(steps @ ..1) = truncate(pass.mode) {
        return fail(format!("truncate = {steps} is not valid: expected 1 timestep or more"));
    }
    let cycles = network.sections().iter().filter(|section| matches!(section, Section::Cycle(_)));
    let mut layers = cycles.flat_map(Section::nodes).map(|&node| &network.layers()[node]);
    match layers.find(|layer| matches!(layer.kind(), LayerKind::BatchNorm(_))) {
        Some(layer) if pass.training.is_some() => fail(format!(
            "{} lies in a cycle: in training, its statistics would be over timesteps that are not computed yet; put it before \
             the cycle",
            layer.name()
        )),
        _ => Ok(()),
    }
}

/// What delayed connections remember: of each source the output of the timestep before a pass, and of its last.
#[derive(Debug)]
pub(super) struct Delays {
    before: Vec<Tensor>,
    last: Vec<Option<Tensor>>,
}

impl Delays {
    pub(super) fn new(state: Option<&State>) -> Self {
        let before: Vec<Tensor> =
            state.into_iter().flat_map(|state| &state.delayed).map(Tensor::shallow_clone).collect();
        Self { last: before.iter().map(|_| None).collect(), before }
    }

    /// Keeps the last timestep of what was just computed, if it is read later.
    pub(super) fn remember(&mut self, network: &Network, origin: Origin, output: &Activity) -> Result<()> {
        if let Some(slot) = slot(network, origin) {
            self.last[slot] = Some(output.last()?);
        }
        Ok(())
    }

    /// Returns the activity from `origin` a timestep later.
    pub(super) fn later(
        &self,
        network: &Network,
        origin: Origin,
        activity: &Activity,
        steps: i64,
        mode: Mode,
    ) -> Result<Activity> {
        let given = activity.over_time(steps)?;
        let mut before = self.before(network, origin, given.kind())?;
        let stretch = truncate(mode).unwrap_or(steps).clamp(1, steps.max(1));
        let mut parts = Vec::new();
        for start in (0..steps).step_by(stretch.unsigned_abs() as usize) {
            parts.push(if is_cut(mode, start) { before.f_detach()? } else { before });
            let length = stretch.min(steps - start);
            parts.push(given.f_narrow(0, start, length - 1)?);
            before = given.f_narrow(0, start + length - 1, 1)?;
        }
        Ok(Activity::Varying(Tensor::f_cat(&parts, 0)?))
    }

    /// The output from `origin` in the timestep before the pass, `[1, B, S]`.
    fn before(&self, network: &Network, origin: Origin, kind: Kind) -> Result<Tensor> {
        let Some(slot) = slot(network, origin) else {
            return Err(NetworkError::State("it has no delayed activity".to_string()).into());
        };
        Ok(self.before[slot].f_to_kind(kind)?.f_unsqueeze(0)?)
    }

    /// Returns what the state is to remember.
    pub(super) fn into_state(mut self, network: &Network, input: &Activity) -> Result<Vec<Tensor>> {
        self.remember(network, Origin::Input, input)?;
        let latest = self.last.into_iter().zip(self.before).map(|(last, before)| last.unwrap_or(before));
        Ok(latest.map(|latest| latest.f_to_kind(network.kind())).collect::<Result<_, TchError>>()?)
    }
}

fn slot(network: &Network, origin: Origin) -> Option<usize> {
    network.delayed().iter().position(|&source| source == origin)
}

/// The number of timesteps after which the gradient through time is cut.
fn truncate(mode: Mode) -> Option<i64> {
    match mode {
        Mode::Surrogate { truncate, .. } => truncate,
        Mode::Rates | Mode::Spikes | Mode::SpikingAware => None,
    }
}

/// Whether no gradient flows from this timestep of a pass to those before it.
fn is_cut(mode: Mode, step: i64) -> bool {
    truncate(mode).is_some_and(|every| step % every.max(1) == 0)
}

/// An input of a layer in a cycle.
enum Source {
    /// The same at every timestep.
    Same(Activity),
    /// A value for each timestep.
    Each(Vec<Tensor>),
    /// The output of a layer of the cycle in this timestep, by its position in the cycle.
    Now(usize),
    /// The same in the timestep before.
    Before(usize),
}

/// What is collected of a layer of a cycle.
#[derive(Default)]
struct Collected {
    /// Whether its output is read outside of the cycle.
    wanted: bool,
    outputs: Vec<Tensor>,
    /// Of each state variable its course, if it is recorded.
    states: Vec<Vec<Tensor>>,
}

impl Run<'_, '_> {
    /// Computes the layers of a cycle step by step.
    pub(super) fn cycle(&mut self, nodes: &[usize]) -> Result<()> {
        let network = self.network;
        let layers: Vec<&Layer> = nodes.iter().map(|&node| &network.layers()[node]).collect();
        let sources = layers.iter().map(|layer| self.sources(nodes, layer)).collect::<Result<Vec<_>>>()?;
        let mut now: Vec<Option<Activity>> = nodes.iter().map(|_| None).collect();
        // The output of a source of delayed connections in the timestep before.
        let mut before: Vec<Option<Activity>> =
            nodes.iter().map(|&node| self.before_cycle(node)).collect::<Result<_>>()?;
        let mut collected: Vec<Collected> = nodes.iter().map(|&node| self.collect(nodes, node)).collect();
        for step in 0..self.steps {
            if is_cut(self.pass.mode, step) {
                self.detach(nodes, &mut before)?;
            }
            for (position, (&index, &layer)) in nodes.iter().zip(&layers).enumerate() {
                let read = |source: &Source| match source {
                    Source::Same(activity) => Some(activity.shallow_clone()),
                    Source::Each(steps) => Some(Activity::varying(&steps[step as usize])),
                    Source::Now(from) => now[*from].as_ref().map(Activity::shallow_clone),
                    Source::Before(from) => before[*from].as_ref().map(Activity::shallow_clone),
                };
                let inputs: Vec<Activity> = sources[position].iter().filter_map(read).collect();
                // Between single steps nothing is cut but where the pass says so.
                let mode = whole(self.pass.mode);
                let place = Place { network, layer, index, mode, steps: 1, elapsed: step.unsigned_abs() };
                let (output, spikes) = place.compute(&inputs, self.state.as_deref_mut(), self.pass)?;
                collected[position].add(&output, spikes);
                now[position] = Some(output);
            }
            for (before, now) in before.iter_mut().zip(&now) {
                if let (Some(before), Some(now)) = (before.as_mut(), now) {
                    *before = now.shallow_clone();
                }
            }
        }
        for (&node, output) in nodes.iter().zip(now.iter().flatten()) {
            self.delays.remember(network, Origin::Node(node), output)?;
        }
        self.close(nodes, collected)
    }

    fn sources(&self, nodes: &[usize], layer: &Layer) -> Result<Vec<Source>> {
        let mut sources = Vec::with_capacity(layer.inputs().len());
        for edge in layer.inputs() {
            let inside = match edge.from {
                Origin::Node(from) => nodes.binary_search(&from).ok(),
                Origin::Input => None,
            };
            sources.push(match (inside, self.read(edge.from)) {
                (Some(position), _) if edge.delayed => Source::Before(position),
                (Some(position), _) => Source::Now(position),
                (None, Some(activity)) => {
                    let activity = match edge.delayed {
                        true => self.delays.later(self.network, edge.from, &activity, self.steps, self.pass.mode)?,
                        false => activity,
                    };
                    match &activity {
                        Activity::Constant(_) => Source::Same(activity),
                        // Split once: the backward pass of indexing a single step is as large as the whole.
                        Activity::Varying(tensor) => Source::Each(tensor.f_split(1, 0)?),
                    }
                }
                (None, None) => {
                    let cause = format!("an input of layer {} was freed", layer.name());
                    return Err(NetworkError::State(cause).into());
                }
            });
        }
        Ok(sources)
    }

    /// The output of a layer before the pass, if it is read by delayed connections.
    fn before_cycle(&self, node: usize) -> Result<Option<Activity>> {
        let origin = Origin::Node(node);
        if slot(self.network, origin).is_none() {
            return Ok(None);
        }
        Ok(Some(Activity::Varying(self.delays.before(self.network, origin, self.input.kind())?)))
    }

    fn collect(&self, nodes: &[usize], node: usize) -> Collected {
        let outside = |(index, layer): (usize, &Layer)| {
            nodes.binary_search(&index).is_err() && layer.inputs().iter().any(|edge| edge.from == Origin::Node(node))
        };
        let layers = self.network.layers();
        let is_output = node + 1 == layers.len();
        let wanted = is_output || self.pass.observer.is_some() || layers.iter().enumerate().any(outside);
        Collected { wanted, ..Collected::default() }
    }

    /// Cuts the gradient between the last timestep and the next.
    fn detach(&mut self, nodes: &[usize], before: &mut [Option<Activity>]) -> Result<()> {
        if let Some(state) = &mut self.state {
            for &node in nodes {
                for tensor in &mut state.layers[node] {
                    *tensor = tensor.f_detach()?;
                }
            }
        }
        for activity in before.iter_mut().flatten() {
            *activity = Activity::Varying(activity.tensor().f_detach()?);
        }
        Ok(())
    }

    /// Puts the steps together, for the observer and what reads them from outside.
    fn close(&mut self, nodes: &[usize], collected: Vec<Collected>) -> Result<()> {
        let mut recorded = Vec::with_capacity(nodes.len());
        for (&node, Collected { wanted, outputs, states }) in nodes.iter().zip(collected) {
            if wanted {
                self.activities[node] = Some(Activity::Varying(Tensor::f_cat(&outputs, 0)?));
            }
            let whole = |steps: &Vec<Tensor>| (!steps.is_empty()).then(|| Tensor::f_cat(steps, 0)).transpose();
            recorded.push(states.iter().map(whole).collect::<Result<Vec<_>, _>>()?);
        }
        if self.pass.observer.is_none() {
            return Ok(());
        }
        for (&node, states) in nodes.iter().zip(recorded) {
            let layer = &self.network.layers()[node];
            let Some(output) = self.activities[node].as_ref().map(Activity::shallow_clone) else { continue };
            let inputs = self.inputs(layer)?;
            let spikes =
                (layer.neurons() > 0 && self.pass.mode != Mode::Rates).then_some(Recorded { total: None, states });
            self.activities[node] = Some(self.observe(node, &inputs, output, spikes)?);
        }
        Ok(())
    }
}

impl Collected {
    fn add(&mut self, output: &Activity, spikes: Option<Recorded>) {
        if self.wanted {
            self.outputs.push(output.tensor().shallow_clone());
        }
        let Some(Recorded { states, .. }) = spikes else { return };
        self.states.resize_with(states.len(), Vec::new);
        for (course, state) in self.states.iter_mut().zip(states) {
            course.extend(state);
        }
    }
}

/// The mode without cuts in time.
fn whole(mode: Mode) -> Mode {
    match mode {
        Mode::Surrogate { surrogate, .. } => Mode::Surrogate { surrogate, truncate: None },
        Mode::Rates | Mode::Spikes | Mode::SpikingAware => mode,
    }
}
