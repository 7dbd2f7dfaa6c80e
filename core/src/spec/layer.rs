//! One layer of a specification.

use super::{BatchNorm, Conv2d, Custom, Dropout, LeakyRelu, Linear, NeuronSpec, Pool};
use crate::synapse::Synapse;

/// A layer: what it does, what it is called, and where its inputs come from.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// The name in parameters (`conv1.weight`), probes and messages; if none is given, the kind and a number (`conv1`).
    pub name: Option<String>,
    /// The nodes that it reads; empty for the node before (or the network's input).
    pub from: Vec<EdgeSpec>,
    /// What the layer does.
    pub kind: LayerKind,
}

/// An input of a layer: the name of another node, or `input` for the network's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSpec {
    /// The node's name.
    pub node: String,
    /// Whether its output is read one timestep later, which is the only way to close a cycle.
    pub delayed: bool,
}

impl EdgeSpec {
    /// The name of the network's input.
    pub const INPUT: &'static str = "input";

    /// The output of `node` one timestep later.
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
    /// The same under this name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// The same, reading these nodes.
    #[must_use]
    pub fn reading(self, from: impl IntoIterator<Item = impl Into<EdgeSpec>>) -> Self {
        Self { from: from.into_iter().map(Into::into).collect(), ..self }
    }
}

/// What a layer does. Shapes are those of one sample; a batch dimension comes before.
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
    /// A filter over time; passes its input through in training as rates.
    Synapse(Synapse),
    /// The sum of several inputs of one shape.
    Add,
    /// Several inputs one after the other along the first dimension: channels of images, or features.
    Concat,
    /// A layer of a program's own.
    Custom(Custom),
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
            Self::Synapse(synapse) => synapse.type_name(),
            Self::Add => "add",
            Self::Concat => "concat",
            Self::Custom(custom) => custom.type_name(),
        }
    }

    /// What layers of this kind are called, before their number: `conv`, `linear`, `lif` ..
    pub(super) fn name_stem(&self) -> &str {
        match self {
            Self::Conv2d(_) => "conv",
            Self::AvgPool(_) | Self::MaxPool(_) => "pool",
            Self::Linear(_)
            | Self::Flatten
            | Self::Dropout(_)
            | Self::Relu
            | Self::LeakyRelu(_)
            | Self::BatchNorm(_)
            | Self::Neuron(_)
            | Self::Synapse(_)
            | Self::Add
            | Self::Concat
            | Self::Custom(_) => self.type_name(),
        }
    }

    /// Whether it takes several inputs.
    pub fn takes_several(&self) -> bool {
        matches!(self, Self::Add | Self::Concat) || matches!(self, Self::Custom(custom) if custom.takes_several())
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
    BatchNorm => BatchNorm,
    Synapse => Synapse,
    NeuronSpec => Neuron,
    Custom => Custom
);
