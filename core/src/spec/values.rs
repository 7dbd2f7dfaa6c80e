//! Value types used in configurations.

use rand::distr::{Distribution as _, Uniform};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Height and width; written as one number if they are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrTwo", into = "OneOrTwo")]
pub struct Pair(pub i64, pub i64);

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a whole number, or a pair such as [3, 3]")]
enum OneOrTwo {
    One(i64),
    Two([i64; 2]),
}

impl Pair {
    pub(super) fn one() -> Self {
        Self(1, 1)
    }

    /// Returns `[height, width]`.
    pub fn to_array(self) -> [i64; 2] {
        [self.0, self.1]
    }

    pub(super) fn all(self, condition: impl Fn(i64) -> bool) -> bool {
        condition(self.0) && condition(self.1)
    }
}

impl From<i64> for Pair {
    fn from(both: i64) -> Self {
        Self(both, both)
    }
}

impl From<[i64; 2]> for Pair {
    fn from([height, width]: [i64; 2]) -> Self {
        Self(height, width)
    }
}

impl From<OneOrTwo> for Pair {
    fn from(value: OneOrTwo) -> Self {
        match value {
            OneOrTwo::One(both) => both.into(),
            OneOrTwo::Two(pair) => pair.into(),
        }
    }
}

impl From<Pair> for OneOrTwo {
    fn from(pair: Pair) -> Self {
        if pair.0 == pair.1 { Self::One(pair.0) } else { Self::Two(pair.to_array()) }
    }
}

/// The least and the largest magnitude of a setting. All that is computed from such numbers (a spike's height is the
/// amplitude divided by the timestep) then lies well within `f32`.
const RANGE: (f64, f64) = (1e-30, 1e30);

/// Checks that `value`, a setting called `name`, is 0 or of a magnitude that `f32` can compute with. What is not finite is left
/// to the setting's own check.
pub(super) fn in_range(name: &str, value: f64) -> Result<(), String> {
    let (least, most) = RANGE;
    match value == 0.0 || !value.is_finite() || (least..=most).contains(&value.abs()) {
        true => Ok(()),
        false => Err(format!(
            "{name} = {value:e} is not valid: expected 0 or a number of a magnitude from {least:e} to {most:e}"
        )),
    }
}

/// One number for all neurons, or a distribution from which one is drawn per neuron.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or { uniform = [low, high] }")]
pub enum Distribution {
    /// The same number for all neurons.
    Constant(f64),
    /// Uniform between two bounds: `{ uniform = [low, high] }`.
    Uniform {
        /// The lower and the upper bound.
        uniform: [f64; 2],
    },
}

impl From<f64> for Distribution {
    fn from(value: f64) -> Self {
        Self::Constant(value)
    }
}

impl Distribution {
    /// Returns the lower and the upper bound of the values.
    pub(super) fn bounds(self) -> [f64; 2] {
        match self {
            Self::Constant(value) => [value, value],
            Self::Uniform { uniform } => uniform,
        }
    }

    /// Returns a function that draws values; an error if the bounds are not two finite numbers in order.
    pub(super) fn sampler(self) -> Result<impl FnMut(&mut ChaCha8Rng) -> f64, String> {
        let [low, high] = self.bounds();
        let uniform = Uniform::new_inclusive(low, high)
            .map_err(|_| format!("{{ uniform = [{low}, {high}] }}: expected two finite numbers, the smaller first"))?;
        Ok(move |rng: &mut ChaCha8Rng| if low == high { low } else { uniform.sample(rng) })
    }
}

/// The initial membrane voltage of the neurons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "toml::Value")]
pub enum InitialVoltage {
    /// `"uniform"`: drawn from [0, 1) per neuron from the network's seed, and shared by all samples.
    #[default]
    Uniform,
    /// `"zero"`.
    Zero,
    /// One number for all neurons; at most 1, the threshold.
    Value(f64),
}

impl InitialVoltage {
    /// Validates the voltage.
    ///
    /// # Errors
    /// Returns an error if it is above the threshold, 1, or not finite.
    pub(super) fn validate(self) -> Result<(), String> {
        match self {
            Self::Value(value) if !(value <= 1.0 && value.is_finite()) => {
                Err(format!("an initial voltage of {value}: expected \"uniform\", \"zero\" or a finite number up to 1"))
            }
            Self::Uniform | Self::Zero | Self::Value(_) => Ok(()),
        }
    }
}

impl TryFrom<toml::Value> for InitialVoltage {
    type Error = String;
    fn try_from(value: toml::Value) -> Result<Self, String> {
        let voltage = match &value {
            toml::Value::String(name) if name == "uniform" => Self::Uniform,
            toml::Value::String(name) if name == "zero" => Self::Zero,
            toml::Value::Float(number) => Self::Value(*number),
            toml::Value::Integer(number) => Self::Value(*number as f64),
            other => {
                let expected = "expected \"uniform\", \"zero\" or a finite number up to 1";
                return Err(format!("an initial voltage of {other}: {expected}"));
            }
        };
        voltage.validate()?;
        Ok(voltage)
    }
}

impl From<InitialVoltage> for toml::Value {
    fn from(voltage: InitialVoltage) -> Self {
        match voltage {
            InitialVoltage::Uniform => "uniform".into(),
            InitialVoltage::Zero => "zero".into(),
            InitialVoltage::Value(number) => number.into(),
        }
    }
}
