//! Clipping of gradients before a step.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::TrainError;
use crate::error::Result;

/// The largest gradient of a step: `training.clipping`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Clipping {
    /// Gradients are taken as they are.
    #[default]
    None,
    /// All gradients are scaled by one factor, so that their Euclidean norm over all parameters is at most `limit`:
    /// `min(1, limit / (norm + 1e-6))`, as in PyTorch.
    Norm {
        /// The largest norm.
        limit: f64,
    },
    /// Every element is moved into `-limit` to `limit`.
    Value {
        /// The largest absolute value.
        limit: f64,
    },
}

impl Clipping {
    /// # Errors
    /// If the limit is not valid.
    pub fn validate(self) -> Result<(), TrainError> {
        match self {
            Self::Norm { limit } | Self::Value { limit } if !(limit > 0.0 && limit.is_finite()) => {
                Err(TrainError::config("training.clipping", "limit", limit, "a number above 0"))
            }
            _ => Ok(()),
        }
    }

    /// Clips `gradients`, those of all parameters, in place.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn apply(self, gradients: &[Tensor]) -> Result<()> {
        let _without_gradient = tch::no_grad_guard();
        match self {
            Self::None => {}
            Self::Norm { .. } if gradients.is_empty() => {}
            Self::Norm { limit } => {
                let norms = gradients.iter().map(|gradient| gradient.f_norm()).collect::<Result<Vec<_>, _>>()?;
                let norm = Tensor::f_stack(&norms, 0)?.f_norm()?;
                // On the device: the host does not wait.
                let factor = norm.f_add_scalar(1e-6)?.f_reciprocal()?.f_mul_scalar(limit)?.f_clamp_max(1.0)?;
                for gradient in gradients {
                    let _ = gradient.shallow_clone().f_mul_(&factor)?;
                }
            }
            Self::Value { limit } => {
                for gradient in gradients {
                    let _ = gradient.shallow_clone().f_clamp_(-limit, limit)?;
                }
            }
        }
        Ok(())
    }

    /// Whether it is the default, which is omitted in files.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clipped(clipping: Clipping) -> Vec<f64> {
        let gradients = [Tensor::from_slice(&[3.0, 4.0]), Tensor::from_slice(&[-12.0])];
        clipping.apply(&gradients).unwrap();
        gradients.iter().flat_map(|gradient| Vec::<f64>::try_from(gradient).unwrap()).collect()
    }

    #[test]
    fn gradients_are_clipped_as_in_pytorch() {
        let close = |ours: &[f64], expected: &[f64]| ours.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12);
        let expected = [0.46153842603550577, 0.615384568047341, -1.846153704142023];
        assert!(close(&clipped(Clipping::Norm { limit: 2.0 }), &expected));
        assert_eq!(clipped(Clipping::Norm { limit: 20.0 }), [3.0, 4.0, -12.0]);
        assert_eq!(clipped(Clipping::Value { limit: 3.5 }), [3.0, 3.5, -3.5]);
        assert_eq!(clipped(Clipping::None), [3.0, 4.0, -12.0]);
        assert!(Clipping::Value { limit: 0.0 }.validate().is_err());
    }
}
