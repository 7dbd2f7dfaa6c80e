//! Layers as tables: what configurations and weights files hold.

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{LayerKind, LayerSpec, NeuronSpec};
use crate::neuron::{is_neuron, neuron_names};

/// The types of layers without neurons.
const PLAIN: [&str; 11] = [
    "conv2d",
    "linear",
    "avg_pool",
    "max_pool",
    "flatten",
    "dropout",
    "relu",
    "leaky_relu",
    "batch_norm",
    "lowpass",
    "alpha",
];

impl LayerKind {
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
            "leaky_relu" => table.try_into().map(Self::LeakyRelu),
            "batch_norm" => table.try_into().map(Self::BatchNorm),
            "flatten" if table.is_empty() => Ok(Self::Flatten),
            "relu" if table.is_empty() => Ok(Self::Relu),
            "lowpass" | "alpha" => {
                table.insert("type".to_string(), name.clone().into());
                table.try_into().map(Self::Synapse)
            }
            "flatten" | "relu" => return Err(format!("{name} takes no parameters")),
            _ => {
                let known: Vec<_> = PLAIN.into_iter().chain(neuron_names()).collect();
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
            Self::LeakyRelu(layer) => toml::Table::try_from(layer),
            Self::BatchNorm(layer) => toml::Table::try_from(layer),
            Self::Synapse(synapse) => toml::Table::try_from(synapse),
            Self::Flatten | Self::Relu => Ok(toml::Table::new()),
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
