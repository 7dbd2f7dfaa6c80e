//! The kernel of the gradient of spiking steps over time.

use std::cell::Cell;

use super::{MAX_LEARNED, MAX_STATE, Noise, Number};
use crate::neuron::{Dual, Fire, Heaviside, NeuronModel, Real, StateArray, StepInput};
use crate::simd::{Kernel, vectorised};
use crate::surrogate::Surrogate;

/// The largest number of neurons that go through time together: their states over a stretch stay in the L1 cache.
const LANES: usize = 32;
/// The largest number of times that a model's step may call [`Fire::once`].
pub const MAX_FIRE: usize = 2;

/// A block of neurons of one sample whose gradients are computed, from the last of its timesteps to the first.
#[derive(Debug)]
pub struct AdvanceGradientBlock<'a, R> {
    /// Number of neurons.
    pub width: usize,
    /// Number of timesteps.
    pub steps: usize,
    /// Timestep (s).
    pub dt: f64,
    /// Input currents, `[width]` (constant over time) or `[steps, width]`.
    pub currents: &'a [R],
    /// Learned parameters, `[learned parameters, width]`.
    pub learned: &'a [R],
    /// Source of random numbers for noisy models, as in the forward pass.
    pub noise: Option<Noise>,
    /// State before the first step, `[state variables, width]`.
    pub state: &'a [R],
    /// The derivative of the spike.
    pub surrogate: &'a Surrogate,
    /// The number of steps, and the number of steps before the first of these, if the gradient is cut: none flows from a step
    /// whose number is a multiple of the former to the state before it.
    pub truncate: Option<(usize, usize)>,
    /// Gradient of the output, `[steps, width]`, replaced by that of the current.
    pub gradient: &'a mut [R],
    /// Gradient of the state after the last step, `[state variables, width]`, replaced by that of the state before the first.
    pub state_gradient: &'a mut [R],
    /// `[learned parameters, width]`, to which the gradient of the learned parameters is added.
    pub learned_gradient: &'a mut [R],
    /// Memory for what the forward steps leave for the backward steps; reused from call to call.
    pub scratch: &'a mut Vec<R>,
}

/// Runs the steps of `model` forward again, then their gradients backward.
pub(crate) fn advance_backward<M: NeuronModel, R: Number>(model: &M, block: AdvanceGradientBlock<R>) {
    let (width, steps) = (block.width, block.steps);
    let variables = <M::State<R> as StateArray<R>>::LEN;
    let parameters = <M::Learned<R> as StateArray<R>>::LEN;
    assert!(variables <= MAX_STATE && parameters <= MAX_LEARNED);
    assert_eq!([block.learned.len(), block.learned_gradient.len()], [parameters * width; 2]);
    assert_eq!([block.state.len(), block.state_gradient.len()], [variables * width; 2]);
    assert_eq!(block.gradient.len(), steps * width);
    assert!(block.currents.len() == width || block.currents.len() == steps * width);
    // One variable for the current, one for each learned parameter and state variable.
    match const { 1 + <M::Learned<f32> as StateArray<f32>>::LEN + <M::State<f32> as StateArray<f32>>::LEN } {
        2 => run::<M, R, 2>(model, block),
        3 => run::<M, R, 3>(model, block),
        4 => run::<M, R, 4>(model, block),
        5 => run::<M, R, 5>(model, block),
        6 => run::<M, R, 6>(model, block),
        7 => run::<M, R, 7>(model, block),
        8 => run::<M, R, 8>(model, block),
        _ => run::<M, R, 9>(model, block),
    }
}

fn run<M: NeuronModel, R: Number, const N: usize>(model: &M, block: AdvanceGradientBlock<R>) {
    match block.width {
        ..=16 => vectorised(Lanes::<M, R, N, 16> { model, block }),
        _ => vectorised(Lanes::<M, R, N, LANES> { model, block }),
    }
}

/// A block that is processed `W` neurons at a time, with derivatives by `N` variables.
struct Lanes<'a, M, R, const N: usize, const W: usize> {
    model: &'a M,
    block: AdvanceGradientBlock<'a, R>,
}

impl<M: NeuronModel, R: Number, const N: usize, const W: usize> Kernel for Lanes<'_, M, R, N, W> {
    #[inline(always)]
    fn run(self) {
        // A copy, so that the compiler sees its parameters as constants of the loop.
        let model = self.model.clone();
        let AdvanceGradientBlock { width, steps, dt, currents, learned, noise, state, surrogate, .. } = self.block;
        let AdvanceGradientBlock { truncate, gradient, state_gradient, learned_gradient, scratch, .. } = self.block;
        let variables = <M::State<R> as StateArray<R>>::LEN;
        let varying = currents.len() != width;
        let zero = R::default();
        // Of every step the state before it and the slope of each spike.
        let kept = variables + MAX_FIRE;
        if scratch.len() < steps * kept * W {
            scratch.resize(steps * kept * W, zero);
        }
        let (scratch, _) = scratch.as_chunks_mut::<W>();
        for start in (0..width).step_by(W) {
            let count = W.min(width - start);
            let columns = start..start + count;
            let (mut current, mut uniform) = ([zero; W], [zero; W]);
            let mut numbers = [0u32; W];
            if let Some(noise) = noise {
                numbers = std::array::from_fn(|lane| noise.neuron((start + lane) as u32));
            }
            let mut parameters = [[zero; W]; MAX_LEARNED];
            let mut values = [[zero; W]; MAX_STATE];
            load(&mut parameters, learned, width, start);
            load(&mut values, state, width, start);
            for step in 0..steps {
                if step == 0 || varying {
                    let row = if varying { step * width } else { 0 };
                    current[..count].copy_from_slice(&currents[row + columns.start..row + columns.end]);
                }
                if let (true, Some(noise)) = (M::NOISY, noise) {
                    for lane in 0..W {
                        uniform[lane] = noise.draw(numbers[lane], step as u64);
                    }
                }
                let mut distances = [[zero; W]; MAX_FIRE];
                let kept = &mut scratch[step * kept..(step + 1) * kept];
                kept[..variables].copy_from_slice(&values[..variables]);
                for lane in 0..W {
                    let mut one = M::State::<R>::from_fn(|variable| values[variable][lane]);
                    let learned = M::Learned::<R>::from_fn(|parameter| parameters[parameter][lane]);
                    let input = StepInput { current: current[lane], learned, uniform: uniform[lane], dt };
                    let fire = Distances::new();
                    model.step(input, &mut one, &fire);
                    for (place, distance) in fire.distances.into_inner().into_iter().enumerate() {
                        distances[place][lane] = distance;
                    }
                    for (variable, &value) in one.as_ref().iter().enumerate() {
                        values[variable][lane] = value;
                    }
                }
                for (slopes, distances) in kept[variables..].iter_mut().zip(&distances) {
                    surrogate.derivatives(distances, slopes);
                }
            }

            let mut to_state = [[zero; W]; MAX_STATE];
            let mut to_learned = [[zero; W]; MAX_LEARNED];
            load(&mut to_state, state_gradient, width, start);
            load(&mut to_learned, learned_gradient, width, start);
            for step in (0..steps).rev() {
                let row = step * width;
                if varying {
                    current[..count].copy_from_slice(&currents[row + columns.start..row + columns.end]);
                }
                if let (true, Some(noise)) = (M::NOISY, noise) {
                    for lane in 0..W {
                        uniform[lane] = noise.draw(numbers[lane], step as u64);
                    }
                }
                let mut to_output = [zero; W];
                let gradient = &mut gradient[row + columns.start..row + columns.end];
                to_output[..count].copy_from_slice(gradient);
                // Copies of fixed size, without which the loop over the lanes would not become vector instructions.
                let kept = &scratch[step * kept..(step + 1) * kept];
                let (mut before, mut slopes) = ([[zero; W]; MAX_STATE], [[zero; W]; MAX_FIRE]);
                before[..variables].copy_from_slice(&kept[..variables]);
                slopes.copy_from_slice(&kept[variables..]);
                let first = 1 + <M::Learned<R> as StateArray<R>>::LEN;
                for lane in 0..W {
                    let mut one = M::State::<Dual<R, N>>::from_fn(|variable| {
                        Dual::variable(before[variable][lane], first + variable)
                    });
                    let learned = M::Learned::<Dual<R, N>>::from_fn(|parameter| {
                        Dual::variable(parameters[parameter][lane], 1 + parameter)
                    });
                    let current = Dual::variable(current[lane], 0);
                    let uniform = Dual::from(uniform[lane]);
                    let slopes = std::array::from_fn(|place| slopes[place][lane]);
                    let fire = Slopes { slopes, calls: Cell::new(0) };
                    let output = model.step(StepInput { current, learned, uniform, dt }, &mut one, &fire);
                    let mut sums = output.partials.map(|partial| partial * to_output[lane]);
                    for (variable, after) in one.as_ref().iter().enumerate() {
                        for (sum, &partial) in sums.iter_mut().zip(&after.partials) {
                            *sum = *sum + partial * to_state[variable][lane];
                        }
                    }
                    to_output[lane] = sums[0];
                    for (parameter, &sum) in sums[1..first].iter().enumerate() {
                        to_learned[parameter][lane] = to_learned[parameter][lane] + sum;
                    }
                    for (variable, &sum) in sums[first..].iter().enumerate() {
                        to_state[variable][lane] = sum;
                    }
                }
                gradient.copy_from_slice(&to_output[..count]);
                if truncate.is_some_and(|(every, before)| (before + step).is_multiple_of(every)) {
                    to_state = [[zero; W]; MAX_STATE];
                }
            }
            store(&to_state, state_gradient, width, start);
            store(&to_learned, learned_gradient, width, start);
        }
    }
}

/// Loads up to `W` neurons, from `start` on, of each row of `width`.
#[inline(always)]
fn load<R: Copy, const W: usize>(lanes: &mut [[R; W]], rows: &[R], width: usize, start: usize) {
    let count = W.min(width - start);
    for (lanes, row) in lanes.iter_mut().zip(rows.chunks_exact(width)) {
        lanes[..count].copy_from_slice(&row[start..start + count]);
    }
}

/// The inverse of [`load`].
#[inline(always)]
fn store<R: Copy, const W: usize>(lanes: &[[R; W]], rows: &mut [R], width: usize, start: usize) {
    let count = W.min(width - start);
    for (lanes, row) in lanes.iter().zip(rows.chunks_exact_mut(width)) {
        row[start..start + count].copy_from_slice(&lanes[..count]);
    }
}

/// The Heaviside step, which remembers the distances to the threshold.
struct Distances<R> {
    distances: Cell<[R; MAX_FIRE]>,
    calls: Cell<usize>,
}

impl<R: Number> Distances<R> {
    #[inline(always)]
    fn new() -> Self {
        Self { distances: Cell::new([R::default(); MAX_FIRE]), calls: Cell::new(0) }
    }
}

impl<R: Number> Fire<R> for Distances<R> {
    #[inline(always)]
    fn once(&self, distance: R) -> R {
        let mut distances = self.distances.get();
        distances[self.calls.replace(self.calls.get() + 1)] = distance;
        self.distances.set(distances);
        Heaviside.once(distance)
    }
    #[inline(always)]
    fn count(&self, level: R) -> R {
        Heaviside.count(level)
    }
}

/// The Heaviside step, with slopes that are known.
struct Slopes<R> {
    slopes: [R; MAX_FIRE],
    calls: Cell<usize>,
}

impl<R: Real, const N: usize> Fire<Dual<R, N>> for Slopes<R> {
    #[inline(always)]
    fn once(&self, distance: Dual<R, N>) -> Dual<R, N> {
        distance.chain(Heaviside.once(distance.value), self.slopes[self.calls.replace(self.calls.get() + 1)])
    }
    #[inline(always)]
    fn count(&self, level: Dual<R, N>) -> Dual<R, N> {
        level.chain(level.value.floor(), R::constant(1.0))
    }
}
