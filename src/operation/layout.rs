//! The memory order of a layer's neurons.

use tch::{TchError, Tensor};

/// The memory order of a sample's neurons: as their shape, or channels last (which libtorch's CPU convolutions
/// strongly prefer). Shapes are always `[C, H, W]`; only strides differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `C, H, W`, or the order of any other shape.
    Contiguous,
    /// `H, W, C` in memory.
    ChannelsLast,
}

impl Layout {
    /// Returns the layout of a tensor whose last `neuron_dimensions` dimensions are a layer's shape.
    pub fn of(tensor: &Tensor, neuron_dimensions: usize) -> Self {
        let channels_last =
            neuron_dimensions == 3 && !tensor.is_contiguous() && tensor.movedim_int(-3, -1).is_contiguous();
        if channels_last { Self::ChannelsLast } else { Self::Contiguous }
    }

    /// Returns `tensor` contiguous in this order (dimensions permuted; no copy if it already is).
    ///
    /// # Errors
    /// Returns an error if memory runs out.
    pub fn in_memory_order(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Contiguous => tensor.f_contiguous(),
            Self::ChannelsLast => tensor.f_movedim_int(-3, -1)?.f_contiguous(),
        }
    }

    /// Inverts [`in_memory_order`](Self::in_memory_order): permutes the dimensions back without moving memory.
    ///
    /// # Errors
    /// Never fails for a tensor returned by `in_memory_order`.
    pub fn in_shape_order(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Contiguous => Ok(tensor.shallow_clone()),
            Self::ChannelsLast => tensor.f_movedim_int(-1, -3),
        }
    }
}
