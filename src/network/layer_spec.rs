//! One layer, as written in a configuration.

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tch::{TchError, Tensor};

use super::{Initializer, NeuronSpec, Pair};
use crate::neuron::{is_neuron, neuron_names};
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
layer_from!(Conv2d, Linear, Dropout, Synapse, Custom);

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

    fn from_table(mut table: toml::Table) -> Result<Self, String> {
        let name = match table.remove("type") {
            Some(toml::Value::String(name)) => name,
            Some(other) => return Err(format!("type = {other}: expected a layer's type, such as \"conv2d\"")),
            None => return Err("a layer without `type`, such as type = \"conv2d\"".to_string()),
        };
        if is_neuron(&name) {
            return NeuronSpec::from_table(&name, table).map(Self::Neuron);
        }
        let parsed = match name.as_str() {
            "conv2d" => table.try_into().map(Self::Conv2d),
            "linear" => table.try_into().map(Self::Linear),
            "avg_pool" => table.try_into().map(Self::AvgPool),
            "max_pool" => table.try_into().map(Self::MaxPool),
            "dropout" => table.try_into().map(Self::Dropout),
            "flatten" if table.is_empty() => Ok(Self::Flatten),
            "lowpass" | "alpha" => {
                table.insert("type".to_string(), name.clone().into());
                table.try_into().map(Self::Synapse)
            }
            "flatten" => return Err("flatten takes no parameters".to_string()),
            _ => {
                let plain = ["conv2d", "linear", "avg_pool", "max_pool", "flatten", "dropout", "lowpass", "alpha"];
                let known: Vec<_> = plain.into_iter().chain(neuron_names()).collect();
                return Err(format!("unknown layer type `{name}`, expected one of `{}`", known.join("`, `")));
            }
        };
        parsed.map_err(|error: toml::de::Error| format!("{name}: {}", error.message()))
    }

    fn to_table(&self) -> Result<toml::Table, String> {
        let mut table = match self {
            Self::Conv2d(layer) => toml::Table::try_from(layer),
            Self::Linear(layer) => toml::Table::try_from(layer),
            Self::AvgPool(layer) | Self::MaxPool(layer) => toml::Table::try_from(layer),
            Self::Dropout(layer) => toml::Table::try_from(layer),
            Self::Synapse(synapse) => toml::Table::try_from(synapse),
            Self::Flatten => Ok(toml::Table::new()),
            Self::Neuron(neuron) if is_neuron(neuron.model.name()) => neuron.to_table(),
            Self::Neuron(_) | Self::Custom(_) => {
                return Err(format!(
                    "layer `{}` is Rust code: it cannot be written to a file; build the network in code and load only \
                     its weights",
                    self.type_name()
                ));
            }
        }
        .map_err(|error| error.to_string())?;
        table.insert("type".to_string(), self.type_name().into());
        Ok(table)
    }
}

impl Serialize for LayerSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rest = self.kind.to_table().map_err(serde::ser::Error::custom)?;
        // The type first, as a person would write it.
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &rest.remove("type"))?;
        if let Some(name) = &self.name {
            map.serialize_entry("name", name)?;
        }
        rest.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for LayerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let name = match table.remove("name") {
            Some(toml::Value::String(name)) => Some(name),
            Some(other) => return Err(D::Error::custom(format!("name = {other}: expected a text"))),
            None => None,
        };
        let kind = LayerKind::from_table(table).map_err(D::Error::custom)?;
        Ok(Self { name, kind })
    }
}
