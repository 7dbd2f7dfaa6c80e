//! Settings of the layers without state.

use serde::{Deserialize, Serialize};

use super::{Initializer, Pair};

/// Settings of [`LayerKind::Conv2d`](super::LayerKind::Conv2d).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv2d {
    /// Number of filters: the channels of the output.
    pub out_channels: i64,
    /// Height and width of the kernel.
    pub kernel: Pair,
    /// Stride of the window.
    #[serde(default = "Pair::one")]
    pub stride: Pair,
    /// Zeros added on each side.
    #[serde(default)]
    pub padding: Pair,
    /// Step between the kernel's elements.
    #[serde(default = "Pair::one")]
    pub dilation: Pair,
    /// Number of channel groups that are convolved separately.
    #[serde(default = "one")]
    pub groups: i64,
    /// Whether each output channel has a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Initialiser of the weights; biases start at 0.
    #[serde(default)]
    pub init: Initializer,
}

impl Conv2d {
    /// Creates a convolution with stride 1 and no padding.
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

    /// Sets the stride.
    #[must_use]
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: stride.into(), ..self }
    }

    /// Sets the zero padding around the image.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// Sets the dilation, the spacing between the kernel's elements.
    #[must_use]
    pub fn dilation(self, dilation: impl Into<Pair>) -> Self {
        Self { dilation: dilation.into(), ..self }
    }

    /// Sets the number of channel groups that are convolved separately.
    #[must_use]
    pub fn groups(self, groups: i64) -> Self {
        Self { groups, ..self }
    }

    /// Removes the biases.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Sets the initialiser of the weights.
    #[must_use]
    pub fn init(self, init: Initializer) -> Self {
        Self { init, ..self }
    }
}

/// Settings of [`LayerKind::Linear`](super::LayerKind::Linear).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Number of output features.
    pub out_features: i64,
    /// Whether each output has a bias.
    #[serde(default = "yes")]
    pub bias: bool,
    /// Initialiser of the weights; biases start at 0.
    #[serde(default)]
    pub init: Initializer,
}

impl Linear {
    /// Creates a linear layer with a bias.
    pub fn new(out_features: i64) -> Self {
        Self { out_features, bias: true, init: Initializer::default() }
    }

    /// Removes the biases.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Sets the initialiser of the weights.
    #[must_use]
    pub fn init(self, init: Initializer) -> Self {
        Self { init, ..self }
    }
}

/// Settings of [`LayerKind::AvgPool`](super::LayerKind::AvgPool) and [`LayerKind::MaxPool`](super::LayerKind::MaxPool).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// Height and width of the window.
    pub kernel: Pair,
    /// Stride of the window; by default the size of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<Pair>,
    /// Zeros (minus infinity for max pooling) added on each side.
    #[serde(default)]
    pub padding: Pair,
}

impl Pool {
    /// Creates a pooling layer with adjacent windows.
    pub fn new(kernel: impl Into<Pair>) -> Self {
        Self { kernel: kernel.into(), stride: None, padding: Pair::default() }
    }

    /// Sets the stride of the window.
    #[must_use]
    pub fn stride(self, stride: impl Into<Pair>) -> Self {
        Self { stride: Some(stride.into()), ..self }
    }

    /// Sets the padding around the image.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self { padding: padding.into(), ..self }
    }

    /// Returns the stride of the window.
    pub fn step(&self) -> Pair {
        self.stride.unwrap_or(self.kernel)
    }
}

/// Settings of [`LayerKind::Dropout`](super::LayerKind::Dropout).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// Probability of zeroing an element, in [0, 1).
    pub p: f64,
}

impl Dropout {
    /// Creates dropout with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }
}

/// Settings of [`LayerKind::LeakyRelu`](super::LayerKind::LeakyRelu): `x` above 0, `negative_slope * x` below.
/// Stateless, no spikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakyRelu {
    /// The slope below 0.
    pub negative_slope: f64,
}

impl LeakyRelu {
    /// Creates a leaky ReLU with this slope below 0.
    pub fn new(negative_slope: f64) -> Self {
        Self { negative_slope }
    }
}

impl Default for LeakyRelu {
    /// Returns PyTorch's default slope, 0.01.
    fn default() -> Self {
        Self { negative_slope: 0.01 }
    }
}

/// Settings of batch normalisation, per channel of `[C, H, W]` or per feature:
/// `weight (x - mean) / sqrt(var + eps) + bias` (Ioffe & Szegedy 2015), with PyTorch's names, defaults and running
/// statistics.
///
/// In training, mean and variance are those of the batch, and the running statistics are updated with `momentum` (using
/// the unbiased variance); otherwise the running statistics are used. They are saved with the parameters as
/// `running_mean` and `running_var`. In mixed precision the layer computes in `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNorm {
    /// Added to the variance for numerical stability, 0 or more.
    pub eps: f64,
    /// Update rate of the running statistics per training step, 0 to 1.
    pub momentum: f64,
    /// Whether each channel has a trainable weight and bias.
    pub affine: bool,
}

impl BatchNorm {
    /// Sets the number added to the variance.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        Self { eps, ..self }
    }

    /// Sets the update rate of the running statistics.
    #[must_use]
    pub fn momentum(self, momentum: f64) -> Self {
        Self { momentum, ..self }
    }

    /// Removes weight and bias.
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

/// Settings of [`LayerKind::Scale`](super::LayerKind::Scale): each element times a weight of its own, or all times one.
///
/// On the way back of recurrent neurons it makes one-to-one connections with learned weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scale {
    /// The initial weight.
    pub weight: f64,
    /// Whether all elements share one weight.
    pub shared: bool,
    /// Whether the weights are trained.
    pub trainable: bool,
}

impl Scale {
    /// Creates a layer with a trained weight for each element, which starts at `weight`.
    pub fn new(weight: f64) -> Self {
        Self { weight, ..Self::default() }
    }

    /// Makes all elements share one weight.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Keeps the weights as they are.
    #[must_use]
    pub fn fixed(self) -> Self {
        Self { trainable: false, ..self }
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self { weight: 1.0, shared: false, trainable: true }
    }
}

fn one() -> i64 {
    1
}

fn yes() -> bool {
    true
}
