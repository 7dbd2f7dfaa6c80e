//! The memory of one image on its way through a network, used again for the next.

use std::sync::Arc;

use super::activity::Activity;
use super::advance::Advance;
use super::aligned::Aligned;
use super::delay::{Stored, delay, keep_last};
use super::join::join;
use super::plan::{Flow, Input, Plan, Sink, Stage, Stretch};
use super::state::{Scratch, StageState};
use super::watch::{Kept, Recorder, Watched};
use crate::kernels::{MAX_STATE, Number};

/// Everything that changes while an image is simulated.
#[derive(Clone, Debug)]
pub(super) struct Workspace<R> {
    plan: Arc<Plan<R>>,
    /// Timesteps that are simulated at a time.
    capacity: usize,
    /// The input, then the output of every stage.
    activities: Vec<Activity<R>>,
    states: Vec<StageState<R>>,
    /// Of each stage what is recorded of it.
    watched: Vec<Vec<Watched<R>>>,
    scratch: Scratch<R>,
    /// Of the stretch simulated last.
    steps: usize,
    /// Timesteps since the start.
    time: u64,
    /// The number of the sample, which noise depends on.
    sample: u64,
}

impl<R: Number> Workspace<R> {
    pub(super) fn new(plan: &Arc<Plan<R>>, capacity: usize, recorder: &Recorder) -> Self {
        let input = Activity::new(plan.input_flow, plan.input, capacity);
        let of_stage = |stage: &Stage<R>| Activity::new(stage.output_flow, stage.output, capacity);
        let widest = plan.stages.iter().map(|stage| stage.output.lanes()).max().unwrap_or(0);
        let several = plan.stages.iter().any(|stage| stage.inputs.len() > 1);
        let stages = || plan.stages.iter().enumerate();
        let watched = stages().map(|(index, stage)| {
            let watches = recorder.of_stage(index).iter();
            watches.map(|what| Watched::new(what.clone(), stage.output, capacity)).collect()
        });
        let watched: Vec<Vec<Watched<R>>> = watched.collect();
        let history = if watched.iter().all(Vec::is_empty) { 0 } else { MAX_STATE * widest * capacity };
        Self {
            plan: Arc::clone(plan),
            capacity,
            activities: std::iter::once(input).chain(plan.stages.iter().map(of_stage)).collect(),
            states: stages().map(|(index, stage)| StageState::new(stage, recorder.of_stage(index))).collect(),
            watched,
            scratch: Scratch {
                rows: Aligned::new(widest * capacity),
                more: Aligned::new(if several { widest * capacity } else { 0 }),
                outputs: Aligned::new(2 * widest * capacity),
                history: Aligned::new(history),
            },
            steps: 0,
            time: 0,
            sample: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(super) fn plan(&self) -> &Arc<Plan<R>> {
        &self.plan
    }

    /// Timesteps since the start.
    pub(super) fn time(&self) -> u64 {
        self.time
    }

    /// Whether nothing is recorded of its stages, so that it serves anybody.
    pub(super) fn is_plain(&self) -> bool {
        self.watched.iter().all(Vec::is_empty)
    }

    /// A fresh state for the sample of this number.
    pub(super) fn reset(&mut self, sample: u64) {
        self.states.iter_mut().zip(&self.plan.stages).for_each(|(state, stage)| state.reset(stage));
        (self.time, self.sample) = (0, sample);
    }

    /// Takes an input that is the same at every timestep, and computes what is too.
    pub(super) fn set_constant(&mut self, image: &[R]) {
        self.activities[0].write(Flow::Constant, self.plan.input, self.capacity, 0, image);
        self.steps = 1;
        self.stages(true);
    }

    /// Takes the input at a step of the stretch that is about to be simulated.
    pub(super) fn set_step(&mut self, step: usize, image: &[R]) {
        self.activities[0].write(Flow::Values, self.plan.input, self.capacity, step, image);
    }

    /// The next `steps` timesteps, at most [`capacity`](Self::capacity).
    pub(super) fn advance(&mut self, steps: usize) {
        self.steps = steps;
        self.stages(false);
        self.keep_delayed();
        self.time += steps as u64;
    }

    /// Runs the stages that are the same at every timestep, or those that are not; of a cycle step by step.
    fn stages(&mut self, constant: bool) {
        let stretch = Stretch { first: 0, steps: self.steps, capacity: self.capacity };
        let plan = Arc::clone(&self.plan);
        let (mut cycles, mut index) = (plan.cycles.iter().peekable(), 0);
        while index < plan.stages.len() {
            match cycles.next_if(|cycle| cycle.start == index) {
                Some(cycle) => {
                    for step in 0..stretch.steps {
                        cycle
                            .clone()
                            .for_each(|stage| self.stage(&plan.stages[stage], stage, stretch.single(step), constant));
                    }
                    index = cycle.end;
                }
                None => {
                    self.stage(&plan.stages[index], index, stretch, constant);
                    index += 1;
                }
            }
        }
    }

    fn stage(&mut self, stage: &Stage<R>, index: usize, stretch: Stretch, constant: bool) {
        if constant != (stage.output_flow == Flow::Constant) {
            return;
        }
        if let Sink::Delay { from } = stage.sink {
            return self.delay(index, from, stretch);
        }
        let Self { plan, activities, states, watched, scratch, time, sample, .. } = self;
        let Stretch { first: elapsed, steps, capacity } = stretch;
        let time = *time + elapsed as u64;
        let (before, after) = activities.split_at_mut(index + 1);
        let (Some(output), [first, ..]) = (after.first_mut(), stage.inputs.as_slice()) else { return };
        let (state, watched) = (&mut states[index], &mut watched[index][..]);
        match &stage.sink {
            // Compiled so that a constant input to neurons is a stage of its own, with nothing to compute in this one.
            Sink::Lif { constants, .. } if stage.is_constant() && !state.by_own_step => {
                let input = &before[first.from].values;
                if time == 0 {
                    state.spiking.select(&stage.tuning, input);
                }
                state.spiking.advance(*constants, steps, stage.output, output, &mut state.counts);
                watched.iter_mut().for_each(|watched| watched.write_constant(stage, input, steps, capacity));
            }
            Sink::Join(moves) => {
                let (inputs, shape) = (stage.inputs.as_slice(), stage.output);
                join((inputs, moves), before, (stage.output_flow, shape), output, stretch);
            }
            sink => {
                let key = if let Sink::Neurons { noise, .. } = sink { *noise } else { None };
                let noise = key.map(|key| key.sample(*sample));
                let dt = plan.dt;
                Advance { stage, dt, before, stretch, state, output, scratch, watched, noise, time }.run();
            }
        }
    }

    /// Runs a stage that passes on the activity `from` a timestep later.
    fn delay(&mut self, index: usize, from: usize, stretch: Stretch) {
        let (flow, shape) = self.plan.activity(from);
        if let Ok([source, output]) = self.activities.get_disjoint_mut([from, index + 1]) {
            delay(Stored { flow, shape }, source, &self.states[index].variables[0], output, stretch);
        }
    }

    /// Keeps what delays pass on at the first step of the next stretch.
    fn keep_delayed(&mut self) {
        let Self { plan, activities, states, steps, capacity, .. } = self;
        for (stage, state) in plan.stages.iter().zip(states) {
            if let Sink::Delay { from } = stage.sink {
                let (flow, shape) = plan.activity(from);
                let stretch = Stretch { first: 0, steps: *steps, capacity: *capacity };
                keep_last(Stored { flow, shape }, &activities[from], &mut state.variables[0], stretch);
            }
        }
    }

    /// Appends the network's output at `step` of the last stretch, in the order of tensors.
    pub(super) fn read_output(&self, step: usize, to: &mut Vec<R>) {
        self.read(self.plan.output, step, to);
    }

    /// Appends an activity at `step` of the last stretch.
    fn read(&self, activity: usize, step: usize, to: &mut Vec<R>) {
        let (flow, shape) = self.plan.activity(activity);
        self.activities[activity].read(flow, shape, self.capacity, step, to);
    }

    /// Appends what a probe asks for at `step` of the last stretch; nothing for spike counts, which are read at the end.
    pub(super) fn read_kept(&self, kept: Kept, step: usize, to: &mut Vec<R>) {
        match kept {
            Kept::Activity(activity) => self.read(activity, step, to),
            Kept::Watched(stage, index) => {
                let (values, shape) = (&self.watched[stage][index].values, self.plan.stages[stage].output);
                values.read(Flow::Values, shape, self.capacity, step, to);
            }
            Kept::Counts(_) => {}
        }
    }

    /// How often each neuron of a stage has spiked, in the order of tensors.
    pub(super) fn counts_in_order(&self, stage: usize) -> Vec<R> {
        let (counts, shape) = (self.counts(stage), self.plan.stages[stage].output);
        (0..shape.len()).map(|neuron| counts[shape.stored_at(neuron)]).collect()
    }

    /// The same as they are stored (with padding).
    pub(super) fn counts(&self, stage: usize) -> &[R] {
        &self.states[stage].counts
    }

    /// The share of what an input read in the last stretch that was not zero.
    pub(super) fn density(&self, input: &Input<R>) -> f64 {
        let (activity, shape) = (&self.activities[input.from], input.shape);
        let per_step = shape.len().max(1);
        let share = |active: usize, steps: usize| active as f64 / (per_step * steps) as f64;
        match input.flow {
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
