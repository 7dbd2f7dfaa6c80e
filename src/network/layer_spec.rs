//! One layer, as written in a configuration.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::{BatchNorm, Initializer, LeakyRelu, NeuronSpec, Pair};
use crate::synapse::Synapse;

/// A layer and, if it is to have one other than its kind and number (`conv1`), its name.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// The name in parameters (`conv1.weight`), probes and messages.
    pub name: Option<String>,
    /// What the layer does.
    pub kind: LayerKind,
}

/// What a layer does. Shapes are those of one image; a batch dimension comes before.
#[derive(Clone, Debug)]
pub enum LayerKind {
    /// Two-dimensional convolution, `[C, H, W]` to `[out_channels, H', W']`.
    Conv2d(Conv2d),
    /// Fully connected, `[features]` to `[out_features]`.
    Linear(Linear),
    /// Mean over windows.
    AvgPool(Pool),
    /// Maximum over windows (of spikes in inference: a max pool passes a spike on if any input spikes).
    MaxPool(Pool),
    /// Any shape to one dimension, in the order of the shape.
    Flatten,
    /// Zeroes each element with probability `p` in training and scales the others up; nothing in inference.
    Dropout(Dropout),
    /// `max(x, 0)` of analog values: no neurons, no spikes, no state. What a network has before it is converted.
    Relu,
    /// The same with a slope below 0.
    LeakyRelu(LeakyRelu),
    /// Normalisation of each channel over the batch.
    BatchNorm(BatchNorm),
    /// A layer of neurons.
    Neuron(NeuronSpec),
    /// A filter over time; passes through in training.
    Synapse(Synapse),
    /// A tensor operation of the user's own.
    Custom(Custom),
}

/// Parameters of [`LayerKind::Conv2d`].
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
}

/// Parameters of [`LayerKind::Linear`].
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
}

/// Parameters of [`LayerKind::AvgPool`] and [`LayerKind::MaxPool`].
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
}

/// Parameters of [`LayerKind::Dropout`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropout {
    /// The probability of an element to be zeroed, 0 or more and below 1.
    pub p: f64,
}

type Operation = dyn Fn(&Tensor) -> Result<Tensor, TchError> + Send + Sync;

/// A stateless tensor operation on a batch, `[B, ..]` to `[B, ..]`, given as a closure.
#[derive(Clone)]
pub struct Custom {
    /// What to call it in names and messages.
    pub label: String,
    operation: Arc<Operation>,
}

impl Custom {
    /// Wraps `operation`; it must treat the images of a batch alike and apart, since timesteps are folded into the batch.
    pub fn new(
        label: impl Into<String>,
        operation: impl Fn(&Tensor) -> Result<Tensor, TchError> + Send + Sync + 'static,
    ) -> Self {
        Self { label: label.into(), operation: Arc::new(operation) }
    }

    /// Applies it.
    ///
    /// # Errors
    /// Those of the closure.
    pub fn apply(&self, input: &Tensor) -> Result<Tensor, TchError> {
        (self.operation)(input)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Custom").field("label", &self.label).finish_non_exhaustive()
    }
}

fn one() -> i64 {
    1
}

fn yes() -> bool {
    true
}

impl From<LayerKind> for LayerSpec {
    fn from(kind: LayerKind) -> Self {
        Self { name: None, kind }
    }
}

macro_rules! layer_from {
    ($($kind:ident),*) => {
        $(impl From<$kind> for LayerSpec {
            fn from(kind: $kind) -> Self {
                LayerKind::$kind(kind).into()
            }
        })*
    };
}
layer_from!(Conv2d, Linear, Dropout, LeakyRelu, BatchNorm, Synapse, Custom);

impl From<NeuronSpec> for LayerSpec {
    fn from(neuron: NeuronSpec) -> Self {
        LayerKind::Neuron(neuron).into()
    }
}

impl LayerKind {
    /// The type as configurations name it: `conv2d`, `lif` ..
    pub fn type_name(&self) -> &str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::Linear(_) => "linear",
            Self::AvgPool(_) => "avg_pool",
            Self::MaxPool(_) => "max_pool",
            Self::Flatten => "flatten",
            Self::Dropout(_) => "dropout",
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::BatchNorm(_) => "batch_norm",
            Self::Neuron(neuron) => neuron.model.name(),
            Self::Synapse(Synapse::Lowpass { .. }) => "lowpass",
            Self::Synapse(Synapse::Alpha { .. }) => "alpha",
            Self::Custom(custom) => &custom.label,
        }
    }

    /// What layers of this kind are called, before their number: `conv`, `linear`, `lif` ..
    pub(super) fn name_stem(&self) -> &str {
        match self {
            Self::Conv2d(_) => "conv",
            Self::AvgPool(_) | Self::MaxPool(_) => "pool",
            _ => self.type_name(),
        }
    }
}
