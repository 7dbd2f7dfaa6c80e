//! Parameters of a model that training can change.

use super::NeuronError;

/// A parameter of a model that training can change, one value per layer or one per neuron.
///
/// ```
/// use tch_spiking_core::neuron::{Learned, Trained};
///
/// const DECAY: Learned = Learned::new("decay", 0.9, (0.0, 1.0)).through(Trained::Logit);
/// assert_eq!(DECAY.tensor_name(), "decay_logit");
/// let stored = DECAY.stored(0.9);
/// assert!((stored - 9.0_f64.ln()).abs() < 1e-12 && (DECAY.value(stored) - 0.9).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// Name in specifications, such as `decay`.
    pub name: &'static str,
    /// The value, unless the model's own parameters give another (see
    /// [`NeuronModel::learned_values`](super::NeuronModel::learned_values)).
    pub default: f64,
    /// The smallest and the largest valid value.
    pub range: (f64, f64),
    /// What the optimiser changes, and what files hold.
    pub trained: Trained,
}

/// What the optimiser changes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trained {
    /// The value itself.
    Value,
    /// `w = ln(p / (1 - p))` of a value `p` between 0 and 1: `p = sigmoid(w)` stays there whatever the optimiser does (the
    /// parametric LIF of Fang et al. 2021).
    Logit,
}

impl Learned {
    /// Creates a parameter whose value itself is trained.
    pub const fn new(name: &'static str, default: f64, range: (f64, f64)) -> Self {
        Self { name, default, range, trained: Trained::Value }
    }

    /// Sets what is trained.
    #[must_use]
    pub const fn through(self, trained: Trained) -> Self {
        Self { trained, ..self }
    }

    /// Returns the name of the trained tensor in weights files: `threshold`, or `decay_logit`.
    pub fn tensor_name(&self) -> String {
        match self.trained {
            Trained::Value => self.name.to_string(),
            Trained::Logit => format!("{}_logit", self.name),
        }
    }

    /// Returns the trained number that stands for `value`.
    pub fn stored(&self, value: f64) -> f64 {
        match self.trained {
            Trained::Value => value,
            Trained::Logit => (value / (1.0 - value)).ln(),
        }
    }

    /// Returns the value for which the trained number `stored` stands.
    pub fn value(&self, stored: f64) -> f64 {
        match self.trained {
            Trained::Value => stored,
            Trained::Logit => 1.0 / (1.0 + (-stored).exp()),
        }
    }

    /// Checks a value that is `trained` or stays as it is.
    ///
    /// # Errors
    /// Returns an error that names the parameter, its value and the valid range.
    pub fn check(&self, neuron: &'static str, value: f64, trained: bool) -> Result<(), NeuronError> {
        let (low, high) = self.range;
        match self.trained {
            Trained::Logit if trained => {
                let expected = "a number above 0 and below 1, as it is trained through a sigmoid";
                NeuronError::require(neuron, self.name, value, value > 0.0 && value < 1.0, expected)
            }
            Trained::Logit | Trained::Value => {
                let expected = match (low.is_finite(), high.is_finite()) {
                    (true, true) => format!("a number from {low} to {high}"),
                    (true, false) => format!("a number of {low} or more"),
                    _ => "a number".to_string(),
                };
                let valid = value.is_finite() && value >= low && value <= high;
                NeuronError::require(neuron, self.name, value, valid, &expected)
            }
        }
    }
}
