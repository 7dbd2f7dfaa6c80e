//! Activations of analog values, without neurons.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

/// `x` above 0, `negative_slope * x` below: [`LayerKind::LeakyRelu`](super::LayerKind::LeakyRelu). Stateless, no
/// spikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakyRelu {
    /// The slope below 0.
    pub negative_slope: f64,
}

impl Default for LeakyRelu {
    /// PyTorch's, 0.01.
    fn default() -> Self {
        Self { negative_slope: 0.01 }
    }
}

impl LeakyRelu {
    pub(super) fn validate(self) -> Result<(), String> {
        match self.negative_slope.is_finite() {
            true => Ok(()),
            false => Err(format!("negative_slope = {} is not valid: expected a number", self.negative_slope)),
        }
    }

    /// Computes the activation; the result has the shape and dtype of `input`, `[B, ..]`.
    pub(super) fn apply(self, input: &Tensor) -> Result<Tensor, TchError> {
        // tch gives its own leaky ReLU no slope; this is the same with the slope as a tensor, its gradient at 0
        // included.
        input.f_prelu(
            &Tensor::f_from_slice(&[self.negative_slope])?.f_to_device(input.device())?.f_to_kind(input.kind())?,
        )
    }
}
