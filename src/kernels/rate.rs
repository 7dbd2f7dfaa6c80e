//! Rate neurons, forward and backward.
//!
//! Forward reads the input and writes the output once; backward reads the input and the output's gradient and writes the
//! input's gradient once. The derivative is computed again in backward rather than kept: it is cheaper than memory traffic.

use super::simd::{Kernel, vectorised};
use super::threads::{SharedMut, parallel_for};
use super::{Drive, Stored};
use crate::neuron::NeuronModel;

/// Columns that a task works on, so that gain, bias and a bias gradient stay in the first-level cache from row to row.
const BLOCK: usize = 256;
/// Elements below which a second thread costs more than it saves.
const GRAIN: usize = 16 * 1024;

/// `output = rate(gain * input + bias)`. In memory the numbers are `S`; computed, they are `S::Computed`.
pub fn rate_forward<M: NeuronModel, S: Stored>(model: &M, drive: Drive<S::Computed, S>, output: &mut [S]) {
    let (rows, neurons) = (drive.rows(), drive.neurons());
    assert_eq!(output.len(), drive.input.len());
    let shared = SharedMut::new(output);
    parallel_for(rows, GRAIN.div_ceil(neurons.max(1)), |rows| {
        for row in rows {
            let range = row * neurons..(row + 1) * neurons;
            // SAFETY: every row is one task's alone.
            let output = unsafe { shared.range_mut(range.clone()) };
            vectorised(Forward { model, drive: Drive { input: &drive.input[range], ..drive }, output });
        }
    });
}

struct Forward<'a, M, S: Stored> {
    model: &'a M,
    drive: Drive<'a, S::Computed, S>,
    output: &'a mut [S],
}

impl<M: NeuronModel, S: Stored> Kernel for Forward<'_, M, S> {
    #[inline(always)]
    fn run(self) {
        // A copy, so that the compiler sees its parameters as constants of the loop.
        let model = self.model.clone();
        let Drive { input, gain, bias } = self.drive;
        for (((output, &input), &gain), &bias) in self.output.iter_mut().zip(input).zip(gain).zip(bias) {
            *output = S::store(model.rate(gain * input.load() + bias).value);
        }
    }
}

/// The gradients of [`rate_forward`]: `input_gradient = output_gradient * rate'(J) * gain` (same shape), and
/// `bias_gradient = sum over rows of output_gradient * rate'(J)` (`[neurons]`).
///
/// Every neuron's sum runs over the rows in order, whatever the number of threads: the result is reproducible.
pub fn rate_backward<M: NeuronModel, S: Stored>(
    model: &M,
    drive: Drive<S::Computed, S>,
    output_gradient: &[S],
    input_gradient: &mut [S],
    bias_gradient: &mut [S::Computed],
) {
    let (rows, neurons) = (drive.rows(), drive.neurons());
    assert_eq!(output_gradient.len(), drive.input.len());
    assert_eq!(input_gradient.len(), drive.input.len());
    assert_eq!(bias_gradient.len(), neurons);
    let (input_gradient, bias_gradient) = (SharedMut::new(input_gradient), SharedMut::new(bias_gradient));
    let grain = GRAIN.div_ceil((BLOCK * rows).max(1));
    parallel_for(neurons.div_ceil(BLOCK), grain, |blocks| {
        for block in blocks {
            let columns = block * BLOCK..((block + 1) * BLOCK).min(neurons);
            // SAFETY: every block of columns is one task's alone.
            let bias_gradient = unsafe { bias_gradient.range_mut(columns.clone()) };
            bias_gradient.fill(Default::default());
            for row in 0..rows {
                let range = row * neurons + columns.start..row * neurons + columns.end;
                vectorised(Backward {
                    model,
                    drive: Drive {
                        input: &drive.input[range.clone()],
                        gain: &drive.gain[columns.clone()],
                        bias: &drive.bias[columns.clone()],
                    },
                    output_gradient: &output_gradient[range.clone()],
                    // SAFETY: as above: these columns of any row belong to this task.
                    input_gradient: unsafe { input_gradient.range_mut(range) },
                    bias_gradient: &mut *bias_gradient,
                });
            }
        }
    });
}

struct Backward<'a, M, S: Stored> {
    model: &'a M,
    drive: Drive<'a, S::Computed, S>,
    output_gradient: &'a [S],
    input_gradient: &'a mut [S],
    bias_gradient: &'a mut [S::Computed],
}

impl<M: NeuronModel, S: Stored> Kernel for Backward<'_, M, S> {
    #[inline(always)]
    fn run(self) {
        let model = self.model.clone();
        let Drive { input, gain, bias } = self.drive;
        let constants = gain.iter().zip(bias);
        let gradients = self.output_gradient.iter().zip(self.input_gradient).zip(self.bias_gradient);
        for ((&input, (&gain, &bias)), ((&output, to_input), to_bias)) in input.iter().zip(constants).zip(gradients) {
            let to_current = output.load() * model.rate(gain * input.load() + bias).derivative;
            *to_input = S::store(to_current * gain);
            *to_bias = *to_bias + to_current;
        }
    }
}
