//! Kernels over whole layers: the core's blocks shared out over libtorch's threads, and the same formulas on CUDA.
//!
//! | file | does |
//! |---|---|
//! | `rate.rs` | rate forward and backward: gain, bias, rate and its gradient in one pass each |
//! | `scan.rs` | the spiking step over all timesteps, state in registers |
//! | `cuda/` | the same on CUDA, compiled at run time |
//! | `elements.rs` | tensors as slices |
//! | `threads.rs` | memory that several threads write, each its own part; work shared out over libtorch's own threads |
//!
//! A kernel sees a layer's current as `[rows, neurons]` in memory order: a row is one image (or one timestep of one image),
//! and gain and bias have one value a neuron.

#![allow(unsafe_code)]

pub mod cuda;
mod elements;
mod rate;
mod scan;
mod threads;

pub use crate::native::keep_freed_memory;
pub use elements::TensorNumber;
pub(crate) use elements::{elements, elements_mut};
pub(crate) use rate::{rate_backward, rate_forward};
pub(crate) use scan::{NoiseRows, Scan, scan};
pub use tch_spiking_core::simd::instruction_set;
pub(crate) use threads::share_out_reading;

/// How many rows `drive` has; panics unless the lengths fit together, which unchecked indexing relies on.
fn rows<R, S>(drive: &tch_spiking_core::kernels::Drive<R, S>) -> usize {
    let neurons = drive.neurons();
    assert_eq!(drive.bias.len(), neurons, "one bias a neuron");
    let rows = drive.input.len().checked_div(neurons).unwrap_or(0);
    assert_eq!(rows * neurons, drive.input.len(), "whole rows");
    rows
}
