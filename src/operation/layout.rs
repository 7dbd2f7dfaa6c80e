//! The order in which a layer's neurons lie in memory.

use tch::{TchError, Tensor};

/// How the neurons of one image are stored: as their shape says, or channels last (which libtorch's CPU convolutions
/// prefer by far). Shapes are always `[C, H, W]`; only strides differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `C, H, W`, or whatever the shape is.
    Contiguous,
    /// `H, W, C` in memory.
    ChannelsLast,
}

impl Layout {
    /// The layout of a tensor whose last `neuron_dimensions` dimensions are a layer's shape.
    pub fn of(tensor: &Tensor, neuron_dimensions: usize) -> Self {
        let channels_last =
            neuron_dimensions == 3 && !tensor.is_contiguous() && tensor.movedim_int(-3, -1).is_contiguous();
        if channels_last { Self::ChannelsLast } else { Self::Contiguous }
    }

    /// `tensor` with its elements contiguous in this order (dimensions permuted; no copy if they lie so already).
    ///
    /// # Errors
    /// When memory runs out.
    pub fn in_memory_order(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Contiguous => tensor.f_contiguous(),
            Self::ChannelsLast => tensor.f_movedim_int(-3, -1)?.f_contiguous(),
        }
    }

    /// The inverse of [`in_memory_order`](Self::in_memory_order): the dimensions as the shape says, the memory as it is.
    ///
    /// # Errors
    /// Never for a tensor that came from there.
    pub fn in_shape_order(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Contiguous => Ok(tensor.shallow_clone()),
            Self::ChannelsLast => tensor.f_movedim_int(-1, -3),
        }
    }
}
