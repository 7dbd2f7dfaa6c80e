//! Settings of standardisation.

use serde::{Deserialize, Serialize};

use super::parameters::{ParameterSpec, Start};
use super::shape::show;

/// Settings of standardisation, `(x - mean) / std` per channel of `[C, H, W]` or per feature:
/// `{ type = "standardize", mean = 33.3, std = 78.6 }`.
///
/// Numbers are given as one for all channels, or as a list of one per channel. Without both, the mean and the standard
/// deviation of the training samples are measured before training, for a layer that reads the network's input. They are
/// saved with the weights as the parameters `mean` and `std`, which training does not change. In mixed precision the
/// layer computes in `f32`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardize {
    /// What is subtracted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<PerChannel>,
    /// What the difference is divided by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<PerChannel>,
}

/// One number for all channels, or one per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number, or a list of one per channel such as [33.3, 28.6, 35.0]")]
pub enum PerChannel {
    /// One number.
    One(f64),
    /// One per channel.
    Each(Vec<f64>),
}

impl PerChannel {
    fn numbers(&self) -> &[f64] {
        match self {
            Self::One(number) => std::slice::from_ref(number),
            Self::Each(numbers) => numbers,
        }
    }

    fn start(&self) -> Start {
        match self {
            Self::One(number) => Start::Constant(*number),
            Self::Each(numbers) => Start::Given(numbers.clone()),
        }
    }
}

impl From<f64> for PerChannel {
    fn from(number: f64) -> Self {
        Self::One(number)
    }
}

impl From<Vec<f64>> for PerChannel {
    fn from(numbers: Vec<f64>) -> Self {
        Self::Each(numbers)
    }
}

impl Standardize {
    /// Creates a standardisation by these numbers.
    pub fn new(mean: impl Into<PerChannel>, std: impl Into<PerChannel>) -> Self {
        Self { mean: Some(mean.into()), std: Some(std.into()) }
    }

    /// Creates a standardisation by the statistics of the training samples, measured before training.
    pub fn measured() -> Self {
        Self { mean: None, std: None }
    }

    /// Returns whether the statistics are those of the training samples.
    pub fn is_measured(&self) -> bool {
        self.mean.is_none()
    }

    pub(super) fn output_shape(&self, input: &[i64]) -> Result<Vec<i64>, String> {
        if !matches!(input.len(), 1 | 3) {
            return Err(format!("expected channels x height x width, or features, got {}", show(input)));
        }
        if self.mean.is_some() != self.std.is_some() {
            return Err("expected both mean and std, or neither, to measure them on the training samples".to_string());
        }
        for (name, numbers) in [("mean", &self.mean), ("std", &self.std)] {
            let Some(given) = numbers else { continue };
            let numbers = given.numbers();
            if matches!(given, PerChannel::Each(_)) && numbers.len() as i64 != input[0] {
                return Err(format!("{name} has {} numbers, expected {}, one per channel", numbers.len(), input[0]));
            }
            let valid = |number: f64| number.is_finite() && (name == "mean" || number > 0.0);
            if let Some(number) = numbers.iter().find(|&&number| !valid(number)) {
                let expected = if name == "mean" { "a number" } else { "a number above 0" };
                return Err(format!("{name} = {number} is not valid: expected {expected}"));
            }
        }
        Ok(input.to_vec())
    }

    pub(super) fn parameters(&self, channels: i64) -> Vec<ParameterSpec> {
        let parameter = |name: &str, given: &Option<PerChannel>, otherwise: f64| ParameterSpec {
            name: name.to_string(),
            shape: vec![channels],
            start: given.as_ref().map_or(Start::Constant(otherwise), PerChannel::start),
            trainable: false,
        };
        vec![parameter("mean", &self.mean, 0.0), parameter("std", &self.std, 1.0)]
    }
}
