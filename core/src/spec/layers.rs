//! The parameters of the layers without state.

use serde::{Deserialize, Serialize};

use super::{Initializer, Pair};

/// Parameters of [`LayerKind::Conv2d`](super::LayerKind::Conv2d).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Filters, the channels of the output.
    pub out_channels: i64,
    /// Height and width of the kernel.
    pub kernel: Pair,
    /// Step between windows.
    #[serde(default = "Pair::one")]
    pub stride: Pair,
    /// Zeros added on each side.
    #[serde(default)]
    pub padding: Pair,
    /// Step between the kernel's elements.
    #[serde(default = "Pair::one")]
    pub dilation: Pair,
    /// Blocks of channels that do not see each other.
    #[serde(default = "one")]
    pub groups: i64,
    /// Whether each output channel has a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// How the weights start; biases start at 0.
    #[serde(default)]
    pub init: Initializer,
}

impl Conv2d {
    /// A convolution without padding, of stride 1.
    pub fn new(out_channels: i64, kernel: impl Into<Pair>) -> Self {
        Self {
            out_channels,
            kernel: kernel.into(),
            stride: Pair::one(),
            padding: Pair::default(),
            dilation: Pair::one(),
            groups: 1,
            bias: true,
            init: Initializer::default(),
        }
    }

    /// The same with another stride.
    #[must_use]
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// The same with zeros added around the image.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// The same with gaps between the kernel's elements.
    #[must_use]
    pub fn dilation(self, dilation: impl Into<Pair>) -> Self {
        Self { dilation: dilation.into(), ..self }
    }

    /// The same in `groups` blocks of channels that do not see each other.
    #[must_use]
    pub fn groups(self, groups: i64) -> Self {
        Self { groups, ..self }
    }

    /// The same without biases.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// The same with weights that start otherwise.
    #[must_use]
    pub fn init(self, init: Initializer) -> Self {
        Self { init, ..self }
    }
}

/// Parameters of [`LayerKind::Linear`](super::LayerKind::Linear).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Features of the output.
    pub out_features: i64,
    /// Whether each output has a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// How the weights start; biases start at 0.
    #[serde(default)]
    pub init: Initializer,
}

impl Linear {
    /// A linear layer with a bias.
    pub fn new(out_features: i64) -> Self {
        Self { out_features, bias: true, init: Initializer::default() }
    }

    /// The same without biases.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// The same with weights that start otherwise.
    #[must_use]
    pub fn init(self, init: Initializer) -> Self {
        Self { init, ..self }
    }
}

/// Parameters of [`LayerKind::AvgPool`](super::LayerKind::AvgPool) and [`LayerKind::MaxPool`](super::LayerKind::MaxPool).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Height and width of the window.
    pub kernel: Pair,
    /// Step between windows; the window's size if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<Pair>,
    /// Zeros (minus infinity for a maximum) added on each side.
    #[serde(default)]
    pub padding: Pair,
}

impl Pool {
    /// Windows side by side.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        Self { kernel: kernel.into(), stride: None, padding: Pair::default() }
    }

    /// The same with another step between windows.
    #[must_use]
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: Some(stride.into()), ..self }
    }

    /// The same with a margin around the image.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// The step between windows.
    pub fn step(&self) -> Pair {
        self.stride.unwrap_or(self.kernel)
    }
}

/// Parameters of [`LayerKind::Dropout`](super::LayerKind::Dropout).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// The probability of an element to be zeroed, 0 or more and below 1.
    pub p: f64,
}

impl Dropout {
    /// Dropout with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }
}

/// `x` above 0, `negative_slope * x` below: [`LayerKind::LeakyRelu`](super::LayerKind::LeakyRelu). Stateless, no spikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakyRelu {
    /// The slope below 0.
    pub negative_slope: f64,
}

impl LeakyRelu {
    /// With this slope below 0.
    pub fn new(negative_slope: f64) -> Self {
        Self { negative_slope }
    }
}

impl Default for LeakyRelu {
    /// PyTorch's, 0.01.
    fn default() -> Self {
        Self { negative_slope: 0.01 }
    }
}

/// Normalisation of each channel of `[C, H, W]`, or each feature: `weight (x - mean) / sqrt(var + eps) + bias` (Ioffe &
/// Szegedy 2015), with PyTorch's names, defaults and running statistics.
///
/// In training, mean and variance are those of the batch, and the running ones move towards them by `momentum` (with the
/// variance divided by one value fewer); otherwise they are the running ones, which are saved with the parameters as
/// `running_mean` and `running_var`. In mixed precision all of it stays `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNorm {
    /// Added to the variance, 0 or more.
    pub eps: f64,
    /// By how much of the way the running statistics move in a training step, 0 to 1.
    pub momentum: f64,
    /// Whether each channel has a trained weight and bias.
    pub affine: bool,
}

impl BatchNorm {
    /// The same with another number added to the variance.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// The same with running statistics that move by another share.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }

    /// The same without weight and bias.
    #[must_use]
    pub fn without_affine(self) -> Self {
        Self { affine: false, ..self }
    }
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, affine: true }
    }
}

fn one() -> i64 {
    1
}

fn yes() -> bool {
    true
}
