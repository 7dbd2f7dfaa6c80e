//! Activities side by side: concatenation, and an activity in another layout.

use super::activity::Activity;
use super::plan::{Flow, Input, Shape, Stretch};
use crate::kernels::Number;

/// Channels of one position of an input that are neighbours in the output too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Position and channel in the input.
    from: [u32; 2],
    /// Position and channel in the output.
    to: [u32; 2],
    length: u32,
}

/// Of each input where its neurons go: counted as tensors do, one input follows the other.
pub(super) fn moves(inputs: &[Shape], output: Shape) -> Vec<Vec<Run>> {
    let mut first = 0;
    let of_input = inputs.iter().map(|input| {
        let mut runs: Vec<Run> = Vec::new();
        for position in 0..input.positions() {
            for channel in 0..input.channels {
                let index = first + channel * input.positions() + position;
                let to = [index % output.positions(), index / output.positions()].map(|place| place as u32);
                let from = [position, channel].map(|place| place as u32);
                match runs.last_mut() {
                    Some(run) if run.continues(from, to) => run.length += 1,
                    _ => runs.push(Run { from, to, length: 1 }),
                }
            }
        }
        first += input.len();
        runs
    });
    of_input.collect()
}

impl Run {
    fn continues(&self, from: [u32; 2], to: [u32; 2]) -> bool {
        from == [self.from[0], self.from[1] + self.length] && to == [self.to[0], self.to[1] + self.length]
    }
}

/// Copies these timesteps. (Of spikes all of the stretch: those to come are copied again.)
pub(super) fn join<R: Number>(
    (inputs, moves): (&[Input<R>], &[Vec<Run>]),
    before: &[Activity<R>],
    (flow, shape): (Flow<R>, Shape),
    output: &mut Activity<R>,
    time: Stretch,
) {
    for (input, runs) in inputs.iter().zip(moves) {
        let source = before[input.from].source(input.flow, input.shape, time);
        for run in runs {
            let [from, to] = [run.from, run.to].map(|place| place.map(|number| number as usize));
            let length = run.length as usize;
            match flow {
                Flow::Spikes(_) => {
                    let times = &source.spikes[from[0] * input.shape.padded() + from[1]..][..length];
                    output.spikes[to[0] * shape.padded() + to[1]..][..length].copy_from_slice(times);
                }
                Flow::Constant => {
                    let values = &source.values_at(from[0], 0)[from[1]..][..length];
                    output.values[to[0] * shape.padded() + to[1]..][..length].copy_from_slice(values);
                }
                Flow::Values => {
                    for step in 0..time.steps {
                        let row = &mut output.values
                            [(to[0] * time.capacity + time.first + step) * shape.padded() + to[1]..][..length];
                        match input.flow {
                            Flow::Spikes(_) => row
                                .iter_mut()
                                .enumerate()
                                .for_each(|(channel, to)| *to = source.value(from[0], step, from[1] + channel)),
                            Flow::Constant | Flow::Values => {
                                row.copy_from_slice(&source.values_at(from[0], step)[from[1]..][..length]);
                            }
                        }
                    }
                }
            }
        }
    }
    if let Flow::Spikes(_) = flow {
        let lanes = shape.lanes();
        for (active, times) in output.active.iter_mut().zip(output.spikes.chunks_exact(lanes)) {
            *active = times.iter().enumerate().fold(0, |bits, (lane, &times)| bits | u64::from(times != 0) << lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_move_position_by_position_and_flattened_ones_are_reordered() {
        let image = |channels| Shape { channels, height: 1, width: 2 };
        let run = |from, to, length| Run { from, to, length };
        let side_by_side = moves(&[image(3), image(2)], image(5));
        assert_eq!(side_by_side[0], [run([0, 0], [0, 0], 3), run([1, 0], [1, 0], 3)]);
        assert_eq!(side_by_side[1], [run([0, 0], [0, 3], 2), run([1, 0], [1, 3], 2)]);
        let features = Shape { channels: 4, height: 1, width: 1 };
        let flat = moves(&[image(2)], features);
        // Channel 0 of both positions comes first.
        let expected = [([0, 0], 0), ([0, 1], 2), ([1, 0], 1), ([1, 1], 3)];
        assert_eq!(flat[0], expected.map(|(from, to)| run(from, [0, to], 1)));
    }
}
