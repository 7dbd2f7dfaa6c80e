//! Number formats of training.

use serde::{Deserialize, Serialize};
use tch::Kind;

use crate::device;

/// The number format of convolutions and linear layers in training. Parameters, their gradients, the optimiser and
/// the arithmetic of the neurons are always `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `f32` throughout.
    #[default]
    F32,
    /// TensorFloat-32 on CUDA devices that support it: `f32` in memory, products with 10-bit mantissas. The
    /// CPU computes in `f32`.
    Tf32,
    /// bfloat16, also in memory: half the memory traffic, and matrix units if the device has them. 7-bit mantissa, the
    /// range of `f32`, so that no loss scaling is needed.
    Bf16,
}

impl Precision {
    /// The input kind for a network with parameters of `kind`.
    pub fn input_kind(self, kind: Kind) -> Kind {
        match self {
            Self::Bf16 if kind == Kind::Float => Kind::BFloat16,
            _ => kind,
        }
    }

    /// Sets whether libtorch may compute `f32` products in TensorFloat-32, for the whole process.
    pub fn set_up(self) {
        device::allow_tf32(self == Self::Tf32);
    }
}
