//! In which numbers a training computes.

use serde::{Deserialize, Serialize};
use tch::Kind;

use crate::device;

/// The numbers that convolutions and linear layers compute with in training. Parameters, their gradients, the optimiser and
/// the arithmetic of the neurons are `f32` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// `f32` throughout.
    #[default]
    F32,
    /// TensorFloat-32 on CUDA devices that have it: `f32` in memory, products of numbers with 10 bits behind the point. The
    /// processor has no such thing and computes in `f32`.
    Tf32,
    /// bfloat16, in memory too: half the traffic, and matrix units where the device has them. 7 bits behind the point, the
    /// range of `f32`, so that no loss scaling is needed.
    Bf16,
}

impl Precision {
    /// The kind of images to give to a network whose parameters are of `kind`.
    pub fn input_kind(self, kind: Kind) -> Kind {
        match self {
            Self::Bf16 if kind == Kind::Float => Kind::BFloat16,
            _ => kind,
        }
    }

    /// Tells libtorch whether `f32` products may be computed in TensorFloat-32: a setting of the whole process.
    pub fn set_up(self) {
        device::allow_tf32(self == Self::Tf32);
    }
}
