//! Recurrent neurons, written as layers with a delayed edge.

use serde::{Deserialize, Deserializer};

use super::network::names_of;
use super::{EdgeSpec, LayerKind, LayerSpec};

/// Layers to which recurrent neurons can be added: what a specification's list of layers grows in.
///
/// Recurrent neurons are an `add` layer (`hidden_sum`), the neurons (`hidden`) and a layer (`hidden_back`) whose output is read by
/// the sum a timestep later: `J_t = gain * (x_t + back(s_{t-1})) + bias`, with 0 for `back` at the first timestep.
///
/// ```
/// use tch_spiking_core::NetworkSpec;
///
/// let spec: NetworkSpec = toml::from_str(r#"
///     input = [28]
///     layers = [
///         { type = "linear", out_features = 128 },
///         { type = "lif", name = "hidden", recurrent = { type = "linear", out_features = 128 } }, # all to all
///         { type = "lif", recurrent = true },                                                     # one to one, weight 1
///         { type = "linear", out_features = 10 },
///     ]
/// "#)?;
/// let names = spec.layer_names();
/// assert_eq!(names[..6], ["linear1", "hidden_sum", "hidden", "hidden_back", "lif2_sum", "lif2"]);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Layers {
    layers: Vec<LayerSpec>,
    /// What the next layer reads, if it is not the layer before.
    reads: Option<String>,
}

impl Layers {
    /// Adds a layer.
    pub fn push(&mut self, mut layer: LayerSpec) {
        if let Some(node) = self.reads.take()
            && layer.from.is_empty()
        {
            layer.from = vec![node.into()];
        }
        self.layers.push(layer);
    }

    /// Adds `neurons` whose output comes back to their input a timestep later: through the layer `back`, which keeps its
    /// shape, or as it is.
    pub fn push_recurrent(&mut self, mut neurons: LayerSpec, back: Option<LayerSpec>) {
        self.layers.push(neurons.clone());
        let name = names_of(&self.layers).pop().unwrap_or_default();
        self.layers.pop();
        let mut inputs = std::mem::take(&mut neurons.from);
        if inputs.is_empty() {
            let before = self.reads.take().or_else(|| names_of(&self.layers).pop());
            inputs = vec![before.unwrap_or_else(|| EdgeSpec::INPUT.to_string()).into()];
        }
        self.reads = None;
        let comes_back = match &back {
            Some(layer) => layer.name.clone().unwrap_or_else(|| format!("{name}_back")),
            None => name.clone(),
        };
        inputs.push(EdgeSpec::delayed(comes_back.clone()));
        self.layers.push(LayerSpec::from(LayerKind::Add).named(format!("{name}_sum")).reading(inputs));
        self.layers.push(neurons.named(name.clone()));
        if let Some(layer) = back {
            self.layers.push(layer.named(comes_back));
            self.reads = Some(name);
        }
    }

    /// Returns the layers. If the last are recurrent neurons, a sum of one follows that makes them the output.
    pub fn finish(mut self) -> Vec<LayerSpec> {
        if let Some(name) = self.reads.take() {
            let output = LayerSpec::from(LayerKind::Add).named(format!("{name}_output")).reading([name]);
            self.layers.push(output);
        }
        self.layers
    }
}

/// Reads the layers of a network, those with the key `recurrent` too.
pub(super) fn layers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LayerSpec>, D::Error> {
    let mut layers = Layers::default();
    for mut table in Vec::<toml::Table>::deserialize(deserializer)? {
        let recurrent = table.remove("recurrent");
        let layer = LayerSpec::from_table(table).map_err(serde::de::Error::custom)?;
        add(&mut layers, layer, recurrent).map_err(serde::de::Error::custom)?;
    }
    Ok(layers.finish())
}

fn add(layers: &mut Layers, layer: LayerSpec, recurrent: Option<toml::Value>) -> Result<(), String> {
    let expected = "expected true (one to one), or a layer that keeps the shape, such as { type = \"linear\", out_features = 128 }";
    let back = match recurrent {
        None | Some(toml::Value::Boolean(false)) => {
            layers.push(layer);
            return Ok(());
        }
        Some(_) if !matches!(layer.kind, LayerKind::Neuron(_)) => {
            return Err(format!("{}: recurrent is for layers of neurons", layer.kind.type_name()));
        }
        Some(toml::Value::Boolean(true)) => None,
        Some(toml::Value::Table(table)) if table.contains_key("from") => {
            return Err(format!("recurrent: it reads the neurons, without `from`: {expected}"));
        }
        Some(toml::Value::Table(table)) => {
            Some(LayerSpec::from_table(table).map_err(|cause| format!("recurrent: {cause}: {expected}"))?)
        }
        Some(other) => return Err(format!("recurrent = {other}: {expected}")),
    };
    layers.push_recurrent(layer, back);
    Ok(())
}
