//! The gradient of the spiking kernel: forward again in the cache, then backward.

use std::ops::Range;

use tch_spiking_core::kernels::{AdvanceBlock, AdvanceGradientBlock, Drive, Number, Stored};
use tch_spiking_core::neuron::Neuron;
use tch_spiking_core::simd::{Kernel, vectorised};
use tch_spiking_core::surrogate::Surrogate;

use super::rows;
use super::scan::{Currents, GRAIN, LANES, NoiseRows, Rows, STRETCH};
use super::threads::{SharedMut, parallel_for};

/// The arguments of [`scan_backward`]: those of the forward pass, its gradients in and out.
#[derive(Debug)]
pub(crate) struct ScanBackward<'a, S: Stored> {
    /// Input, gain and bias of the forward pass.
    pub drive: Drive<'a, S::Computed, S>,
    /// Number of timesteps.
    pub steps: usize,
    /// Timestep (s).
    pub dt: f64,
    /// Each learned parameter with one value per neuron, `[neurons]`.
    pub learned: Vec<&'a [S::Computed]>,
    /// Source of random numbers for noisy models.
    pub noise: Option<NoiseRows>,
    /// State before the first step: one `[batch, neurons]` slice per state variable.
    pub state: Vec<&'a [S::Computed]>,
    /// The derivative of the spike.
    pub surrogate: &'a Surrogate,
    /// If set, no gradient flows from every so many steps to the state before them.
    pub truncate: Option<usize>,
    /// Gradient of the output, `[steps, batch, neurons]`; if the input varies, replaced by the gradient of the input.
    pub gradient: &'a mut [S],
    /// Gradient of an input that is constant over time, `[batch, neurons]`, written; none if it varies.
    pub input_gradient: Option<&'a mut [S]>,
    /// Gradient of the state after the last step, replaced by that of the state before the first.
    pub state_gradient: Vec<&'a mut [S::Computed]>,
    /// Gradient of the gain, `[neurons]`, written if it is wanted.
    pub gain_gradient: Option<&'a mut [S::Computed]>,
    /// Gradient of the bias, `[neurons]`, written.
    pub bias_gradient: &'a mut [S::Computed],
    /// Gradient of each learned parameter, `[neurons]`, written.
    pub learned_gradient: Vec<&'a mut [S::Computed]>,
}

/// Computes the gradients of [`scan`](super::scan()).
///
/// The sums over samples and steps of every neuron run in one order for any number of threads, so the result is reproducible.
pub(crate) fn scan_backward<S: Stored>(neuron: &Neuron, scan: ScanBackward<S>) {
    let ScanBackward { drive, steps, dt, learned, noise, state, surrogate, truncate, gradient, .. } = scan;
    let ScanBackward { input_gradient, state_gradient, gain_gradient, bias_gradient, learned_gradient, .. } = scan;
    let neurons = drive.neurons();
    let size = state.first().map_or(0, |state| state.len());
    assert_eq!([state.len(), state_gradient.len()], [neuron.state().len(); 2]);
    assert_eq!([learned.len(), learned_gradient.len()], [neuron.learned().len(); 2]);
    assert!(learned.iter().all(|values| values.len() == neurons));
    assert!(learned_gradient.iter().all(|values| values.len() == neurons));
    assert!(state.iter().all(|state| state.len() == size) && state_gradient.iter().all(|state| state.len() == size));
    assert_eq!(gradient.len(), steps * size);
    assert_eq!(bias_gradient.len(), neurons);
    assert!(gain_gradient.as_ref().is_none_or(|gradient| gradient.len() == neurons));
    let rows = rows(&drive);
    let varying = input_gradient.is_none();
    assert_eq!(rows * neurons, if varying { steps * size } else { size });
    assert!(input_gradient.as_ref().is_none_or(|gradient| gradient.len() == size));
    assert!(truncate.is_none_or(|every| every > 0));
    if size == 0 {
        return;
    }

    let layer = Layer {
        neuron,
        drive,
        varying,
        steps,
        dt,
        size,
        learned: &learned,
        noise,
        state: &state,
        surrogate,
        truncate,
        gradient: SharedMut::new(gradient),
        input_gradient: input_gradient.map(SharedMut::new),
        state_gradient: state_gradient.into_iter().map(SharedMut::new).collect(),
        gain_gradient: gain_gradient.map(SharedMut::new),
        bias_gradient: SharedMut::new(bias_gradient),
        learned_gradient: learned_gradient.into_iter().map(SharedMut::new).collect(),
    };
    // A task is a block of neurons of all samples, so that each sum has one owner.
    let grain = GRAIN.div_ceil(LANES * steps.max(1) * (size / neurons));
    parallel_for(neurons.div_ceil(LANES), grain, |blocks| {
        let mut room = Room::new(&layer);
        for block in blocks {
            let columns = block * LANES..((block + 1) * LANES).min(neurons);
            layer.clear_sums(columns.clone());
            for row in 0..size / neurons {
                layer.backward(row, columns.clone(), &mut room);
            }
        }
    });
}

struct Layer<'a, S: Stored> {
    neuron: &'a Neuron,
    drive: Drive<'a, S::Computed, S>,
    varying: bool,
    steps: usize,
    dt: f64,
    size: usize,
    learned: &'a [&'a [S::Computed]],
    noise: Option<NoiseRows>,
    state: &'a [&'a [S::Computed]],
    surrogate: &'a Surrogate,
    truncate: Option<usize>,
    gradient: SharedMut<S>,
    input_gradient: Option<SharedMut<S>>,
    state_gradient: Vec<SharedMut<S::Computed>>,
    gain_gradient: Option<SharedMut<S::Computed>>,
    bias_gradient: SharedMut<S::Computed>,
    learned_gradient: Vec<SharedMut<S::Computed>>,
}

/// A task's buffers for one block of neurons of one sample.
struct Room<R> {
    currents: Vec<R>,
    learned: Vec<R>,
    learned_gradient: Vec<R>,
    /// The state before each stretch of timesteps.
    states: Vec<R>,
    /// Output of the forward steps that lead to the next stretch.
    output: Vec<R>,
    gradient: Vec<R>,
    state_gradient: Vec<R>,
    /// Gradient of a constant input.
    sum: Vec<R>,
    scratch: Vec<R>,
}

impl<R: Number> Room<R> {
    fn new<S: Stored<Computed = R>>(layer: &Layer<S>) -> Self {
        let numbers = |count: usize| vec![R::default(); count * LANES];
        let (stretch, variables) = (STRETCH.min(layer.steps), layer.state.len());
        let stretches = layer.steps.div_ceil(STRETCH);
        Self {
            currents: numbers(if layer.varying { stretch } else { 1 }),
            learned: numbers(layer.learned.len()),
            learned_gradient: numbers(layer.learned.len()),
            states: numbers(variables * stretches),
            output: numbers(if stretches > 1 { stretch } else { 0 }),
            gradient: numbers(stretch),
            state_gradient: numbers(variables),
            sum: numbers(1),
            scratch: vec![],
        }
    }
}

impl<S: Stored> Layer<'_, S> {
    /// Sets the sums of the neurons `columns` to 0.
    fn clear_sums(&self, columns: Range<usize>) {
        let sums = std::iter::once(&self.bias_gradient).chain(&self.gain_gradient).chain(&self.learned_gradient);
        for sum in sums {
            // SAFETY: these neurons belong to this task alone, here and below.
            unsafe { sum.range_mut(columns.clone()) }.fill(Default::default());
        }
    }

    /// The currents of a stretch of timesteps; once for all if they are constant.
    fn currents(&self, here: usize, columns: Range<usize>, stretch: Range<usize>, currents: &mut [S::Computed]) {
        let rows = if self.varying { stretch } else { 0..1 };
        let currents = &mut currents[..rows.len() * columns.len()];
        let input = Rows { data: self.drive.input, first: here, stride: self.size, rows };
        vectorised(Currents {
            input,
            gain: &self.drive.gain[columns.clone()],
            bias: &self.drive.bias[columns],
            currents,
        });
    }

    /// Computes the gradients of the neurons `columns` of a row, and adds to their sums.
    fn backward(&self, row: usize, columns: Range<usize>, room: &mut Room<S::Computed>) {
        let (width, neurons, variables) = (columns.len(), self.drive.neurons(), self.state.len());
        let here = row * neurons + columns.start..row * neurons + columns.end;
        let Room { currents, learned, learned_gradient, states, output, gradient, state_gradient, sum, scratch } = room;
        let learned = &mut learned[..self.learned.len() * width];
        for (to, values) in learned.chunks_exact_mut(width).zip(self.learned) {
            to.copy_from_slice(&values[columns.clone()]);
        }
        let learned_gradient = &mut learned_gradient[..self.learned.len() * width];
        for (to, shared) in learned_gradient.chunks_exact_mut(width).zip(&self.learned_gradient) {
            // SAFETY: as above.
            to.copy_from_slice(unsafe { shared.range_mut(columns.clone()) });
        }
        let state_gradient = &mut state_gradient[..variables * width];
        for (to, shared) in state_gradient.chunks_exact_mut(width).zip(&self.state_gradient) {
            // SAFETY: as above; of every row.
            to.copy_from_slice(unsafe { shared.range_mut(here.clone()) });
        }
        let block = variables * width;
        for (to, values) in states.chunks_exact_mut(width).zip(self.state) {
            to.copy_from_slice(&values[here.clone()]);
        }
        if !self.varying {
            self.currents(here.start, columns.clone(), 0..1, currents);
        }
        let noise = self.noise.map(|noise| noise.row(row, columns.start));
        let stretches = self.steps.div_ceil(STRETCH);
        let rows = |steps: usize| if self.varying { steps * width } else { width };

        for index in 1..stretches {
            let start = (index - 1) * STRETCH;
            if self.varying {
                self.currents(here.start, columns.clone(), start..start + STRETCH, currents);
            }
            let (before, after) = states[(index - 1) * block..].split_at_mut(block);
            let after = &mut after[..block];
            after.copy_from_slice(before);
            self.neuron.advance(AdvanceBlock {
                width,
                steps: STRETCH,
                dt: self.dt,
                currents: &currents[..rows(STRETCH)],
                learned,
                noise: noise.map(|noise| noise.later(start as u64)),
                state: after,
                output: &mut output[..STRETCH * width],
                history: &mut [],
            });
        }

        let sum = &mut sum[..width];
        sum.fill(Default::default());
        for index in (0..stretches).rev() {
            let start = index * STRETCH;
            let steps = STRETCH.min(self.steps - start);
            if self.varying {
                self.currents(here.start, columns.clone(), start..start + steps, currents);
            }
            let at = |step: usize| here.start + (start + step) * self.size..here.end + (start + step) * self.size;
            let gradient = &mut gradient[..steps * width];
            for (step, gradient) in gradient.chunks_exact_mut(width).enumerate() {
                // SAFETY: as above; at every step.
                let from = unsafe { self.gradient.range_mut(at(step)) };
                gradient.iter_mut().zip(from).for_each(|(to, from)| *to = from.load());
            }
            self.neuron.advance_backward(AdvanceGradientBlock {
                width,
                steps,
                dt: self.dt,
                currents: &currents[..rows(steps)],
                learned,
                noise: noise.map(|noise| noise.later(start as u64)),
                state: &states[index * block..(index + 1) * block],
                surrogate: self.surrogate,
                truncate: self.truncate.map(|every| (every, start)),
                gradient: &mut *gradient,
                state_gradient: &mut *state_gradient,
                learned_gradient: &mut *learned_gradient,
                scratch: &mut *scratch,
            });
            // SAFETY: as above.
            let to_bias = unsafe { self.bias_gradient.range_mut(columns.clone()) };
            vectorised(Sum::<S> { values: gradient, factors: None, sum: to_bias });
            if let Some(to_gain) = &self.gain_gradient {
                let rows = if self.varying { start..start + steps } else { 0..1 };
                let input = Rows { data: self.drive.input, first: here.start, stride: self.size, rows };
                // SAFETY: as above.
                let to_gain = unsafe { to_gain.range_mut(columns.clone()) };
                vectorised(Sum { values: gradient, factors: Some(input), sum: to_gain });
            }
            let gain = &self.drive.gain[columns.clone()];
            match &self.input_gradient {
                Some(_) => vectorised(Sum::<S> { values: gradient, factors: None, sum: &mut *sum }),
                None => {
                    for (step, gradient) in gradient.chunks_exact(width).enumerate() {
                        // SAFETY: as above; at every step.
                        let to = unsafe { self.gradient.range_mut(at(step)) };
                        vectorised(Scaled { values: gradient, gain, to });
                    }
                }
            }
        }
        if let Some(shared) = &self.input_gradient {
            // SAFETY: as above.
            let to = unsafe { shared.range_mut(here.clone()) };
            vectorised(Scaled { values: sum, gain: &self.drive.gain[columns.clone()], to });
        }
        for (values, shared) in state_gradient.chunks_exact(width).zip(&self.state_gradient) {
            // SAFETY: as above.
            unsafe { shared.range_mut(here.clone()) }.copy_from_slice(values);
        }
        for (values, shared) in learned_gradient.chunks_exact(width).zip(&self.learned_gradient) {
            // SAFETY: as above.
            unsafe { shared.range_mut(columns.clone()) }.copy_from_slice(values);
        }
    }
}

/// Adds the rows of `values`, multiplied by `factors` if there are any, to `sum`. One row of factors serves all rows.
struct Sum<'a, S: Stored> {
    values: &'a [S::Computed],
    factors: Option<Rows<'a, S>>,
    sum: &'a mut [S::Computed],
}

impl<S: Stored> Kernel for Sum<'_, S> {
    #[inline(always)]
    fn run(self) {
        let width = self.sum.len();
        for (step, values) in self.values.chunks_exact(width).enumerate() {
            match &self.factors {
                None => self.sum.iter_mut().zip(values).for_each(|(sum, &value)| *sum = *sum + value),
                Some(Rows { data, first, stride, rows }) => {
                    let row = if rows.len() == 1 { rows.start } else { rows.start + step };
                    let factors = &data[first + row * stride..][..width];
                    let pairs = values.iter().zip(factors);
                    self.sum.iter_mut().zip(pairs).for_each(|(sum, (&a, &b))| *sum = *sum + a * b.load());
                }
            }
        }
    }
}

/// Stores the gradient of the input: that of the current, times the gain.
struct Scaled<'a, S: Stored> {
    values: &'a [S::Computed],
    gain: &'a [S::Computed],
    to: &'a mut [S],
}

impl<S: Stored> Kernel for Scaled<'_, S> {
    #[inline(always)]
    fn run(self) {
        for ((to, &value), &gain) in self.to.iter_mut().zip(self.values).zip(self.gain) {
            *to = S::store(value * gain);
        }
    }
}
