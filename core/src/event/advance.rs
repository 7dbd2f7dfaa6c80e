//! One stage of one image over a stretch of time.

use super::gather::{Source, gather};
use super::lif::{LifLanes, bits, count};
use super::plan::{Flow, Sink, Stage};
use super::workspace::{Activity, StageState};
use crate::kernels::{AdvanceBlock, Number};
use crate::simd::{Kernel, vectorised};

/// Everything that a stage reads and writes.
pub(super) struct Advance<'a, R> {
    pub stage: &'a Stage<R>,
    pub dt: f64,
    pub source: Source<'a, R>,
    pub state: &'a mut StageState<R>,
    pub output: &'a mut Activity<R>,
    /// Room for the rows of a block, and for a block of outputs.
    pub rows: &'a mut [R],
    pub outputs: &'a mut [R],
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
        let Advance { stage, dt, source, state, output, rows, outputs } = self.0;
        let (steps, capacity, blocks) = (source.steps, source.capacity, stage.output.blocks());
        let (rows, _) = rows.as_chunks_mut::<W>();
        for position in 0..stage.output.positions() {
            for block in 0..blocks {
                let rows = gather::<R, W>(&stage.operation, source, position, block, rows);
                let at = (position * blocks + block) * W;
                match &stage.sink {
                    Sink::Lif(constants) => {
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
                            count(lanes_mut::<R, W>(&mut state.counts, at), &times);
                        }
                        output.active[position * blocks + block] = active;
                        *lanes_mut::<u32, W>(&mut output.spikes, at) = times;
                    }
                    Sink::Neurons(neurons) => {
                        let (gain, bias) =
                            (lanes::<R, W>(&stage.tuning.gain, at), lanes::<R, W>(&stage.tuning.bias, at));
                        let (currents, outputs) = outputs.split_at_mut(capacity * W);
                        let (current_rows, _) = currents.as_chunks_mut::<W>();
                        for (current, row) in current_rows.iter_mut().zip(rows) {
                            for lane in 0..W {
                                current[lane] = gain[lane] * row[lane] + bias[lane];
                            }
                        }
                        let variables = stage.variables();
                        let outputs = &mut outputs[..steps * W];
                        neurons.advance(AdvanceBlock {
                            width: W,
                            steps,
                            dt,
                            currents: &currents[..rows.len() * W],
                            learned: &stage.tuning.learned[at * neurons.learned().len()..]
                                [..W * neurons.learned().len()],
                            noise: None,
                            state: &mut state.any[at * variables..][..W * variables],
                            output: outputs,
                            history: &mut [],
                        });
                        let per_spike = R::constant(neurons.amplitude() / dt);
                        let counts = lanes_mut::<R, W>(&mut state.counts, at);
                        for (step, row) in outputs.as_chunks::<W>().0.iter().enumerate() {
                            output.row_mut::<W>(position, step, block, stage.output, capacity).copy_from_slice(row);
                            for lane in 0..W {
                                counts[lane] = counts[lane] + (row[lane] / per_spike + R::constant(0.5)).floor();
                            }
                        }
                    }
                    Sink::Synapse { transition, input, variables } => {
                        let [first, second] = &mut state.variables;
                        let first = lanes_mut::<R, W>(first, at);
                        for step in 0..steps {
                            let row = &rows[step.min(rows.len() - 1)];
                            let out = output.row_mut::<W>(position, step, block, stage.output, capacity);
                            if *variables == 1 {
                                for lane in 0..W {
                                    first[lane] = first[lane] * transition[0][0] + row[lane] * input[0];
                                    out[lane] = first[lane];
                                }
                            } else {
                                let second = lanes_mut::<R, W>(second, at);
                                for lane in 0..W {
                                    let (x, y) = (first[lane], second[lane]);
                                    first[lane] = x * transition[0][0] + y * transition[0][1] + row[lane] * input[0];
                                    second[lane] = x * transition[1][0] + y * transition[1][1] + row[lane] * input[1];
                                    out[lane] = second[lane];
                                }
                            }
                        }
                    }
                    Sink::Values if stage.output_flow == Flow::Constant => {
                        output.values[at..at + W].copy_from_slice(&rows[0]);
                    }
                    Sink::Values => {
                        for (step, row) in rows.iter().enumerate() {
                            output.row_mut::<W>(position, step, block, stage.output, capacity).copy_from_slice(row);
                        }
                    }
                }
            }
        }
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
