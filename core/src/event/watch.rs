//! What is recorded of a stage while it runs, beside the activity that it passes on.

use std::ops::Range;

use super::activity::Activity;
use super::plan::{Flow, Place, Plan, Shape, Stage, Tuning};
use super::sum::Block;
use crate::kernels::Number;
use crate::neuron::Neuron;
use crate::probe::{Probe, Quantity};
use crate::spec::{Graph, LayerKind, NetworkError};

/// A quantity that exists block by block only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// The sum of these inputs of the stage.
    Rows(Range<usize>),
    /// The current into the neurons.
    Current,
    /// A state variable of the neurons, by its index.
    State(usize),
}

/// Where a probe's values come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    Activity(usize),
    /// The spike counts of a stage.
    Counts(usize),
    /// What is watched of a stage, by its index.
    Watched(usize, usize),
}

/// Probes resolved.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    pub kept: Vec<Kept>,
    /// Of each stage what is to be watched; empty if nothing is.
    pub watches: Vec<Vec<What>>,
}

impl Recorder {
    /// Finds what `probes` ask for.
    ///
    /// # Errors
    /// If the network has no such thing.
    pub(super) fn new<R: Copy>(graph: &Graph, plan: &Plan<R>, probes: &[Probe]) -> Result<Self, NetworkError> {
        let mut recorder = Self::default();
        for probe in probes {
            probe.check(graph.nodes.iter().map(|node| (node.name.as_str(), &node.kind)))?;
            let layer = graph.position(&probe.layer).unwrap_or_default();
            let neurons = plan.neurons_of(layer);
            let variable = |neuron: &Neuron, name: &String| {
                neuron.state().iter().position(|variable| variable.name == name).unwrap_or_default()
            };
            let kept = match (&probe.quantity, &graph.nodes[layer].kind, neurons) {
                (Quantity::SpikeCount, _, Some(stage)) => Kept::Counts(stage),
                (Quantity::Current, _, Some(stage)) => recorder.watch(plan, stage, What::Current),
                (Quantity::State(name), LayerKind::Neuron(neurons), Some(stage)) => {
                    recorder.watch(plan, stage, What::State(variable(&neurons.model, name)))
                }
                _ => match plan.places[layer].clone() {
                    Place::Activity(activity) => Kept::Activity(activity),
                    Place::Rows { stage, inputs } => recorder.watch(plan, stage, What::Rows(inputs)),
                },
            };
            recorder.kept.push(kept);
        }
        Ok(recorder)
    }

    fn watch<R>(&mut self, plan: &Plan<R>, stage: usize, what: What) -> Kept {
        self.watches.resize(plan.stages.len(), Vec::new());
        self.watches[stage].push(what);
        Kept::Watched(stage, self.watches[stage].len() - 1)
    }

    /// What is to be watched of a stage.
    pub(super) fn of_stage(&self, stage: usize) -> &[What] {
        self.watches.get(stage).map_or(&[], Vec::as_slice)
    }
}

/// A quantity and its values over the last stretch.
#[derive(Clone, Debug)]
pub(super) struct Watched<R> {
    pub what: What,
    pub values: Activity<R>,
}

impl<R: Number> Watched<R> {
    pub(super) fn new(what: What, shape: Shape, capacity: usize) -> Self {
        Self { what, values: Activity::new(Flow::Values, shape, capacity) }
    }

    /// Keeps the currents of neurons of which the `input` is the same at every step.
    pub(super) fn write_constant(&mut self, stage: &Stage<R>, input: &[R], steps: usize, capacity: usize) {
        if self.what == What::Current {
            let padded = stage.output.padded();
            for (index, &value) in input.iter().enumerate() {
                let current = stage.tuning.gain[index] * value + stage.tuning.bias[index];
                let (position, channel) = (index / padded, index % padded);
                for step in 0..steps {
                    self.values.values[(position * capacity + step) * padded + channel] = current;
                }
            }
        }
    }

    fn write<const W: usize>(&mut self, shape: Shape, at: Block, value: impl Fn(usize, usize) -> R) {
        for step in 0..at.time.steps {
            let row = self.values.row_mut::<W>(at.position, at.time.first + step, at.number, shape, at.time.capacity);
            row.iter_mut().enumerate().for_each(|(lane, to)| *to = value(step, lane));
        }
    }
}

/// Keeps the sum of these `inputs` of a stage. (These are apart so that they do not burden what is not recorded.)
#[cold]
#[inline(never)]
pub(super) fn keep_rows<R: Number, const W: usize>(
    watched: &mut [Watched<R>],
    shape: Shape,
    at: Block,
    inputs: Range<usize>,
    rows: &[[R; W]],
) {
    for watched in watched.iter_mut().filter(|watched| watched.what == What::Rows(inputs.clone())) {
        watched.write::<W>(shape, at, |step, lane| rows[step.min(rows.len() - 1)][lane]);
    }
}

/// Keeps the currents that these rows make.
#[cold]
#[inline(never)]
pub(super) fn keep_currents<R: Number, const W: usize>(
    watched: &mut [Watched<R>],
    shape: Shape,
    at: Block,
    tuning: &Tuning<R>,
    rows: &[[R; W]],
) {
    let first = (at.position * shape.blocks() + at.number) * W;
    for watched in watched.iter_mut().filter(|watched| watched.what == What::Current) {
        watched.write::<W>(shape, at, |step, lane| {
            tuning.gain[first + lane] * rows[step.min(rows.len() - 1)][lane] + tuning.bias[first + lane]
        });
    }
}

/// Keeps state variables from the history, `[steps, variables, W]`, of a block.
#[cold]
#[inline(never)]
pub(super) fn keep_states<R: Number, const W: usize>(
    watched: &mut [Watched<R>],
    shape: Shape,
    at: Block,
    variables: usize,
    history: &[R],
) {
    for watched in watched {
        if let What::State(variable) = watched.what {
            watched.write::<W>(shape, at, |step, lane| history[(step * variables + variable) * W + lane]);
        }
    }
}
