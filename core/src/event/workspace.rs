//! The memory of one image on its way through a network, used again for the next.

use super::advance::Advance;
use super::aligned::Aligned;
use super::constant::Spiking;
use super::gather::Source;
use super::plan::{Flow, Plan, Shape, Sink, Stage};
use crate::kernels::Number;
use crate::neuron::Initial;

/// What a stage passes on; which of the two is used is up to its [`Flow`].
#[derive(Debug)]
pub(super) struct Activity<R> {
    pub values: Aligned<R>,
    /// The spike times of each neuron in the stretch, a bit for each step, stored as the neurons are.
    pub spikes: Aligned<u32>,
    /// A bit for each channel of a block that spikes at all in the stretch, `[position, block]`.
    pub active: Vec<u64>,
}

impl<R: Number> Activity<R> {
    fn new(flow: Flow<R>, shape: Shape, capacity: usize) -> Self {
        let (values, spikes, active) = match flow {
            Flow::Constant => (shape.storage(), 0, 0),
            Flow::Values => (shape.storage() * capacity, 0, 0),
            Flow::Spikes(_) => (0, shape.storage(), shape.positions() * shape.blocks()),
        };
        Self { values: Aligned::new(values), spikes: Aligned::new(spikes), active: vec![0; active] }
    }

    /// The values of a block at one step.
    #[inline(always)]
    pub(super) fn row_mut<const W: usize>(
        &mut self,
        position: usize,
        step: usize,
        block: usize,
        shape: Shape,
        capacity: usize,
    ) -> &mut [R] {
        &mut self.values[(position * capacity + step) * shape.padded() + block * W..][..W]
    }

    /// The value of the neuron at `index`, counted as tensors do.
    #[inline]
    fn value(&self, flow: Flow<R>, shape: Shape, capacity: usize, step: usize, index: usize) -> R {
        let (channel, position) = (index / shape.positions(), index % shape.positions());
        match flow {
            Flow::Constant => self.values[position * shape.padded() + channel],
            Flow::Values => self.values[(position * capacity + step) * shape.padded() + channel],
            Flow::Spikes(height) => {
                let times = self.spikes[position * shape.padded() + channel];
                if times >> step & 1 == 1 { height } else { R::default() }
            }
        }
    }
}

/// The state of a stage's neurons.
#[derive(Debug)]
pub(super) struct StageState<R> {
    /// Of LIF neurons and synapses.
    pub variables: [Aligned<R>; 2],
    /// Of neurons of any model, block by block.
    pub any: Aligned<R>,
    /// Of LIF neurons with an input that does not change.
    pub spiking: Spiking<R>,
    /// Spikes so far.
    pub counts: Aligned<R>,
}

impl<R: Number> StageState<R> {
    fn new(stage: &Stage<R>) -> Self {
        let storage = |count: usize| Aligned::new(count * stage.output.storage());
        let constant = stage.is_constant() && matches!(stage.sink, Sink::Lif(_));
        let variables = if matches!(stage.sink, Sink::Neurons(_)) { 0 } else { stage.variables() };
        Self {
            variables: [storage(usize::from(variables > 0)), storage(usize::from(variables > 1))],
            any: storage(if variables == 0 { stage.variables() } else { 0 }),
            spiking: Spiking::new(if constant { stage.output.storage() } else { 0 }),
            counts: storage(usize::from(stage.has_neurons())),
        }
    }

    fn reset(&mut self, stage: &Stage<R>) {
        self.variables
            .iter_mut()
            .chain([&mut self.any, &mut self.counts])
            .for_each(|numbers| numbers.fill(R::default()));
        let voltage = &stage.tuning.voltage;
        if let Sink::Lif(_) = stage.sink {
            self.variables[0].copy_from_slice(voltage);
            // Below any decay: the whole step is active.
            self.variables[1].fill(R::constant(-1.0));
        }
        if let Sink::Neurons(neurons) = &stage.sink {
            let lanes = stage.output.lanes();
            let blocks = self.any.chunks_exact_mut(lanes * stage.variables());
            for (block, voltage) in blocks.zip(voltage.chunks_exact(lanes)) {
                for (values, variable) in block.chunks_exact_mut(lanes).zip(neurons.state()) {
                    match variable.initial {
                        Initial::Voltage => values.copy_from_slice(voltage),
                        Initial::Value(value) => values.fill(R::constant(value)),
                    }
                }
            }
        }
    }
}

/// Everything that changes while an image is simulated.
#[derive(Debug)]
pub(super) struct Workspace<R> {
    /// Timesteps that are simulated at a time.
    capacity: usize,
    /// The input, then the output of every stage.
    activities: Vec<Activity<R>>,
    states: Vec<StageState<R>>,
    rows: Aligned<R>,
    outputs: Aligned<R>,
    /// Of the stretch simulated last.
    steps: usize,
    /// Whether no time has gone by since the start.
    fresh: bool,
}

impl<R: Number> Workspace<R> {
    pub(super) fn new(plan: &Plan<R>, capacity: usize) -> Self {
        let input = Activity::new(Flow::Constant, plan.input, capacity);
        let of_stage = |stage: &Stage<R>| Activity::new(stage.output_flow, stage.output, capacity);
        let widest = plan.stages.iter().map(|stage| stage.output.lanes()).max().unwrap_or(0);
        Self {
            capacity,
            activities: std::iter::once(input).chain(plan.stages.iter().map(of_stage)).collect(),
            states: plan.stages.iter().map(StageState::new).collect(),
            rows: Aligned::new(widest * capacity),
            outputs: Aligned::new(2 * widest * capacity),
            steps: 0,
            fresh: false,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// A fresh state, and what does not change over time.
    pub(super) fn start(&mut self, plan: &Plan<R>, image: &[R]) {
        for (index, &value) in image.iter().enumerate() {
            self.activities[0].values[plan.input.stored_at(index)] = value;
        }
        self.states.iter_mut().zip(&plan.stages).for_each(|(state, stage)| state.reset(stage));
        self.steps = 1;
        self.fresh = true;
        self.stages(plan, |stage| stage.output_flow == Flow::Constant);
    }

    /// The next `steps` timesteps, at most [`capacity`](Self::capacity).
    pub(super) fn advance(&mut self, plan: &Plan<R>, steps: usize) {
        self.steps = steps;
        self.stages(plan, |stage| stage.output_flow != Flow::Constant);
        self.fresh = false;
    }

    fn stages(&mut self, plan: &Plan<R>, wanted: impl Fn(&Stage<R>) -> bool) {
        for (index, stage) in plan.stages.iter().enumerate().filter(|(_, stage)| wanted(stage)) {
            let (before, after) = self.activities.split_at_mut(index + 1);
            let (Some(source), Some(output)) = (before.last(), after.first_mut()) else { continue };
            let state = &mut self.states[index];
            // Compiled so that a constant input to neurons is a stage of its own, with nothing to compute in this one.
            if let (Sink::Lif(constants), true) = (&stage.sink, stage.is_constant()) {
                if self.fresh {
                    state.spiking.select(&stage.tuning, &source.values);
                }
                state.spiking.advance(*constants, self.steps, stage.output, output, &mut state.counts);
                continue;
            }
            let source = Source {
                values: &source.values,
                spikes: &source.spikes,
                active: &source.active,
                flow: stage.input_flow,
                shape: stage.input,
                capacity: self.capacity,
                steps: self.steps,
            };
            let (rows, outputs) = (&mut self.rows[..], &mut self.outputs[..]);
            Advance { stage, dt: plan.dt, source, state, output, rows, outputs }.run();
        }
    }

    /// Appends the network's output at `step` of the last stretch.
    pub(super) fn read_output(&self, plan: &Plan<R>, step: usize, to: &mut Vec<R>) {
        match plan.stages.last() {
            Some(stage) => to.extend(self.output(stage, plan.stages.len() - 1, step)),
            None => {
                to.extend((0..plan.input.len()).map(|index| self.activities[0].values[plan.input.stored_at(index)]))
            }
        }
    }

    /// What the stage at `index` passed on at `step` of the last stretch, in the order of tensors.
    pub(super) fn output<'a>(&'a self, stage: &'a Stage<R>, index: usize, step: usize) -> impl Iterator<Item = R> + 'a {
        let activity = &self.activities[index + 1];
        (0..stage.output.len())
            .map(move |neuron| activity.value(stage.output_flow, stage.output, self.capacity, step, neuron))
    }

    /// How often each neuron of the stage at `index` has spiked, as they are stored (with padding, which never spikes).
    pub(super) fn counts(&self, index: usize) -> &[R] {
        &self.states[index].counts
    }

    /// The share of what the stage at `index` read in the last stretch that was not zero.
    pub(super) fn density(&self, stage: &Stage<R>, index: usize) -> f64 {
        let activity = &self.activities[index];
        let shape = stage.input;
        let per_step = if shape.len() == 0 { 1 } else { shape.len() };
        let share = |active: usize, steps: usize| active as f64 / (per_step * steps) as f64;
        match stage.input_flow {
            Flow::Constant => 0.0,
            Flow::Values => {
                let rows = activity.values.chunks_exact((shape.padded() * self.capacity).max(1));
                let active = |row: &[R]| row.iter().filter(|&&value| value != R::default()).count();
                share(rows.map(|row| active(&row[..self.steps * shape.padded()])).sum(), self.steps)
            }
            Flow::Spikes(_) => share(activity.spikes.iter().map(|times| times.count_ones() as usize).sum(), self.steps),
        }
    }
}
