//! The synaptic filter over time, forward and backward.

use std::ops::Range;

use tch_spiking_core::kernels::Number;
use tch_spiking_core::simd::{Kernel, vectorised};
use tch_spiking_core::synapse::Coefficients;

use super::threads::{SharedMut, parallel_for};

/// Number of columns that advance through time together: their state stays in the L1 cache. Sums over the columns run
/// block by block, so they do not depend on the number of threads.
const BLOCK: usize = 256;
/// Number of elements below which a second thread costs more than it saves.
const GRAIN: usize = 16 * 1024;

/// A linear recursion over `V` state variables: `x[t] = A x[t - 1] + b u[t]`, with the output `y[t] = x[t][V - 1]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recursion<R, const V: usize> {
    /// `A`, by rows.
    transition: [[R; V]; V],
    /// `b`.
    input: [R; V],
}

impl<R: Number, const V: usize> Recursion<R, V> {
    pub(crate) fn new(coefficients: &Coefficients) -> Self {
        let constant = |row: [f64; 2]| std::array::from_fn(|column| R::constant(row[column]));
        Self {
            transition: std::array::from_fn(|row| constant(coefficients.transition[row])),
            input: constant(coefficients.input),
        }
    }

    /// Computes `A x + b u`.
    #[inline(always)]
    fn advance(&self, x: [R; V], u: R) -> [R; V] {
        std::array::from_fn(|row| {
            let from_states = (1..V)
                .fold(x[0] * self.transition[row][0], |sum, column| sum + x[column] * self.transition[row][column]);
            from_states + u * self.input[row]
        })
    }

    /// Computes `A^T adjoint`, the gradient of the state before.
    #[inline(always)]
    fn before(&self, adjoint: [R; V]) -> [R; V] {
        std::array::from_fn(|column| {
            (1..V).fold(adjoint[0] * self.transition[0][column], |sum, row| {
                sum + adjoint[row] * self.transition[row][column]
            })
        })
    }

    /// Computes `b^T adjoint`, the gradient of the input.
    #[inline(always)]
    fn at_input(&self, adjoint: [R; V]) -> R {
        (1..V).fold(adjoint[0] * self.input[0], |sum, row| sum + adjoint[row] * self.input[row])
    }
}

/// Filters `input` into `output`, `[steps, columns]` both, and advances `state`, `[columns]` each.
pub(crate) fn filter_forward<R: Number, const V: usize>(
    recursion: &Recursion<R, V>,
    input: &[R],
    state: [&mut [R]; V],
    output: &mut [R],
) {
    let columns = columns(&state, input);
    assert_eq!(output.len(), input.len());
    let steps = input.len().checked_div(columns).unwrap_or(0);
    let (state, output) = (state.map(SharedMut::new), SharedMut::new(output));
    each_block(columns, steps, |_, block| {
        // SAFETY: the columns of a block belong to one task.
        let mut state = state.each_ref().map(|state| unsafe { state.range_mut(block.clone()) });
        for step in 0..steps {
            let at = step * columns + block.start..step * columns + block.end;
            // SAFETY: as above, at every step.
            let output = Some(unsafe { output.range_mut(at.clone()) });
            vectorised(Forward {
                recursion,
                input: &input[at],
                state: state.each_mut().map(|state| &mut **state),
                output,
            });
        }
    });
}

/// What the gradient of the time constant is computed from.
pub(crate) struct TimeConstant<'a, R, const V: usize> {
    /// The derivative of the recursion's coefficients.
    pub slope: Recursion<R, V>,
    /// The filter's input, `[steps, columns]`.
    pub input: &'a [R],
    /// The state before the first step, `[columns]` each.
    pub start: [&'a [R]; V],
}

/// Computes the gradients of [`filter_forward`], by the adjoint recursion
/// `adjoint[t] = A^T adjoint[t + 1] + dL/dx[t]`.
///
/// `gradient`, the output's, is replaced by the input's; `state`, the gradients of the last state, by those of the
/// first. Returns the gradient of the time constant, if asked for.
pub(crate) fn filter_backward<R: Number, const V: usize>(
    recursion: &Recursion<R, V>,
    gradient: &mut [R],
    state: [&mut [R]; V],
    constant: Option<TimeConstant<R, V>>,
) -> f64 {
    let columns = columns(&state, gradient);
    let steps = gradient.len().checked_div(columns).unwrap_or(0);
    if let Some(constant) = &constant {
        assert_eq!(constant.input.len(), gradient.len());
        assert!(constant.start.iter().all(|start| start.len() == columns));
    }
    let mut sums = vec![0.0; columns.div_ceil(BLOCK)];
    let (state, gradient, shared_sums) =
        (state.map(SharedMut::new), SharedMut::new(gradient), SharedMut::new(&mut sums));
    each_block(columns, steps, |number, block| {
        let width = block.len();
        let at = |step: usize| step * columns + block.start..step * columns + block.end;
        let history = constant.as_ref().map(|constant| states(recursion, constant, steps, &block, at));
        let mut sum = [R::default(); BLOCK];
        // SAFETY: the columns of a block belong to one task.
        let mut state = state.each_ref().map(|state| unsafe { state.range_mut(block.clone()) });
        for step in (0..steps).rev() {
            let tau = constant.as_ref().zip(history.as_ref()).map(|(constant, history)| AtStep {
                slope: &constant.slope,
                input: &constant.input[at(step)],
                before: std::array::from_fn(|variable| &history[(step * V + variable) * width..][..width]),
                sum: &mut sum[..width],
            });
            // SAFETY: as above, at every step.
            let gradient = unsafe { gradient.range_mut(at(step)) };
            vectorised(Backward { recursion, gradient, state: state.each_mut().map(|state| &mut **state), tau });
        }
        // SAFETY: the sum of a block belongs to one task.
        let to = unsafe { shared_sums.range_mut(number..number + 1) };
        to[0] = sum[..width].iter().map(|value| value.to_f64()).sum();
    });
    sums.iter().sum()
}

/// Computes the state before every step for a block of columns, `[steps, V, width]`.
fn states<R: Number, const V: usize>(
    recursion: &Recursion<R, V>,
    constant: &TimeConstant<R, V>,
    steps: usize,
    block: &Range<usize>,
    at: impl Fn(usize) -> Range<usize>,
) -> Vec<R> {
    let mut history = vec![R::default(); steps * V * block.len()];
    let mut state = constant.start.map(|start| start[block.clone()].to_vec());
    for (step, history) in history.chunks_exact_mut(V * block.len()).enumerate() {
        for (to, state) in history.chunks_exact_mut(block.len()).zip(&state) {
            to.copy_from_slice(state);
        }
        let state = state.each_mut().map(Vec::as_mut_slice);
        vectorised(Forward { recursion, input: &constant.input[at(step)], state, output: None });
    }
    history
}

/// Returns the number of columns; panics unless all states have it and `values` are whole steps.
fn columns<R, const V: usize>(state: &[&mut [R]; V], values: &[R]) -> usize {
    let columns = state[0].len();
    assert!(state.iter().all(|state| state.len() == columns));
    assert_eq!(values.len(), values.len().checked_div(columns).unwrap_or(0) * columns, "whole steps");
    columns
}

fn each_block(columns: usize, steps: usize, task: impl Fn(usize, Range<usize>) + Sync) {
    parallel_for(columns.div_ceil(BLOCK), GRAIN.div_ceil(BLOCK * steps.max(1)), |blocks| {
        for number in blocks {
            task(number, number * BLOCK..((number + 1) * BLOCK).min(columns));
        }
    });
}

/// A step forward of a block of columns.
struct Forward<'a, R, const V: usize> {
    recursion: &'a Recursion<R, V>,
    input: &'a [R],
    state: [&'a mut [R]; V],
    output: Option<&'a mut [R]>,
}

impl<R: Number, const V: usize> Kernel for Forward<'_, R, V> {
    #[inline(always)]
    fn run(self) {
        let Self { recursion, input, state, output } = self;
        let width = input.len();
        let state = state.map(|state| &mut state[..width]);
        for column in 0..width {
            let x = recursion.advance(std::array::from_fn(|variable| state[variable][column]), input[column]);
            for variable in 0..V {
                state[variable][column] = x[variable];
            }
        }
        if let Some(output) = output {
            output.copy_from_slice(state[V - 1]);
        }
    }
}

/// A step backward of a block of columns.
struct Backward<'a, R, const V: usize> {
    recursion: &'a Recursion<R, V>,
    gradient: &'a mut [R],
    state: [&'a mut [R]; V],
    tau: Option<AtStep<'a, R, V>>,
}

/// The time constant's part in a step, summed for each column.
struct AtStep<'a, R, const V: usize> {
    slope: &'a Recursion<R, V>,
    input: &'a [R],
    before: [&'a [R]; V],
    sum: &'a mut [R],
}

impl<R: Number, const V: usize> Kernel for Backward<'_, R, V> {
    #[inline(always)]
    fn run(self) {
        let Self { recursion, gradient, state, tau } = self;
        let width = gradient.len();
        let state = state.map(|state| &mut state[..width]);
        for column in 0..width {
            state[V - 1][column] = state[V - 1][column] + gradient[column];
        }
        if let Some(AtStep { slope, input, before, sum }) = tau {
            let (input, before, sum) = (&input[..width], before.map(|before| &before[..width]), &mut sum[..width]);
            for column in 0..width {
                let change = slope.advance(std::array::from_fn(|variable| before[variable][column]), input[column]);
                for variable in 0..V {
                    sum[column] = sum[column] + state[variable][column] * change[variable];
                }
            }
        }
        for column in 0..width {
            let adjoint = std::array::from_fn(|variable| state[variable][column]);
            gradient[column] = recursion.at_input(adjoint);
            let before = recursion.before(adjoint);
            for variable in 0..V {
                state[variable][column] = before[variable];
            }
        }
    }
}
