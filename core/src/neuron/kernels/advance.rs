//! The kernel of the spiking step over time.

use super::{Noise, Number};
use crate::neuron::{Heaviside, NeuronModel, StateArray, StepInput};
use crate::simd::{Kernel, vectorised};

/// The largest number of neurons that advance together, with their state in registers or the L1 cache.
const LANES: usize = 64;
/// The largest number of state variables of a model.
pub const MAX_STATE: usize = 4;
/// The largest number of learned parameters of a model.
pub const MAX_LEARNED: usize = 4;

/// A block of neurons of one sample that advance through time together.
#[derive(Debug)]
pub struct AdvanceBlock<'a, R> {
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
    /// Source of random numbers for noisy models.
    pub noise: Option<Noise>,
    /// State, `[state variables, width]`, advanced in place.
    pub state: &'a mut [R],
    /// Output, `[steps, width]`: spikes times amplitude over dt.
    pub output: &'a mut [R],
    /// State after each step, `[steps, state variables, width]`; empty if it is not recorded.
    pub history: &'a mut [R],
}

/// Runs the spiking step of `model` over a block.
pub(crate) fn advance<M: NeuronModel, R: Number>(model: &M, block: AdvanceBlock<R>) {
    let (width, steps) = (block.width, block.steps);
    let (currents, learned, history) = (block.currents.len(), block.learned.len(), block.history.len());
    let variables = <M::State<R> as StateArray<R>>::LEN;
    assert!(variables <= MAX_STATE && <M::Learned<R> as StateArray<R>>::LEN <= MAX_LEARNED);
    assert_eq!(learned, <M::Learned<R> as StateArray<R>>::LEN * width);
    assert_eq!(block.state.len(), variables * width);
    assert_eq!(block.output.len(), steps * width);
    assert!(currents == width || currents == steps * width);
    assert!(history == 0 || history == steps * variables * width);
    match width {
        ..=16 => vectorised(Lanes::<M, R, 16> { model, block }),
        17..=32 => vectorised(Lanes::<M, R, 32> { model, block }),
        _ => vectorised(Lanes::<M, R, LANES> { model, block }),
    }
}

/// A block that is processed `W` neurons at a time.
struct Lanes<'a, M, R, const W: usize> {
    model: &'a M,
    block: AdvanceBlock<'a, R>,
}

impl<M: NeuronModel, R: Number, const W: usize> Kernel for Lanes<'_, M, R, W> {
    #[inline(always)]
    fn run(self) {
        // A copy, so that the compiler sees its parameters as constants of the loop.
        let model = self.model.clone();
        let AdvanceBlock { width, steps, dt, currents, learned, noise, state, output, history } = self.block;
        let variables = <M::State<R> as StateArray<R>>::LEN;
        let varying = currents.len() != width;
        let zero = R::default();
        for start in (0..width).step_by(W) {
            let count = W.min(width - start);
            let (mut current, mut spikes, mut uniform) = ([zero; W], [zero; W], [zero; W]);
            let mut numbers = [0u32; W];
            if let Some(noise) = noise {
                numbers = std::array::from_fn(|lane| noise.neuron((start + lane) as u32));
            }
            let mut parameters = [[zero; W]; MAX_LEARNED];
            let mut values = [[zero; W]; MAX_STATE];
            for (lanes, learned) in parameters.iter_mut().zip(learned.chunks_exact(width)) {
                lanes[..count].copy_from_slice(&learned[start..start + count]);
            }
            for (lanes, state) in values.iter_mut().zip(state.chunks_exact(width)) {
                lanes[..count].copy_from_slice(&state[start..start + count]);
            }
            for step in 0..steps {
                if step == 0 || varying {
                    let row = if varying { step * width } else { 0 };
                    current[..count].copy_from_slice(&currents[row + start..row + start + count]);
                }
                if let (true, Some(noise)) = (M::NOISY, noise) {
                    for lane in 0..W {
                        uniform[lane] = noise.draw(numbers[lane], step as u64);
                    }
                }
                for lane in 0..W {
                    let mut one = M::State::<R>::from_fn(|variable| values[variable][lane]);
                    let learned = M::Learned::<R>::from_fn(|parameter| parameters[parameter][lane]);
                    let input = StepInput { current: current[lane], learned, uniform: uniform[lane], dt };
                    spikes[lane] = model.step(input, &mut one, &Heaviside);
                    for (variable, &value) in one.as_ref().iter().enumerate() {
                        values[variable][lane] = value;
                    }
                }
                output[step * width + start..][..count].copy_from_slice(&spikes[..count]);
                if !history.is_empty() {
                    for (variable, lanes) in values.iter().enumerate().take(variables) {
                        let at = (step * variables + variable) * width + start;
                        history[at..at + count].copy_from_slice(&lanes[..count]);
                    }
                }
            }
            for (lanes, state) in values.iter().zip(state.chunks_exact_mut(width)) {
                state[start..start + count].copy_from_slice(&lanes[..count]);
            }
        }
    }
}
