//! The specification of a layer of neurons.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::values::in_range;
use super::{Distribution, InitialVoltage, streams};
use crate::neuron::{Learned, Neuron, NeuronError, neuron_from_parameters};

/// A layer of neurons: the model, and the gain and bias that map the layer's input to the current of each neuron.
///
/// `J_i = gain_i * x_i + bias_i`. The gain is fixed and the bias is trainable, one per neuron (not per channel). They
/// are computed from `max_rate` and `intercept` (a neuron is silent up to `x = intercept` and fires at `max_rate` Hz at
/// `x = 1`), or given directly; by default, gain is 1 and bias 0.
#[derive(Clone, Debug)]
pub struct NeuronSpec {
    /// The neuron model with its parameters.
    pub model: Neuron,
    /// How gain and bias are initialised.
    pub tuning: Tuning,
    /// Whether the biases are trained.
    pub trainable_bias: bool,
    /// Factor by which neurons spike more often, each spike counting proportionally less: the current is
    /// `scale * (gain_i * x_i + bias_i)` and the amplitude is divided by `scale`. Above 0; 1 changes nothing.
    ///
    /// The mean output of rectified-linear neurons stays the same, with less noise. For LIF neurons, whose rate
    /// is not proportional to the current, the output is a different function. Saved parameters do not contain the
    /// scale.
    pub firing_rate_scale: f64,
    /// The parameters of the model that are trained, of those that [can be](Neuron::learned); none by default. The others stay
    /// at the values that the model's parameters give, from which training starts.
    pub learn: Vec<String>,
    /// How many values each of them has.
    pub learn_per: LearnPer,
}

/// How many values a trained parameter of a layer of neurons has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearnPer {
    /// One, shared by all neurons: shape `[1]`.
    #[default]
    Layer,
    /// One for each neuron: the layer's shape.
    Neuron,
}

/// The source of gain and bias.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tuning {
    /// Computed from the firing rate (Hz) at `x = 1` and the `x` up to which a neuron is silent.
    Rates {
        /// Firing rate at `x = 1` (Hz).
        max_rate: Distribution,
        /// The `x` up to which the neuron is silent.
        intercept: Distribution,
    },
    /// Given directly.
    Direct {
        /// Factor of the input.
        gain: Distribution,
        /// Current without input.
        bias: Distribution,
    },
}

/// The initial values of a layer's neurons.
#[derive(Clone, Debug)]
pub struct NeuronValues {
    /// The model, its amplitude divided by the firing rate scale.
    pub model: Neuron,
    /// The gain of each neuron, multiplied by the firing rate scale.
    pub gain: Vec<f64>,
    /// The bias of each neuron, as saved: without the scale.
    pub bias: Vec<f64>,
    /// The initial membrane voltage of each neuron.
    pub voltage: Vec<f64>,
}

impl NeuronSpec {
    /// Creates a layer of neurons with gain 1 and bias 0.
    pub fn new(model: impl Into<Neuron>) -> Self {
        let tuning = Tuning::Direct { gain: 1.0.into(), bias: 0.0.into() };
        let (learn, learn_per) = (Vec::new(), LearnPer::Layer);
        Self { model: model.into(), tuning, trainable_bias: true, firing_rate_scale: 1.0, learn, learn_per }
    }

    /// Sets gain and bias from the firing rate (Hz) and the intercept.
    #[must_use]
    pub fn tuned(self, max_rate: impl Into<Distribution>, intercept: impl Into<Distribution>) -> Self {
        Self { tuning: Tuning::Rates { max_rate: max_rate.into(), intercept: intercept.into() }, ..self }
    }

    /// Sets gain and bias directly.
    #[must_use]
    pub fn with_gain_bias(self, gain: impl Into<Distribution>, bias: impl Into<Distribution>) -> Self {
        Self { tuning: Tuning::Direct { gain: gain.into(), bias: bias.into() }, ..self }
    }

    /// Makes the neurons spike `scale` times as often.
    #[must_use]
    pub fn with_firing_rate_scale(self, firing_rate_scale: f64) -> Self {
        Self { firing_rate_scale, ..self }
    }

    /// Trains these parameters of the model, one value for the layer or one per neuron.
    #[must_use]
    pub fn learning(self, names: impl IntoIterator<Item = impl Into<String>>, learn_per: LearnPer) -> Self {
        Self { learn: names.into_iter().map(Into::into).collect(), learn_per, ..self }
    }

    /// Returns whether training changes this parameter of the model.
    pub fn learns(&self, parameter: &Learned) -> bool {
        self.learn.iter().any(|name| name == parameter.name)
    }

    /// Returns the model with its amplitude divided by the firing rate scale.
    ///
    /// # Errors
    /// Returns an error if the model or the scale is not valid.
    pub fn scaled_model(&self) -> Result<Neuron, String> {
        let scale = self.firing_rate_scale;
        self.model.validate().map_err(|error| error.to_string())?;
        match scale {
            1.0 => Ok(self.model.clone()),
            _ if scale > 0.0 && scale.is_finite() => {
                let scaled = self.model.with_amplitude(self.model.amplitude() / scale);
                scaled.map_err(|error| format!("firing_rate_scale = {scale}: {error}"))
            }
            _ => Err(format!("firing_rate_scale = {scale} is not valid: expected a number above 0")),
        }
    }

    /// Returns the unscaled gain and bias, if they are the same for all neurons.
    ///
    /// # Errors
    /// Returns an error if no gain and bias give the requested rates.
    pub fn constant_gain_bias(&self) -> Result<Option<(f64, f64)>, String> {
        let (first, second) = match self.tuning {
            Tuning::Rates { max_rate, intercept } => (max_rate, intercept),
            Tuning::Direct { gain, bias } => (gain, bias),
        };
        match (first, second, self.tuning) {
            (Distribution::Constant(gain), Distribution::Constant(bias), Tuning::Direct { .. }) => {
                Ok(Some((gain, bias)))
            }
            (Distribution::Constant(max_rate), Distribution::Constant(intercept), Tuning::Rates { .. }) => {
                self.tuned_to(max_rate, intercept).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Draws the unscaled gain and bias of `neurons` neurons.
    fn gain_bias(&self, neurons: usize, rng: &mut ChaCha8Rng) -> Result<(Vec<f64>, Vec<f64>), String> {
        let (first, second) = match self.tuning {
            Tuning::Rates { max_rate, intercept } => (max_rate, intercept),
            Tuning::Direct { gain, bias } => (gain, bias),
        };
        let (mut first, mut second) = (first.sampler()?, second.sampler()?);
        let pairs = (0..neurons).map(|_| {
            let (first, second) = (first(rng), second(rng));
            match self.tuning {
                Tuning::Rates { .. } => self.tuned_to(first, second),
                Tuning::Direct { .. } => Ok((first, second)),
            }
        });
        let pairs = pairs.collect::<Result<Vec<_>, String>>()?;
        Ok(pairs.into_iter().unzip())
    }

    fn tuned_to(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), String> {
        let rate = self.model.require_rate().map_err(|error| error.to_string())?;
        rate.gain_bias(max_rate, intercept).map_err(|error| error.to_string())
    }

    /// Validates the settings that do not depend on the number of neurons.
    pub(super) fn check(&self, dt: f64) -> Result<(), String> {
        in_range("firing_rate_scale", self.firing_rate_scale)?;
        let model = self.scaled_model()?;
        for (name, value) in model.parameters() {
            value.as_float().map_or(Ok(()), |value| in_range(&name, value))?;
        }
        let named = match self.tuning {
            Tuning::Rates { max_rate, intercept } => [("max_rate", max_rate), ("intercept", intercept)],
            Tuning::Direct { gain, bias } => [("gain", gain), ("bias", bias)],
        };
        for (name, values) in named {
            values.sampler().map(drop)?;
            values.bounds().into_iter().try_for_each(|value| in_range(name, value))?;
            if name == "gain" && values.bounds() == [0.0; 2] {
                return Err(
                    "gain = 0 is not valid: the neurons would ignore their input; expected another number".to_string()
                );
            }
        }
        in_range("amplitude / dt, the height of a spike,", model.amplitude() / dt)?;
        let valid = dt > 0.0 && dt.is_finite();
        NeuronError::require(model.name(), "dt", dt, valid, "a time above 0 s").map_err(|error| error.to_string())?;
        self.check_learned(&model, dt)
    }

    fn check_learned(&self, model: &Neuron, dt: f64) -> Result<(), String> {
        for (index, name) in self.learn.iter().enumerate() {
            if !model.learned().iter().any(|learned| learned.name == name) {
                let names: Vec<_> = model.learned().iter().map(|learned| learned.name).collect();
                let available = if names.is_empty() { "none".to_string() } else { names.join(", ") };
                return Err(format!(
                    "learn: {} has no parameter {name:?} to train; available: {available}",
                    model.name()
                ));
            }
            if self.learn[..index].contains(name) {
                return Err(format!("learn: {name:?} is named twice"));
            }
        }
        model.learned().iter().zip(model.learned_values(dt)).try_for_each(|(learned, value)| {
            learned.check(model.name(), value, self.learns(learned)).map_err(|error| error.to_string())
        })
    }

    /// Computes the initial values of all `count` neurons of the layer at `index` in a network built from `seed`.
    ///
    /// # Errors
    /// Returns an error if the model, the scale or the tuning is not valid.
    pub fn values(
        &self,
        count: usize,
        index: usize,
        seed: u64,
        initial_voltage: InitialVoltage,
    ) -> Result<NeuronValues, String> {
        let model = self.scaled_model()?;
        let (mut gain, bias) = self.gain_bias(count, &mut streams::tuning(seed, index))?;
        gain.iter_mut().for_each(|gain| *gain *= self.firing_rate_scale);
        let voltage = match initial_voltage {
            InitialVoltage::Zero => vec![0.0; count],
            InitialVoltage::Value(value) => vec![value; count],
            InitialVoltage::Uniform => {
                let mut rng = streams::voltage(seed, index);
                // 53 random bits, as many as an f64 holds.
                (0..count).map(|_| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64).collect()
            }
        };
        Ok(NeuronValues { model, gain, bias, voltage })
    }

    /// Creates a layer of the model named `model` from its table, from which `type`, `name` and `from` have been
    /// removed.
    ///
    /// # Errors
    /// Returns an error if the model is unknown or a key is not valid.
    pub fn from_table(model: &str, mut table: toml::Table) -> Result<Self, String> {
        let own = toml::Table::from_iter(OWN_KEYS.iter().filter_map(|key| table.remove_entry(*key)));
        let own: OwnKeys = own.try_into().map_err(|error: toml::de::Error| format!("{model}: {}", error.message()))?;
        let tuning = match own {
            OwnKeys { max_rate: Some(max_rate), gain: None, bias: None, intercept, .. } => {
                Tuning::Rates { max_rate, intercept: intercept.unwrap_or(0.0.into()) }
            }
            OwnKeys { max_rate: None, intercept: None, gain, bias, .. } => {
                Tuning::Direct { gain: gain.unwrap_or(1.0.into()), bias: bias.unwrap_or(0.0.into()) }
            }
            _ => {
                return Err(format!("{model}: give either max_rate and intercept, or gain and bias, not keys of both"));
            }
        };
        let model = neuron_from_parameters(model, table).map_err(|error| error.to_string())?;
        Ok(Self {
            model,
            tuning,
            trainable_bias: own.trainable_bias.unwrap_or(true),
            firing_rate_scale: own.firing_rate_scale.unwrap_or(1.0),
            learn: own.learn,
            learn_per: own.learn_per.unwrap_or_default(),
        })
    }

    pub(super) fn to_table(&self) -> Result<toml::Table, toml::ser::Error> {
        let mut table = self.model.parameters();
        let own = OwnKeys {
            trainable_bias: (!self.trainable_bias).then_some(false),
            firing_rate_scale: (self.firing_rate_scale != 1.0).then_some(self.firing_rate_scale),
            learn: self.learn.clone(),
            learn_per: (self.learn_per != LearnPer::default()).then_some(self.learn_per),
            ..OwnKeys::default()
        };
        table.extend(toml::Table::try_from(match self.tuning {
            Tuning::Rates { max_rate, intercept } => {
                OwnKeys { max_rate: Some(max_rate), intercept: Some(intercept), ..own }
            }
            Tuning::Direct { gain, bias } => OwnKeys { gain: Some(gain), bias: Some(bias), ..own },
        })?);
        Ok(table)
    }
}

const OWN_KEYS: [&str; 8] =
    ["max_rate", "intercept", "gain", "bias", "trainable_bias", "firing_rate_scale", "learn", "learn_per"];

/// The keys of a neuron layer's table other than its model's parameters.
#[derive(Default, Serialize, Deserialize)]
struct OwnKeys {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_rate: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    intercept: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gain: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bias: Option<Distribution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trainable_bias: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firing_rate_scale: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    learn: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    learn_per: Option<LearnPer>,
}
