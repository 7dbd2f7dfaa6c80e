//! Layers as TOML tables, as used in configurations and weights files.

use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::custom::{registered, registered_names};
use super::{EdgeSpec, LayerKind, LayerSpec, NeuronSpec, SynapseSpec};
use crate::names::LAYER_TYPES;
use crate::neuron::{is_neuron, neuron_names};

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
            "scale" => table.try_into().map(Self::Scale),
            "batch_norm" => table.try_into().map(Self::BatchNorm),
            "standardize" => table.try_into().map(Self::Standardize),
            "flatten" if table.is_empty() => Ok(Self::Flatten),
            "relu" if table.is_empty() => Ok(Self::Relu),
            "add" if table.is_empty() => Ok(Self::Add),
            "concat" if table.is_empty() => Ok(Self::Concat),
            "lowpass" | "alpha" => SynapseSpec::from_table(&name, table).map(Self::Synapse),
            "flatten" | "relu" | "add" | "concat" => return Err(format!("{name} takes no parameters")),
            other => {
                if let Some(parse) = registered(other) {
                    return parse(table).map(Self::Custom).map_err(|cause| format!("{name}: {cause}"));
                }
                let built_in = LAYER_TYPES.into_iter().chain(neuron_names()).map(str::to_string);
                let known: Vec<_> = built_in.chain(registered_names()).collect();
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
            Self::Scale(layer) => toml::Table::try_from(layer),
            Self::BatchNorm(layer) => toml::Table::try_from(layer),
            Self::Standardize(layer) => toml::Table::try_from(layer),
            Self::Synapse(synapse) => synapse.to_table(),
            Self::Flatten | Self::Relu | Self::Add | Self::Concat => Ok(toml::Table::new()),
            Self::Neuron(neuron) if is_neuron(neuron.model.name()) => neuron.to_table(),
            Self::Custom(custom) if registered(custom.type_name()).is_some() => match custom.to_table() {
                Some(table) => Ok(table),
                None => return Err(self.is_code()),
            },
            Self::Neuron(_) | Self::Custom(_) => return Err(self.is_code()),
        }
        .map_err(|error| error.to_string())?;
        table.insert("type".to_string(), self.type_name().into());
        Ok(table)
    }
}

impl LayerKind {
    fn is_code(&self) -> String {
        format!(
            "layer `{}` is Rust code: it cannot be written to a file; register its type, or build the network in code and load \
             only its weights",
            self.type_name()
        )
    }
}

impl Serialize for LayerSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut rest = self.kind.to_table().map_err(serde::ser::Error::custom)?;
        // `type` comes first, for readability.
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &rest.remove("type"))?;
        if let Some(name) = &self.name {
            map.serialize_entry("name", name)?;
        }
        if !self.from.is_empty() {
            map.serialize_entry("from", &self.from)?;
        }
        rest.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for LayerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_table(toml::Table::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl LayerSpec {
    pub(super) fn from_table(mut table: toml::Table) -> Result<Self, String> {
        let name = match table.remove("name") {
            Some(toml::Value::String(name)) => Some(name),
            Some(other) => return Err(format!("name = {other}: expected a string")),
            None => None,
        };
        let from = match table.remove("from") {
            Some(from) => edges(from)?,
            None => Vec::new(),
        };
        Ok(Self { name, from, kind: LayerKind::from_table(table)? })
    }
}

/// Parses `from`: a name, or a list of names and tables such as `{ node = "lif1", delayed = true }`.
fn edges(from: toml::Value) -> Result<Vec<EdgeSpec>, String> {
    match from {
        toml::Value::Array(list) if list.is_empty() => Err("from = []: expected at least one input".to_string()),
        toml::Value::Array(list) => list.into_iter().map(edge).collect(),
        one => edge(one).map(|edge| vec![edge]),
    }
}

fn edge(value: toml::Value) -> Result<EdgeSpec, String> {
    let expected = "expected a layer's name, or { node = \"lif1\", delayed = true }";
    match value {
        toml::Value::String(node) => Ok(node.into()),
        toml::Value::Table(table) => {
            let table: EdgeTable =
                table.try_into().map_err(|error: toml::de::Error| format!("from: {}: {expected}", error.message()))?;
            Ok(EdgeSpec { node: table.node, delayed: table.delayed })
        }
        other => Err(format!("from = {other}: {expected}")),
    }
}

/// A delayed input as a table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeTable {
    node: String,
    #[serde(default)]
    delayed: bool,
}

impl Serialize for EdgeSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.delayed {
            false => serializer.serialize_str(&self.node),
            true => EdgeTable { node: self.node.clone(), delayed: true }.serialize(serializer),
        }
    }
}
