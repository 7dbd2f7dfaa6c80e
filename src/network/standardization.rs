//! Standardisation by a mean and a standard deviation per channel.

use tch::{TchError, Tensor};

/// The tensors of a standardisation, `[C]` each.
#[derive(Debug)]
pub(crate) struct Standardization {
    pub mean: Tensor,
    pub std: Tensor,
}

impl Standardization {
    /// Computes `(input - mean) / std` for `[B, C, ..]`, in the dtype of the parameters, rounded once.
    pub(super) fn apply(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let mut shape = vec![1; input.dim() - 1];
        shape[0] = -1;
        let centred = input.f_to_kind(self.mean.kind())?.f_sub(&self.mean.f_reshape(&shape)?)?;
        centred.f_div(&self.std.f_reshape(&shape)?)?.f_to_kind(input.kind())
    }
}
