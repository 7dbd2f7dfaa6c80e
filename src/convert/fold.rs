//! Folding of batch normalisation into the preceding weights: after training it is a scale and a shift of each channel.

use tch::{Kind, TchError, Tensor};

use super::rewrite::Piece;
use crate::network::{BatchNorm, LayerKind, Normalization};

/// Folds `weight (x - mean) / sqrt(var + eps) + bias` into the convolution or linear layer `into`, in `f64`.
pub(super) fn fold(norm: BatchNorm, of: &Normalization, into: &mut Piece) -> Result<(), TchError> {
    let double = |tensor: &Tensor| tensor.f_detach()?.f_to_kind(Kind::Double);
    let mut factor = double(&of.running_var)?.f_add_scalar(norm.eps)?.f_rsqrt()?;
    if let Some(weight) = &of.weight {
        factor = factor.f_mul(&double(weight)?)?;
    }
    let mut shift = double(&of.running_mean)?.f_neg()?;
    for (name, tensor) in &mut into.tensors {
        let own = double(tensor)?;
        if *name == "bias" {
            shift = shift.f_add(&own)?;
        } else {
            let per_output: Vec<i64> = (0..own.dim()).map(|dimension| if dimension == 0 { -1 } else { 1 }).collect();
            *tensor = own.f_mul(&factor.f_reshape(per_output)?)?;
        }
    }
    shift = shift.f_mul(&factor)?;
    if let Some(bias) = &of.bias {
        shift = shift.f_add(&double(bias)?)?;
    }
    into.tensors.retain(|(name, _)| *name != "bias");
    into.tensors.push(("bias".to_string(), shift));
    match &mut into.kind {
        LayerKind::Conv2d(layer) => layer.bias = true,
        LayerKind::Linear(layer) => layer.bias = true,
        _ => {}
    }
    Ok(())
}
