//! What the event engine needs of the kernels: its number type, neurons of any model in blocks, and work over threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Element;
use super::simd::{Kernel, vectorised};
use super::threads::{SharedMut, parallel_for};
use crate::neuron::{Neuron, NeuronModel, Real, StateArray};

/// Neurons of one image that advance through time together, in plain memory.
#[derive(Debug)]
pub struct NeuronBlock<'a, R> {
    /// How many neurons.
    pub width: usize,
    /// How many timesteps.
    pub steps: usize,
    /// The length of a timestep (s).
    pub dt: f64,
    /// The currents, `[width]` (constant over time) or `[steps, width]`.
    pub currents: &'a [R],
    /// `[state variables, width]`: the state before, then the state after.
    pub state: &'a mut [R],
    /// `[steps, width]`: spikes times amplitude over dt.
    pub output: &'a mut [R],
}

/// A number type of the event engine: `f32` or `f64`.
pub trait Number: Element + Real<Mask = bool> + PartialOrd {
    /// Moves neurons of any model on.
    #[doc(hidden)]
    fn advance(neurons: &dyn Neuron, block: NeuronBlock<Self>);
    /// Without loss.
    #[doc(hidden)]
    fn to_f64(self) -> f64;
}

impl Number for f32 {
    fn advance(neurons: &dyn Neuron, block: NeuronBlock<Self>) {
        neurons.advance_f32(block);
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Number for f64 {
    fn advance(neurons: &dyn Neuron, block: NeuronBlock<Self>) {
        neurons.advance_f64(block);
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
}

/// Runs the spiking step of `model` over a block.
pub(crate) fn advance<M: NeuronModel, R: Element>(model: &M, block: NeuronBlock<R>) {
    assert_eq!(block.state.len(), M::STATE.len() * block.width);
    assert_eq!(block.output.len(), block.steps * block.width);
    assert!(block.currents.len() == block.width || block.currents.len() == block.steps * block.width);
    vectorised(Advance { model, block });
}

struct Advance<'a, M, R> {
    model: &'a M,
    block: NeuronBlock<'a, R>,
}

impl<M: NeuronModel, R: Element> Kernel for Advance<'_, M, R> {
    #[inline(always)]
    fn run(self) {
        // A copy, so that the compiler sees its parameters as constants of the loop.
        let model = self.model.clone();
        let NeuronBlock { width, steps, dt, currents, state, output } = self.block;
        let varying = currents.len() != width;
        for step in 0..steps {
            let currents = &currents[if varying { step * width } else { 0 }..][..width];
            for (lane, (output, &current)) in output[step * width..][..width].iter_mut().zip(currents).enumerate() {
                let mut one = M::State::<R>::from_fn(|variable| state[variable * width + lane]);
                *output = model.step(current, &mut one, dt);
                for (variable, &value) in one.as_ref().iter().enumerate() {
                    state[variable * width + lane] = value;
                }
            }
        }
    }
}

/// Calls `task(worker, index)` for every index below `count`, each worker on a thread of libtorch's. Which worker gets which
/// index is left to chance, so that none waits for another.
pub(crate) fn share_out<W: Send>(workers: &mut [W], count: usize, task: impl Fn(&mut W, usize) + Sync) {
    let next = AtomicUsize::new(0);
    let shared = SharedMut::new(workers);
    parallel_for(workers.len(), 1, |range| {
        for worker in range {
            // SAFETY: `parallel_for` hands out every index once.
            let worker = unsafe { shared.range_mut(worker..worker + 1) };
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                worker.iter_mut().for_each(|worker| task(worker, index));
            }
        }
    });
}

/// As [`share_out`], for a task that only reads what it borrows, tensors among it.
pub(crate) fn share_out_reading<T, W: Send>(
    workers: &mut [W],
    count: usize,
    shared: &T,
    task: impl Fn(&T, &mut W, usize) + Sync,
) {
    struct Reading<'a, T>(&'a T);
    // SAFETY: libtorch's tensors may be read from several threads at once (its own data loaders and `parallel_for` do); tch
    // only lacks the marker. `T` is shared by reference, and nothing in this crate writes to a tensor through one but the
    // optimiser and the loading of weights, which cannot run meanwhile: they need this thread, which waits here.
    unsafe impl<T> Sync for Reading<'_, T> {}
    let reading = Reading(shared);
    let reading = &reading;
    share_out(workers, count, |worker, index| {
        let Reading(shared) = reading;
        task(shared, worker, index);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_done_once() {
        for (workers, count) in [(1, 0), (1, 5), (3, 100), (8, 3)] {
            let mut done = vec![Vec::new(); workers];
            share_out(&mut done, count, |mine, index| mine.push(index));
            let mut all = done.concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
