//! CPU kernels of the neuron models, on slices: one block of neurons on one thread.
//!
//! | file | does |
//! |---|---|
//! | `rate.rs` | the rate and its gradient for a row of neurons |
//! | `advance.rs` | the spiking step over time, with the state of a block in registers |
//! | `advance_backward.rs` | its gradient, from the last step to the first |
//! | `number.rs` | the number types that are read and written |
//! | `noise.rs` | random numbers keyed by seed, sample, neuron and step |
//!
//! The caller divides a layer into blocks and distributes the blocks over threads.

mod advance;
mod advance_backward;
mod noise;
mod number;
mod rate;

pub(crate) use advance::advance;
pub use advance::{AdvanceBlock, MAX_LEARNED, MAX_STATE};
pub(crate) use advance_backward::advance_backward;
pub use advance_backward::{AdvanceGradientBlock, MAX_FIRE};
pub use noise::{NeuronOrder, Noise, NoiseKey};
pub use number::{Number, Stored};
pub use rate::{GradientBlock, RateBlock};
pub(crate) use rate::{rate_backward, rate_forward};

/// The input of a layer of neurons: `J[i] = gain[i] * input[i] + bias[i]`.
#[derive(Clone, Copy, Debug)]
pub struct Drive<'a, R, S = R> {
    /// Input, `[neurons]`, or `[rows, neurons]` for kernels over several rows.
    pub input: &'a [S],
    /// Gain, `[neurons]`.
    pub gain: &'a [R],
    /// Bias, `[neurons]`.
    pub bias: &'a [R],
}

impl<R, S> Drive<'_, R, S> {
    /// Returns the number of neurons per row.
    pub fn neurons(&self) -> usize {
        self.gain.len()
    }
}
