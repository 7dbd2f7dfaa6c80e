//! The rate kernels, forward and backward, over rows of neurons.

use tch_spiking_core::kernels::{Drive, GradientBlock, RateBlock, Stored};
use tch_spiking_core::neuron::RateNeuron;

use super::rows;
use super::threads::{SharedMut, parallel_for};

/// The largest number of columns per task, so that gain, bias and a bias gradient stay in the L1 cache from row to row.
const BLOCK: usize = 1024;
/// The number of tasks is a multiple of this, so that threads get equal shares of the work.
const SHARES: usize = 8;
/// Columns per cache line.
const LINE: usize = 16;
/// Number of elements below which a second thread costs more than it saves.
const GRAIN: usize = 16 * 1024;

/// Computes `output = rate(gain * input + bias)`. Values are stored as `S` and computed as `S::Computed`.
pub(crate) fn rate_forward<S: Stored>(neuron: &dyn RateNeuron, drive: Drive<S::Computed, S>, output: &mut [S]) {
    let (rows, neurons) = (rows(&drive), drive.neurons());
    assert_eq!(output.len(), drive.input.len());
    let shared = SharedMut::new(output);
    parallel_for(rows, GRAIN.div_ceil(neurons.max(1)), |rows| {
        for row in rows {
            let range = row * neurons..(row + 1) * neurons;
            // SAFETY: every row belongs to exactly one task.
            let output = unsafe { shared.range_mut(range.clone()) };
            neuron.forward(RateBlock { drive: Drive { input: &drive.input[range], ..drive }, output });
        }
    });
}

/// Computes the gradients of [`rate_forward`]: replaces `gradient`, the output's, by the input's,
/// `gradient * rate'(J) * gain`, and sets `bias_gradient = sum over rows of gradient * rate'(J)` (`[neurons]`).
///
/// Every neuron's sum runs over the rows in order for any number of threads, so the result is reproducible.
pub(crate) fn rate_backward<S: Stored>(
    neuron: &dyn RateNeuron,
    drive: Drive<S::Computed, S>,
    gradient: &mut [S],
    bias_gradient: &mut [S::Computed],
) {
    let (rows, neurons) = (rows(&drive), drive.neurons());
    assert_eq!(gradient.len(), drive.input.len());
    assert_eq!(bias_gradient.len(), neurons);
    let (gradient, bias_gradient) = (SharedMut::new(gradient), SharedMut::new(bias_gradient));
    let tasks = neurons.div_ceil(BLOCK).max(1).next_multiple_of(SHARES);
    let width = neurons.div_ceil(tasks).next_multiple_of(LINE).max(LINE);
    let grain = GRAIN.div_ceil((width * rows).max(1));
    parallel_for(neurons.div_ceil(width), grain, |blocks| {
        for block in blocks {
            let columns = block * width..((block + 1) * width).min(neurons);
            // SAFETY: every block of columns belongs to exactly one task.
            let bias_gradient = unsafe { bias_gradient.range_mut(columns.clone()) };
            bias_gradient.fill(Default::default());
            for row in 0..rows {
                let range = row * neurons + columns.start..row * neurons + columns.end;
                neuron.backward(GradientBlock {
                    drive: Drive {
                        input: &drive.input[range.clone()],
                        gain: &drive.gain[columns.clone()],
                        bias: &drive.bias[columns.clone()],
                    },
                    // SAFETY: as above, in every row.
                    gradient: unsafe { gradient.range_mut(range) },
                    bias_gradient: &mut *bias_gradient,
                });
            }
        }
    });
}
