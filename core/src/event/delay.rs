//! The output of a layer a timestep later.

use super::activity::Activity;
use super::plan::{Flow, Shape, Stretch};
use crate::kernels::Number;

/// How a layer's output is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<R> {
    pub flow: Flow<R>,
    pub shape: Shape,
}

/// Writes the output of `source` at each of these timesteps a timestep later; at the first of a stretch that is `last`.
pub(super) fn delay<R: Number>(
    stored: Stored<R>,
    source: &Activity<R>,
    last: &[R],
    output: &mut Activity<R>,
    time: Stretch,
) {
    let Stored { flow, shape } = stored;
    match flow {
        Flow::Spikes(_) => {
            // What reads a single step reads no others: only its own spikes are active.
            let wanted = time.bits() << time.first;
            for ((to, &from), &last) in output.spikes.iter_mut().zip(&*source.spikes).zip(last) {
                *to = (from << 1 | u32::from(last != R::default())) & wanted;
            }
            for (active, times) in output.active.iter_mut().zip(output.spikes.chunks_exact(shape.lanes())) {
                *active = times.iter().enumerate().fold(0, |bits, (lane, &times)| bits | u64::from(times != 0) << lane);
            }
        }
        Flow::Constant | Flow::Values => {
            let padded = shape.padded();
            for position in 0..shape.positions() {
                for step in time.first..time.first + time.steps {
                    let row = match (step, flow) {
                        (0, _) => &last[position * padded..][..padded],
                        (_, Flow::Constant) => &source.values[position * padded..][..padded],
                        _ => &source.values[(position * time.capacity + step - 1) * padded..][..padded],
                    };
                    output.values[(position * time.capacity + step) * padded..][..padded].copy_from_slice(row);
                }
            }
        }
    }
}

/// Keeps what is passed on at the first step of the next stretch.
pub(super) fn keep_last<R: Number>(stored: Stored<R>, source: &Activity<R>, last: &mut [R], time: Stretch) {
    let Stored { flow, shape } = stored;
    let step = time.steps.saturating_sub(1);
    match flow {
        Flow::Spikes(height) => {
            for (last, &times) in last.iter_mut().zip(&*source.spikes) {
                *last = if times >> step & 1 == 1 { height } else { R::default() };
            }
        }
        Flow::Constant => last.copy_from_slice(&source.values),
        Flow::Values => {
            let padded = shape.padded();
            for (position, last) in last.chunks_exact_mut(padded.max(1)).enumerate() {
                last.copy_from_slice(&source.values[(position * time.capacity + step) * padded..][..padded]);
            }
        }
    }
}
