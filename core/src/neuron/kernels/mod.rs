//! What a neuron model's formulas become over plain memory: one block of neurons, one thread.
//!
//! | file | does |
//! |---|---|
//! | `rate.rs` | the rate and its gradient for a row of neurons |
//! | `advance.rs` | the spiking step over time, the state of a block in registers |
//! | `number.rs` | the numbers that are read and written |
//! | `noise.rs` | random numbers keyed by seed, sample, neuron and step |
//!
//! How a layer is cut into blocks, and blocks are shared out over threads, is up to the caller.

mod advance;
mod noise;
mod number;
mod rate;

pub(crate) use advance::advance;
pub use advance::{AdvanceBlock, MAX_LEARNED, MAX_STATE};
pub use noise::{NeuronOrder, Noise, NoiseKey};
pub use number::{Number, Stored};
pub use rate::{GradientBlock, RateBlock};
pub(crate) use rate::{rate_backward, rate_forward};

/// How a layer's input drives its neurons: `J[i] = gain[i] * input[i] + bias[i]`.
#[derive(Clone, Copy, Debug)]
pub struct Drive<'a, R, S = R> {
    /// `[neurons]`, or `[rows, neurons]` for kernels over several rows.
    pub input: &'a [S],
    /// `[neurons]`.
    pub gain: &'a [R],
    /// `[neurons]`.
    pub bias: &'a [R],
}

impl<R, S> Drive<'_, R, S> {
    /// How many neurons a row has.
    pub fn neurons(&self) -> usize {
        self.gain.len()
    }
}
