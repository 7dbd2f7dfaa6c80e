//! The specification of one layer.

use super::{BatchNorm, Conv2d, Custom, Dropout, LeakyRelu, Linear, NeuronSpec, Pool, Scale, Standardize, SynapseSpec};
use crate::synapse::Synapse;

/// A layer specification: type, name and inputs.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// Name in parameters (`conv1.weight`), probes and messages; by default the type with a number (`conv1`).
    pub name: Option<String>,
    /// The nodes that the layer reads; if empty, the previous node (or the network's input).
    pub from: Vec<EdgeSpec>,
    /// Type and settings.
    pub kind: LayerKind,
}

/// An input of a layer: the name of another node, or `input` for the network's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSpec {
    /// Name of the node.
    pub node: String,
    /// Whether the node's output of the previous timestep is read, which is the only way to close a cycle.
    pub delayed: bool,
}

impl EdgeSpec {
    /// The name of the network's input.
    pub const INPUT: &'static str = "input";

    /// Reads the output of `node` from the previous timestep.
    pub fn delayed(node: impl Into<String>) -> Self {
        Self { node: node.into(), delayed: true }
    }
}

impl<S: Into<String>> From<S> for EdgeSpec {
    fn from(node: S) -> Self {
        Self { node: node.into(), delayed: false }
    }
}

impl LayerSpec {
    /// Sets the name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Sets the nodes that the layer reads.
    #[must_use]
    pub fn reading(self, from: impl IntoIterator<Item = impl Into<EdgeSpec>>) -> Self {
        Self { from: from.into_iter().map(Into::into).collect(), ..self }
    }
}

/// The type and settings of a layer. Shapes are those of one sample; a batch dimension precedes them.
#[derive(Clone, Debug)]
pub enum LayerKind {
    /// Two-dimensional convolution, `[C, H, W]` to `[out_channels, H', W']`.
    Conv2d(Conv2d),
    /// Fully connected, `[features]` to `[out_features]`.
    Linear(Linear),
    /// Average pooling.
    AvgPool(Pool),
    /// Max pooling (of spikes in inference: the output spikes if any input in the window spikes).
    MaxPool(Pool),
    /// Flattens any shape to one dimension, in row-major order.
    Flatten,
    /// Zeroes each element with probability `p` in training and scales the others up; the identity in inference.
    Dropout(Dropout),
    /// `max(x, 0)` of analog values, without neurons, spikes or state: an activation to be converted.
    Relu,
    /// `x` above 0, `negative_slope * x` below, of analog values.
    LeakyRelu(LeakyRelu),
    /// Each element times a weight.
    Scale(Scale),
    /// Batch normalisation, per channel.
    BatchNorm(BatchNorm),
    /// Standardisation by a mean and a standard deviation, per channel.
    Standardize(Standardize),
    /// A layer of neurons.
    Neuron(NeuronSpec),
    /// A synaptic filter over time; passes a constant input through in rate-based training.
    Synapse(SynapseSpec),
    /// The sum of several inputs of equal shape.
    Add,
    /// Concatenation along the first dimension: image channels, or features.
    Concat,
    /// A custom layer.
    Custom(Custom),
}

impl LayerKind {
    /// Returns the type's name in configurations, such as `conv2d` or `lif`.
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
            Self::Scale(_) => "scale",
            Self::BatchNorm(_) => "batch_norm",
            Self::Standardize(_) => "standardize",
            Self::Neuron(neuron) => neuron.model.name(),
            Self::Synapse(synapse) => synapse.synapse.type_name(),
            Self::Add => "add",
            Self::Concat => "concat",
            Self::Custom(custom) => custom.type_name(),
        }
    }

    /// Returns the stem of default names, before the number: `conv`, `linear`, `lif` ..
    pub(super) fn name_stem(&self) -> &str {
        match self {
            Self::Conv2d(_) => "conv",
            Self::AvgPool(_) | Self::MaxPool(_) => "pool",
            Self::Linear(_)
            | Self::Flatten
            | Self::Dropout(_)
            | Self::Relu
            | Self::LeakyRelu(_)
            | Self::Scale(_)
            | Self::BatchNorm(_)
            | Self::Standardize(_)
            | Self::Neuron(_)
            | Self::Synapse(_)
            | Self::Add
            | Self::Concat
            | Self::Custom(_) => self.type_name(),
        }
    }

    /// Returns whether the layer accepts several inputs.
    pub fn takes_several(&self) -> bool {
        matches!(self, Self::Add | Self::Concat) || matches!(self, Self::Custom(custom) if custom.takes_several())
    }
}

impl From<Synapse> for LayerSpec {
    fn from(synapse: Synapse) -> Self {
        SynapseSpec::new(synapse).into()
    }
}

impl From<LayerKind> for LayerSpec {
    fn from(kind: LayerKind) -> Self {
        Self { name: None, from: Vec::new(), kind }
    }
}

macro_rules! layer_from {
    ($($type:ident => $kind:ident),*) => {
        $(impl From<$type> for LayerSpec {
            fn from(layer: $type) -> Self {
                LayerKind::$kind(layer).into()
            }
        })*
    };
}
layer_from!(
    Conv2d => Conv2d,
    Linear => Linear,
    Dropout => Dropout,
    LeakyRelu => LeakyRelu,
    Scale => Scale,
    BatchNorm => BatchNorm,
    Standardize => Standardize,
    SynapseSpec => Synapse,
    NeuronSpec => Neuron,
    Custom => Custom
);
