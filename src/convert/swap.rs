//! Swaps: the neurons that replace an activation.

use std::str::FromStr;

use super::ConvertError;
use crate::network::{Distribution, LayerKind, NeuronSpec, Tuning};
use crate::neuron::{is_neuron, neuron_from_parameters, neuron_names};

/// Hunsberger & Eliasmith (2016).
const SOFT_LIF_SMOOTHING: f64 = 0.02;
/// The default amplitude of neurons with a bounded rate: 100 Hz represent 1.
const BOUNDED_AMPLITUDE: f64 = 0.01;

/// An activation, or all of a type, and the neurons that replace it.
///
/// Written `relu=spiking-relu`, `relu1=lif`, `relu=lif{tau_rc=0.02,amplitude=0.01}`, `lif=soft-lif`: the type or name
/// of a layer, and a neuron model with any of the parameters that a configuration can give it. `spiking-relu` is
/// `rectified_linear`, `soft-lif` is `lif` with a `smoothing` (0.02 if not given).
///
/// Neurons that replace a ReLU are tuned to output 0 at `x = 0` and 1 at `x = 1`, unless gain or rates are given:
/// `max_rate = 1 / amplitude` and `intercept = 0`. Rectified-linear ones equal the ReLU then, for every amplitude (1 if
/// not given); LIF neurons (amplitude 0.01 if not given) deviate from it. Neurons that replace other neurons receive
/// the same currents, and keep the parameters that both models have.
///
/// ```
/// use tch_spiking::convert::Swap;
///
/// let swap: Swap = "relu=lif{tau_rc=0.03}".parse()?;
/// assert_eq!(swap.to_string(), "relu=lif{tau_rc = 0.03}");
/// assert!("relu=lif{tau=0.03}".parse::<Swap>().is_err());
/// # Ok::<(), tch_spiking::convert::ConvertError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Swap {
    /// A layer's name or type.
    pub from: String,
    model: &'static str,
    parameters: toml::Table,
}

impl Swap {
    /// Replaces every ReLU by spiking rectified-linear neurons, whose rate equals it.
    pub(super) fn relu() -> Self {
        Self { from: "relu".to_string(), model: "rectified_linear", parameters: toml::Table::new() }
    }

    /// Whether it is for the layer named `name`, rather than for a type.
    pub(super) fn names(&self, name: &str) -> bool {
        self.from == name
    }

    /// Whether it is for all layers of the type of `kind`.
    pub(super) fn names_type(&self, kind: &LayerKind) -> bool {
        canonical(&self.from) == kind.type_name()
    }

    /// The neurons that replace an activation or other neurons.
    pub(super) fn neurons(&self, replaced: &LayerKind) -> Result<NeuronSpec, String> {
        match replaced {
            LayerKind::Neuron(old) => self.in_place_of_neurons(old),
            _ => self.in_place_of_relu(),
        }
    }

    fn in_place_of_relu(&self) -> Result<NeuronSpec, String> {
        let mut table = self.parameters.clone();
        // The weights before the neurons have a bias already.
        table.entry("trainable_bias").or_insert(false.into());
        if table.contains_key("gain") || table.contains_key("bias") {
            return NeuronSpec::from_table(self.model, table);
        }
        let given = |table: &toml::Table, key: &str| table.get(key).and_then(number);
        if !table.contains_key("amplitude") {
            let amplitude = match given(&table, "max_rate") {
                Some(max_rate) if max_rate > 0.0 => 1.0 / max_rate,
                _ if self.model == "rectified_linear" => 1.0,
                _ => BOUNDED_AMPLITUDE,
            };
            table.insert("amplitude".to_string(), amplitude.into());
        }
        if !table.contains_key("max_rate") {
            let amplitude = given(&table, "amplitude").unwrap_or(f64::NAN);
            table.insert("max_rate".to_string(), (1.0 / amplitude).into());
        }
        NeuronSpec::from_table(self.model, table)
    }

    fn in_place_of_neurons(&self, old: &NeuronSpec) -> Result<NeuronSpec, String> {
        let defaults = neuron_from_parameters(self.model, toml::Table::new()).map_err(|error| error.to_string())?;
        let known = defaults.parameters();
        let kept = old.model.parameters().into_iter().filter(|(key, _)| known.contains_key(key));
        let mut table: toml::Table = kept.collect();
        table.extend(self.parameters.clone());
        let new = NeuronSpec::from_table(self.model, table)?;
        let retuned = ["gain", "bias", "max_rate", "intercept"].iter().any(|key| self.parameters.contains_key(*key));
        let tuning = match old.constant_gain_bias()? {
            _ if retuned => new.tuning,
            _ if new.model.name() == old.model.name() => old.tuning,
            Some((gain, bias)) => {
                Tuning::Direct { gain: Distribution::Constant(gain), bias: Distribution::Constant(bias) }
            }
            None => return Err("its gains are drawn at random, and another model would draw others".to_string()),
        };
        let NeuronSpec { trainable_bias, firing_rate_scale, learn_per, .. } = *old;
        let learn = if new.model.name() == old.model.name() { old.learn.clone() } else { Vec::new() };
        Ok(NeuronSpec { tuning, trainable_bias, firing_rate_scale, learn, learn_per, ..new })
    }
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// The registered name of a model or layer type, from a user's spelling or alias.
fn canonical(name: &str) -> String {
    match name.replace('-', "_").as_str() {
        "spiking_relu" => "rectified_linear".to_string(),
        "soft_lif" => "lif".to_string(),
        other => other.to_string(),
    }
}

impl FromStr for Swap {
    type Err = ConvertError;

    fn from_str(text: &str) -> Result<Self, ConvertError> {
        let fail = |cause: String| ConvertError::Swap { text: text.to_string(), cause };
        let (from, to) = text
            .split_once('=')
            .filter(|(from, to)| !from.trim().is_empty() && !to.trim().is_empty())
            .ok_or_else(|| fail("expected LAYER=NEURONS, such as relu=lif or relu1=lif{amplitude=0.01}".to_string()))?;
        let (name, mut parameters) = match to.trim().split_once('{') {
            None => (to.trim(), toml::Table::new()),
            Some((name, rest)) => {
                let inner = rest.strip_suffix('}').ok_or_else(|| fail("expected a } at the end".to_string()))?;
                let mut whole = toml::from_str::<toml::Table>(&format!("p = {{{inner}}}")).unwrap_or_default();
                let table = match whole.remove("p") {
                    Some(toml::Value::Table(table)) if whole.is_empty() => Some(table),
                    _ => None,
                };
                let hint = || fail(format!("{{{inner}}}: expected parameters, such as {{tau_rc=0.02,amplitude=0.01}}"));
                (name.trim(), table.ok_or_else(hint)?)
            }
        };
        let model = canonical(name);
        if !is_neuron(&model) {
            let known: Vec<_> = ["spiking-relu", "soft-lif"].into_iter().chain(neuron_names()).collect();
            let quotes =
                if name.contains('=') { " (the shell removes braces: write 'relu=lif{..}' in quotes)" } else { "" };
            return Err(fail(format!("unknown neuron model {name:?}: expected one of {}{quotes}", known.join(", "))));
        }
        if name.replace('-', "_") == "soft_lif" {
            parameters.entry("smoothing").or_insert(SOFT_LIF_SMOOTHING.into());
        }
        let model = neuron_names().into_iter().find(|known| *known == model).unwrap_or("lif");
        let swap = Self { from: from.trim().to_string(), model, parameters };
        let neurons = swap.in_place_of_relu().map_err(fail)?;
        neurons.model.validate().map_err(|error| fail(error.to_string()))?;
        Ok(swap)
    }
}

impl std::fmt::Display for Swap {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}={}", self.from, self.model)?;
        if !self.parameters.is_empty() {
            let parameters = self.parameters.iter().map(|(key, value)| format!("{key} = {value}"));
            write!(f, "{{{}}}", parameters.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}
