//! Weight initialisers, as defined by Keras.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The distribution of a layer's initial weights, given the number of inputs (`fan_in`) and outputs (`fan_out`) of a
/// unit.
///
/// For a convolution, both include the kernel's area. Normal distributions are truncated at two standard deviations and
/// rescaled to the stated standard deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Initializer {
    /// Uniform in `±sqrt(6 / (fan_in + fan_out))` (Glorot & Bengio 2010).
    #[default]
    GlorotUniform,
    /// Truncated normal with standard deviation `sqrt(2 / (fan_in + fan_out))`.
    GlorotNormal,
    /// Uniform in `±sqrt(6 / fan_in)` (He et al. 2015).
    HeUniform,
    /// Truncated normal with standard deviation `sqrt(2 / fan_in)`.
    HeNormal,
    /// All zeros.
    Zeros,
}

/// The standard deviation of a standard normal variable truncated at ±2.
const CUT_NORMAL_DEVIATION: f64 = 0.879_625_661_034_239_8;

impl Initializer {
    /// Draws `count` values for units with these numbers of inputs and outputs.
    pub fn sample(self, count: usize, fan_in: f64, fan_out: f64, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let uniform = |limit: f64, rng: &mut ChaCha8Rng| limit * (2.0 * rng.random::<f64>() - 1.0);
        let normal = |deviation: f64, rng: &mut ChaCha8Rng| deviation / CUT_NORMAL_DEVIATION * cut_normal(rng);
        let mut value: Box<dyn FnMut(&mut ChaCha8Rng) -> f64> = match self {
            Self::GlorotUniform => Box::new(move |rng| uniform((6.0 / (fan_in + fan_out)).sqrt(), rng)),
            Self::HeUniform => Box::new(move |rng| uniform((6.0 / fan_in).sqrt(), rng)),
            Self::GlorotNormal => Box::new(move |rng| normal((2.0 / (fan_in + fan_out)).sqrt(), rng)),
            Self::HeNormal => Box::new(move |rng| normal((2.0 / fan_in).sqrt(), rng)),
            Self::Zeros => Box::new(|_| 0.0),
        };
        (0..count).map(|_| value(rng)).collect()
    }
}

/// Draws a standard normal number truncated to [-2, 2] (Box-Muller with rejection).
fn cut_normal(rng: &mut ChaCha8Rng) -> f64 {
    loop {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let value = radius * (std::f64::consts::TAU * rng.random::<f64>()).cos();
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn limits_and_deviations_are_those_of_keras() {
        let (fan_in, fan_out) = (300.0, 200.0);
        let sample =
            |initializer: Initializer| initializer.sample(100_000, fan_in, fan_out, &mut ChaCha8Rng::seed_from_u64(1));
        let largest = |values: &[f64]| values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        let deviation = |values: &[f64]| (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt();
        for (initializer, limit) in
            [(Initializer::GlorotUniform, (6.0 / 500.0_f64).sqrt()), (Initializer::HeUniform, (6.0 / 300.0_f64).sqrt())]
        {
            let values = sample(initializer);
            assert!(largest(&values) <= limit && largest(&values) > 0.999 * limit);
            assert!((deviation(&values) * 3f64.sqrt() / limit - 1.0).abs() < 0.01);
        }
        for (initializer, expected) in
            [(Initializer::GlorotNormal, (2.0 / 500.0_f64).sqrt()), (Initializer::HeNormal, (2.0 / 300.0_f64).sqrt())]
        {
            let values = sample(initializer);
            assert!(largest(&values) <= 2.0 * expected / CUT_NORMAL_DEVIATION);
            assert!((deviation(&values) / expected - 1.0).abs() < 0.01);
        }
        assert!(sample(Initializer::Zeros).iter().all(|&value| value == 0.0));
    }
}
