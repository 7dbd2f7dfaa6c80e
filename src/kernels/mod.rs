//! Kernels over whole layers: the core's kernels run on libtorch's threads, and the same formulas on CUDA.
//!
//! | file | does |
//! |---|---|
//! | `rate.rs` | rate forward and backward: gain, bias, rate and its gradient in one pass each |
//! | `scan.rs` | the spiking step over all timesteps, with the state in registers |
//! | `filter.rs` | the synaptic filter over all timesteps, forward and backward |
//! | `scan_backward.rs` | its gradient: forward again, then backward, in the cache |
//! | `warp.rs` | affine maps of images |
//! | `cuda/` | the same on CUDA, compiled at run time |
//! | `elements.rs` | tensors as slices |
//! | `threads.rs` | memory that several threads write in disjoint parts; work distribution over libtorch's threads |
//!
//! A kernel sees a layer's current as `[rows, neurons]` in memory order: a row is one sample (or one timestep of one
//! sample), and gain and bias have one value per neuron.

#![allow(unsafe_code)]

pub mod cuda;
mod elements;
mod filter;
mod rate;
mod scan;
mod scan_backward;
mod threads;
mod warp;

pub use crate::native::keep_freed_memory;
pub use elements::TensorNumber;
pub(crate) use elements::{elements, elements_mut};
pub(crate) use filter::{Recursion, TimeConstant, filter_backward, filter_forward};
pub(crate) use rate::{rate_backward, rate_forward};
pub(crate) use scan::{NoiseRows, Scan, scan};
pub(crate) use scan_backward::{ScanBackward, scan_backward};
pub use tch_spiking_core::simd::instruction_set;
pub(crate) use threads::{LibtorchThreads, share_out_reading};
pub(crate) use warp::{Erased, Warp, warp};

/// Returns the number of rows of `drive`; panics unless the lengths match, which unchecked indexing relies on.
fn rows<R, S>(drive: &tch_spiking_core::kernels::Drive<R, S>) -> usize {
    let neurons = drive.neurons();
    assert_eq!(drive.bias.len(), neurons, "one bias per neuron");
    let rows = drive.input.len().checked_div(neurons).unwrap_or(0);
    assert_eq!(rows * neurons, drive.input.len(), "whole rows");
    rows
}
