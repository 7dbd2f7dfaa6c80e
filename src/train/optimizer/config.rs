//! The choice of the optimiser and its parameters.

use serde::{Deserialize, Serialize};

use crate::train::TrainError;

/// The optimiser and its parameters. The learning rate is separate: it follows a [`Schedule`](crate::train::Schedule).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// RMSprop: `v = rho v + (1 - rho) g^2`, step `lr g / sqrt(v + epsilon)`: epsilon inside the root, as in Keras
    /// (PyTorch has it outside).
    Rmsprop {
        /// Decay rate of the moving average of squared gradients.
        #[serde(default = "rho")]
        rho: f64,
        /// Added to the mean square, for numerical stability.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Coefficient of the L2 penalty: `g` becomes `g + weight_decay p`, as in PyTorch.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam, Kingma & Ba (2015), in the last form of section 2, as in Keras: step
    /// `lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + epsilon)`. With `weight_decay` above 0, parameters also decay
    /// by `lr weight_decay` per step, as in AdamW.
    Adam {
        /// Decay rate of the moving average of gradients.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay rate of the moving average of squared gradients.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root, for numerical stability.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Decoupled weight decay coefficient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// AdamW, Loshchilov & Hutter (2019), as in PyTorch: parameters decay by `lr weight_decay`, then the step is
    /// `lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)`.
    Adamw {
        /// Decay rate of the moving average of gradients.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay rate of the moving average of squared gradients.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root, for numerical stability.
        #[serde(default = "epsilon_of_adamw")]
        epsilon: f64,
        /// Decoupled weight decay coefficient.
        #[serde(default = "decay_of_adamw")]
        weight_decay: f64,
    },
    /// Stochastic gradient descent: `m = momentum m - lr g`, step `m`, or with `nesterov` `momentum m - lr g`.
    Sgd {
        /// The momentum coefficient.
        #[serde(default)]
        momentum: f64,
        /// Whether to use Nesterov momentum.
        #[serde(default)]
        nesterov: bool,
        /// Coefficient of the L2 penalty: `g` becomes `g + weight_decay p`, as in PyTorch.
        #[serde(default)]
        weight_decay: f64,
    },
}

fn rho() -> f64 {
    0.9
}
fn beta1() -> f64 {
    0.9
}
fn beta2() -> f64 {
    0.999
}
fn epsilon() -> f64 {
    1e-7
}
fn epsilon_of_adamw() -> f64 {
    1e-8
}
fn decay_of_adamw() -> f64 {
    0.01
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Rmsprop { rho: rho(), epsilon: epsilon(), weight_decay: 0.0 }
    }
}

impl OptimizerConfig {
    /// Adam with the standard parameters, without weight decay.
    pub fn adam() -> Self {
        Self::Adam { beta1: beta1(), beta2: beta2(), epsilon: epsilon(), weight_decay: 0.0 }
    }

    /// AdamW with the parameters of PyTorch.
    pub fn adamw() -> Self {
        Self::Adamw { beta1: beta1(), beta2: beta2(), epsilon: epsilon_of_adamw(), weight_decay: decay_of_adamw() }
    }

    /// Stochastic gradient descent without momentum and weight decay.
    pub fn sgd() -> Self {
        Self::Sgd { momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }

    /// The coefficient of the L2 penalty.
    pub(super) fn penalty(self) -> f64 {
        match self {
            Self::Rmsprop { weight_decay, .. } | Self::Sgd { weight_decay, .. } => weight_decay,
            Self::Adam { .. } | Self::Adamw { .. } => 0.0,
        }
    }

    /// The names of the state tensors per parameter.
    pub(super) fn slots(self) -> &'static [&'static str] {
        match self {
            Self::Rmsprop { .. } => &["mean_square"],
            Self::Adam { .. } | Self::Adamw { .. } => &["mean", "mean_square"],
            Self::Sgd { momentum, .. } if momentum > 0.0 => &["momentum"],
            Self::Sgd { .. } => &[],
        }
    }

    /// # Errors
    /// If a parameter is not valid; the error names it.
    pub fn validate(self) -> Result<(), TrainError> {
        let fraction = |name, value: f64| match (0.0..1.0).contains(&value) {
            true => Ok(()),
            false => Err(TrainError::config("training.optimizer", name, value, "a number of 0 or more and below 1")),
        };
        // Added to squares of gradients in `f32`.
        let positive = |name, value: f64| match (1e-38..=1e30).contains(&value) {
            true => Ok(()),
            false => Err(TrainError::config("training.optimizer", name, value, "a number above 0, 1e-38 to 1e30")),
        };
        match self {
            Self::Rmsprop { rho, epsilon, weight_decay } => {
                fraction("rho", rho).and(positive("epsilon", epsilon)).and(fraction("weight_decay", weight_decay))
            }
            Self::Adam { beta1, beta2, epsilon, weight_decay }
            | Self::Adamw { beta1, beta2, epsilon, weight_decay } => fraction("beta1", beta1)
                .and(fraction("beta2", beta2))
                .and(positive("epsilon", epsilon))
                .and(fraction("weight_decay", weight_decay)),
            Self::Sgd { momentum, weight_decay, .. } => {
                fraction("momentum", momentum).and(fraction("weight_decay", weight_decay))
            }
        }
    }
}
