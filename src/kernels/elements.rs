//! Tensors as slices.

use half::bf16;
use tch::{Kind, TchError, Tensor};
use tch_spiking_core::kernels::Stored;

/// A number type of tensors that kernels read and write: `f32`, `f64` and `bf16`.
pub trait TensorNumber: Stored {
    /// The kind of tensors of it. (`tch::kind::Element` takes `bf16` for `Half`.)
    const KIND: Kind;
}

impl TensorNumber for f32 {
    const KIND: Kind = Kind::Float;
}
impl TensorNumber for f64 {
    const KIND: Kind = Kind::Double;
}
impl TensorNumber for bf16 {
    const KIND: Kind = Kind::BFloat16;
}

/// Borrows the elements of a contiguous CPU tensor.
///
/// # Errors
/// Returns an error if the tensor is on another device, of another dtype or not contiguous.
pub(crate) fn elements<T: TensorNumber>(tensor: &Tensor) -> Result<&[T], TchError> {
    let (pointer, length) = checked_pointer::<T>(tensor)?;
    // SAFETY: contiguous, of this kind and in host memory (checked); the storage lives as long as the borrowed tensor.
    // By the contract of all tensor operations, nobody writes to it meanwhile.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Borrows the elements of a contiguous CPU tensor mutably.
///
/// # Errors
/// Returns an error if the tensor is on another device, of another dtype or not contiguous.
pub(crate) fn elements_mut<T: TensorNumber>(tensor: &mut Tensor) -> Result<&mut [T], TchError> {
    let (pointer, length) = checked_pointer::<T>(tensor)?;
    // SAFETY: as for `elements`; the callers, all in this crate, pass tensors whose storage they just created or own.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, length) })
}

fn checked_pointer<T: TensorNumber>(tensor: &Tensor) -> Result<(*mut T, usize), TchError> {
    let fits = tensor.device() == tch::Device::Cpu && tensor.kind() == T::KIND && tensor.is_contiguous();
    if !fits {
        return Err(TchError::Kind(format!(
            "a CPU kernel needs a contiguous {:?} tensor in host memory, not {:?} on {:?}",
            T::KIND,
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
