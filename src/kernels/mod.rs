//! The fused CPU kernels: what a neuron model's formulas become over whole layers.
//!
//! | file | does |
//! |---|---|
//! | `rate.rs` | rate forward and backward: gain, bias, rate and its gradient in one pass each |
//! | `cuda/` | the same on CUDA, compiled at run time |
//! | `scan.rs` | the spiking step over all timesteps, state in registers |
//! | `event.rs` | neurons in small blocks, for the event engine |
//! | `simd.rs` | picks the widest vector instructions of this CPU at run time |
//! | `element.rs` | the numbers that kernels read and write |
//! | `threads.rs` | memory that several threads write, each its own part |
//!
//! A kernel sees a layer's current as `[rows, neurons]` in memory order: a row is one image (or one timestep of one image),
//! and gain and bias have one value a neuron.

#![allow(unsafe_code)]

pub mod cuda;
mod element;
mod event;
mod rate;
mod scan;
mod simd;
mod threads;

pub use crate::native::keep_freed_memory;
pub use element::{Element, Stored};
pub use event::{NeuronBlock, Number};
pub(crate) use event::{advance, share_out, share_out_reading};
pub use rate::{rate_backward, rate_forward};
pub use scan::{MAX_STATE, Scan, scan};
pub use simd::instruction_set;
pub(crate) use simd::{Kernel, vectorised};

/// How a layer's input drives its neurons: `J[row, i] = gain[i] * input[row, i] + bias[i]`.
#[derive(Clone, Copy, Debug)]
pub struct Drive<'a, R, S = R> {
    /// `[rows, neurons]`.
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

    /// How many rows there are; panics unless the lengths fit together, which unchecked indexing below relies on.
    fn rows(&self) -> usize {
        let neurons = self.neurons();
        assert_eq!(self.bias.len(), neurons, "one bias a neuron");
        let rows = self.input.len().checked_div(neurons).unwrap_or(0);
        assert_eq!(rows * neurons, self.input.len(), "whole rows");
        rows
    }
}

/// The elements of a contiguous CPU tensor.
///
/// # Errors
/// If it is elsewhere, of another kind or not contiguous.
pub fn elements<T: Stored>(tensor: &tch::Tensor) -> Result<&[T], tch::TchError> {
    let (pointer, length) = checked_pointer::<T>(tensor)?;
    // SAFETY: contiguous, of this kind and in host memory (checked); the storage lives as long as the borrowed tensor.
    // That nobody writes meanwhile is the contract of every tensor operation.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// The elements of a contiguous CPU tensor, to be written.
///
/// # Errors
/// If it is elsewhere, of another kind or not contiguous.
pub fn elements_mut<T: Stored>(tensor: &mut tch::Tensor) -> Result<&mut [T], tch::TchError> {
    let (pointer, length) = checked_pointer::<T>(tensor)?;
    // SAFETY: as for `elements`; callers pass tensors whose storage they just made or own.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

fn checked_pointer<T: Stored>(tensor: &tch::Tensor) -> Result<(*mut T, usize), tch::TchError> {
    let fits = tensor.device() == tch::Device::Cpu && tensor.kind() == T::TENSOR_KIND && tensor.is_contiguous();
    if !fits {
        return Err(tch::TchError::Kind(format!(
            "a CPU kernel needs a contiguous {:?} tensor in host memory, not {:?} on {:?}",
            T::TENSOR_KIND,
            tensor.kind(),
            tensor.device()
        )));
    }
    match tensor.numel() {
        // An empty tensor may have no storage at all.
        0 => Ok((std::ptr::NonNull::dangling().as_ptr(), 0)),
        length => Ok((tensor.data_ptr().cast(), length)),
    }
}
