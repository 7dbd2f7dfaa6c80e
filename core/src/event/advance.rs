//! One stage of one image over a stretch of time.

use super::activity::Activity;
use super::gather::gather;
use super::lif::{LifLanes, bits, count_spikes};
use super::plan::{Flow, Sink, Stage, Stretch};
use super::state::{Scratch, StageState};
use super::sum::{AddOthers, Block};
use super::watch::{Watched, keep_currents, keep_rows, keep_states};
use crate::kernels::{AdvanceBlock, NeuronOrder, Noise, Number};
use crate::simd::{Kernel, vectorised};

/// Everything that a stage reads and writes.
pub(super) struct Advance<'a, R> {
    pub stage: &'a Stage<R>,
    pub dt: f64,
    /// All activities that are computed before this stage.
    pub before: &'a [Activity<R>],
    /// The timesteps to compute.
    pub stretch: Stretch,
    pub state: &'a mut StageState<R>,
    pub output: &'a mut Activity<R>,
    pub scratch: &'a mut Scratch<R>,
    /// What is recorded.
    pub watched: &'a mut [Watched<R>],
    /// The random numbers of this sample, and how many timesteps have gone by.
    pub noise: Option<Noise>,
    pub time: u64,
}

impl<R: Number> Advance<'_, R> {
    pub(super) fn run(self) {
        match self.stage.output.lanes() {
            16 => vectorised(Blocks::<R, 16>(self)),
            32 => vectorised(Blocks::<R, 32>(self)),
            _ => vectorised(Blocks::<R, 64>(self)),
        }
    }
}

struct Blocks<'a, R, const W: usize>(Advance<'a, R>);

impl<R: Number, const W: usize> Kernel for Blocks<'_, R, W> {
    #[inline(always)]
    fn run(self) {
        let Advance { stage, dt, before, stretch, state, output, scratch, watched, noise, time } = self.0;
        let Stretch { first, steps, capacity } = stretch;
        let shape = stage.output;
        let blocks = shape.blocks();
        let Scratch { rows, more, outputs, history } = scratch;
        let (rows, _) = rows.as_chunks_mut::<W>();
        let (more, _) = more.as_chunks_mut::<W>();
        let [input, others @ ..] = stage.inputs.as_slice() else { return };
        let source = before[input.from].source(input.flow, input.shape, stretch);
        let count = if stage.is_constant() { 1 } else { steps };
        for position in 0..shape.positions() {
            for block in 0..blocks {
                let gathered = gather::<R, W>(&input.operation, source, position, block, rows);
                let block_at = Block { position, number: block, time: stretch };
                if !watched.is_empty() {
                    keep_rows(watched, shape, block_at, 0..1, gathered);
                }
                if !others.is_empty() {
                    let first = gathered.len();
                    let (sum, rows) = (&mut rows[..count], &mut *more);
                    vectorised(AddOthers { stage, before, at: block_at, first, sum, rows, watched });
                }
                let rows = &rows[..count];
                let at = (position * blocks + block) * W;
                if stage.has_neurons() && !watched.is_empty() {
                    keep_currents(watched, shape, block_at, &stage.tuning, rows);
                }
                match &stage.sink {
                    Sink::Lif { constants, .. } if !state.by_own_step => {
                        let [voltage, pending] = &mut state.variables;
                        let neurons = LifLanes { voltage: lanes_mut(voltage, at), pending: lanes_mut(pending, at) };
                        let (gain, bias) =
                            (lanes::<R, W>(&stage.tuning.gain, at), lanes::<R, W>(&stage.tuning.bias, at));
                        let (gain, bias) = (*gain, *bias);
                        let drive = |step: usize, current: &mut [R; W]| {
                            for lane in 0..W {
                                current[lane] = gain[lane] * rows[step][lane] + bias[lane];
                            }
                        };
                        let times = neurons.run(*constants, steps, [R::default(); W], drive);
                        let active = bits::<W>(|lane| times[lane] != 0);
                        if active != 0 {
                            count_spikes(lanes_mut::<R, W>(&mut state.counts, at), &times);
                        }
                        write_spikes(output, (position * blocks + block, at), first, active, &times);
                    }
                    Sink::Neurons { neuron, .. } | Sink::Lif { neuron, .. } => {
                        let (gain, bias) =
                            (lanes::<R, W>(&stage.tuning.gain, at), lanes::<R, W>(&stage.tuning.bias, at));
                        let (currents, outputs) = outputs.split_at_mut(capacity * W);
                        let (current_rows, _) = currents.as_chunks_mut::<W>();
                        for (current, row) in current_rows.iter_mut().zip(rows) {
                            for lane in 0..W {
                                current[lane] = gain[lane] * row[lane] + bias[lane];
                            }
                        }
                        let (variables, learned) = (neuron.state().len(), neuron.learned().len());
                        let outputs = &mut outputs[..steps * W];
                        let recorded = if history.is_empty() { 0 } else { steps * variables * W };
                        let (channels, positions) = (shape.channels as u32, shape.positions() as u32);
                        let order = NeuronOrder::ChannelsLast { channels, positions };
                        let first_neuron = position as u32 * channels + (block * W) as u32;
                        neuron.advance(AdvanceBlock {
                            width: W,
                            steps,
                            dt,
                            currents: &currents[..rows.len() * W],
                            learned: &stage.tuning.learned[at * learned..][..W * learned],
                            noise: noise.map(|noise| noise.starting_at(first_neuron, time, order)),
                            state: &mut state.any[at * variables..][..W * variables],
                            output: outputs,
                            history: &mut history[..recorded],
                        });
                        if recorded > 0 {
                            keep_states::<R, W>(watched, shape, block_at, variables, history);
                        }
                        let outputs = outputs.as_chunks::<W>().0;
                        let counts = lanes_mut::<R, W>(&mut state.counts, at);
                        if let Flow::Spikes(_) = stage.output_flow {
                            let mut times = [0u32; W];
                            for (step, row) in outputs.iter().enumerate() {
                                for lane in 0..W {
                                    times[lane] |= u32::from(row[lane] > R::default()) << step;
                                }
                            }
                            // What pads the last block are no neurons, whatever their thresholds.
                            let neurons = (shape.channels - block * W).min(W);
                            times[neurons..].fill(0);
                            count_spikes(counts, &times);
                            let active = bits::<W>(|lane| times[lane] != 0);
                            write_spikes(output, (position * blocks + block, at), first, active, &times);
                            continue;
                        }
                        let per_spike = R::constant(neuron.amplitude() / dt);
                        for (step, row) in outputs.iter().enumerate() {
                            output.row_mut::<W>(position, first + step, block, shape, capacity).copy_from_slice(row);
                            for lane in 0..W {
                                counts[lane] = counts[lane] + (row[lane] / per_spike + R::constant(0.5)).floor();
                            }
                        }
                    }
                    Sink::Synapse { transition, input, variables } => {
                        let [fast, slow] = &mut state.variables;
                        let fast = lanes_mut::<R, W>(fast, at);
                        for step in 0..steps {
                            let row = &rows[step.min(rows.len() - 1)];
                            let out = output.row_mut::<W>(position, first + step, block, shape, capacity);
                            if *variables == 1 {
                                for lane in 0..W {
                                    fast[lane] = fast[lane] * transition[0][0] + row[lane] * input[0];
                                    out[lane] = fast[lane];
                                }
                            } else {
                                let slow = lanes_mut::<R, W>(slow, at);
                                for lane in 0..W {
                                    let (x, y) = (fast[lane], slow[lane]);
                                    fast[lane] = x * transition[0][0] + y * transition[0][1] + row[lane] * input[0];
                                    slow[lane] = x * transition[1][0] + y * transition[1][1] + row[lane] * input[1];
                                    out[lane] = slow[lane];
                                }
                            }
                        }
                    }
                    Sink::Values if stage.output_flow == Flow::Constant => {
                        output.values[at..at + W].copy_from_slice(&rows[0]);
                    }
                    Sink::Values | Sink::Join(_) | Sink::Delay { .. } => {
                        for (step, row) in rows.iter().enumerate() {
                            output.row_mut::<W>(position, first + step, block, shape, capacity).copy_from_slice(row);
                        }
                    }
                }
            }
        }
    }
}

/// Writes the spike times of a block, counted from the step `first` of the stretch.
#[inline(always)]
fn write_spikes<R: Number, const W: usize>(
    output: &mut Activity<R>,
    (block, at): (usize, usize),
    first: usize,
    active: u64,
    times: &[u32; W],
) {
    let (all_active, all_times) = (&mut output.active[block], lanes_mut::<u32, W>(&mut output.spikes, at));
    if first == 0 {
        (*all_active, *all_times) = (active, *times);
        return;
    }
    *all_active |= active;
    for lane in 0..W {
        all_times[lane] |= times[lane] << first;
    }
}

/// `W` neighbours from `start`.
#[inline(always)]
fn lanes<R, const W: usize>(numbers: &[R], start: usize) -> &[R; W] {
    &numbers[start..].as_chunks::<W>().0[0]
}

#[inline(always)]
fn lanes_mut<R, const W: usize>(numbers: &mut [R], start: usize) -> &mut [R; W] {
    &mut numbers[start..].as_chunks_mut::<W>().0[0]
}
