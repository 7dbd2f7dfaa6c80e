//! Surrogate derivatives of the spike for training.
//!
//! The spike is the Heaviside step of the distance `x` to the threshold, whose derivative is 0 almost everywhere. A
//! surrogate replaces that derivative by a smooth `g(x)` with antiderivative `G(x)`: with `G` as the spike, `g` is the
//! exact gradient.
//!
//! | name | `g(x)` | source |
//! |---|---|---|
//! | `atan` | `(alpha / 2) / (1 + (pi alpha x / 2)^2)` | Fang et al. 2021 |
//! | `fast_sigmoid` | `1 / (1 + slope abs(x))^2` | Zenke & Ganguli 2018 (SuperSpike) |
//! | `sigmoid` | `slope s (1 - s)`, `s = sigmoid(slope x)` | Neftci et al. 2019 |
//! | `triangle` | `max(0, 1 - abs(x) / width) / width` | Esser et al. 2016 |
//! | `rectangle` | `1 / width` for `abs(x) < width / 2` | Wu et al. 2018 (STBP) |
//! | `gaussian` | `exp(-x^2 / (2 sigma^2)) / (sigma sqrt(2 pi))` | Yin et al. 2020 |
//! | `straight_through` | 1 | Bengio et al. 2013 |

use serde::{Deserialize, Serialize};

use crate::neuron::{NeuronError, Real};

/// A surrogate derivative of the spike; see the [module](self) for the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Surrogate {
    /// The derivative of an arc tangent.
    Atan {
        /// Sharpness; the peak is `alpha / 2`.
        #[serde(default = "two")]
        alpha: f64,
    },
    /// The derivative of `x / (1 + slope abs(x))`.
    FastSigmoid {
        /// Sharpness: a larger value gives a narrower surrogate.
        #[serde(default = "twenty_five")]
        slope: f64,
    },
    /// The derivative of the logistic function.
    Sigmoid {
        /// Sharpness: a larger value gives a narrower surrogate.
        #[serde(default = "four")]
        slope: f64,
    },
    /// A triangle of area 1.
    Triangle {
        /// Half the length of the base.
        #[serde(default = "one")]
        width: f64,
    },
    /// A rectangle of area 1.
    Rectangle {
        /// Length of the base.
        #[serde(default = "one")]
        width: f64,
    },
    /// A normal distribution.
    Gaussian {
        /// Standard deviation.
        #[serde(default = "two_fifths")]
        sigma: f64,
    },
    /// The constant 1.
    StraightThrough,
}

impl Default for Surrogate {
    /// Returns `atan` with `alpha = 2`, as in SpikingJelly and snnTorch.
    fn default() -> Self {
        Self::Atan { alpha: two() }
    }
}

impl Surrogate {
    /// Validates the parameter.
    ///
    /// # Errors
    /// Returns an error that names the parameter, its value and the valid range.
    pub fn validate(self) -> Result<(), NeuronError> {
        let (name, parameter, value) = match self {
            Self::Atan { alpha } => ("atan", "alpha", alpha),
            Self::FastSigmoid { slope } => ("fast_sigmoid", "slope", slope),
            Self::Sigmoid { slope } => ("sigmoid", "slope", slope),
            Self::Triangle { width } => ("triangle", "width", width),
            Self::Rectangle { width } => ("rectangle", "width", width),
            Self::Gaussian { sigma } => ("gaussian", "sigma", sigma),
            Self::StraightThrough => return Ok(()),
        };
        // Within these bounds, values and their squares are normal numbers in single precision.
        NeuronError::require(name, parameter, value, (1e-6..=1e6).contains(&value), "1e-6 to 1e6")
    }

    /// Computes `g(x)`, the derivative used in place of the Heaviside step's.
    #[inline(always)]
    pub fn derivative<R: Real>(self, x: R) -> R {
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        match self {
            Self::Atan { alpha } => {
                let scaled = R::constant(std::f64::consts::FRAC_PI_2 * alpha) * x;
                R::constant(alpha / 2.0) / (one + scaled * scaled)
            }
            Self::FastSigmoid { slope } => {
                let below = one + R::constant(slope) * x.abs();
                one / (below * below)
            }
            Self::Sigmoid { slope } => {
                // s (1 - s) is even, so that the exponential need not overflow.
                let decay = (-(R::constant(slope) * x).abs()).exp();
                let below = one + decay;
                R::constant(slope) * decay / (below * below)
            }
            Self::Triangle { width } => (one - x.abs() / R::constant(width)).max(zero) / R::constant(width),
            Self::Rectangle { width } => {
                let inside = R::constant(width / 2.0).greater(x.abs());
                R::select(inside, R::constant(1.0 / width), zero)
            }
            Self::Gaussian { sigma } => {
                let scaled = x / R::constant(sigma);
                let height = 1.0 / (sigma * std::f64::consts::TAU.sqrt());
                (-(scaled * scaled * R::constant(0.5))).exp() * R::constant(height)
            }
            Self::StraightThrough => one,
        }
    }

    /// Computes [`derivative`](Self::derivative) of many distances: one loop for each kind of surrogate, which vectorises.
    #[inline(always)]
    pub(crate) fn derivatives<R: Real>(self, distances: &[R], slopes: &mut [R]) {
        #[inline(always)]
        fn each<R: Copy>(distances: &[R], slopes: &mut [R], derivative: impl Fn(R) -> R) {
            for (slope, &distance) in slopes.iter_mut().zip(distances) {
                *slope = derivative(distance);
            }
        }
        match self {
            Self::Atan { alpha } => each(distances, slopes, |x| Self::Atan { alpha }.derivative(x)),
            Self::FastSigmoid { slope } => each(distances, slopes, |x| Self::FastSigmoid { slope }.derivative(x)),
            Self::Sigmoid { slope } => each(distances, slopes, |x| Self::Sigmoid { slope }.derivative(x)),
            Self::Triangle { width } => each(distances, slopes, |x| Self::Triangle { width }.derivative(x)),
            Self::Rectangle { width } => each(distances, slopes, |x| Self::Rectangle { width }.derivative(x)),
            Self::Gaussian { sigma } => each(distances, slopes, |x| Self::Gaussian { sigma }.derivative(x)),
            Self::StraightThrough => each(distances, slopes, |x| Self::StraightThrough.derivative(x)),
        }
    }

    /// `G(x)`, an antiderivative of [`derivative`](Self::derivative): the spike made smooth.
    ///
    /// From 0 to 1 for surrogates of area 1; `x / (1 + slope abs(x))` for `fast_sigmoid` and `x` for `straight_through`.
    pub fn antiderivative(self, x: f64) -> f64 {
        match self {
            Self::Atan { alpha } => 0.5 + (std::f64::consts::FRAC_PI_2 * alpha * x).atan() / std::f64::consts::PI,
            Self::FastSigmoid { slope } => x / (1.0 + slope * x.abs()),
            Self::Sigmoid { slope } => 1.0 / (1.0 + (-slope * x).exp()),
            Self::Triangle { width } => {
                let outside = (1.0 - x.abs() / width).max(0.0);
                let tail = outside * outside / 2.0;
                if x > 0.0 { 1.0 - tail } else { tail }
            }
            Self::Rectangle { width } => (0.5 + x / width).clamp(0.0, 1.0),
            Self::Gaussian { sigma } => 0.5 + 0.5 * error_function(x / (sigma * std::f64::consts::SQRT_2)),
            Self::StraightThrough => x,
        }
    }
}

/// `erf(x) = 2 / sqrt(pi) e^(-x^2) (x + 2 x^3 / 3 + 4 x^5 / 15 + ..)`: all terms of one sign, so that no digits are lost.
fn error_function(x: f64) -> f64 {
    // From here on it is 1 to the last digit.
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut odd) = (x, 0.0, 1.0);
    while sum + term != sum {
        sum += term;
        odd += 2.0;
        term *= 2.0 * x * x / odd;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn one() -> f64 {
    1.0
}
fn two() -> f64 {
    2.0
}
fn four() -> f64 {
    4.0
}
fn twenty_five() -> f64 {
    25.0
}
fn two_fifths() -> f64 {
    0.4
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Surrogate; 7] = [
        Surrogate::Atan { alpha: 2.0 },
        Surrogate::FastSigmoid { slope: 25.0 },
        Surrogate::Sigmoid { slope: 4.0 },
        Surrogate::Triangle { width: 1.0 },
        Surrogate::Rectangle { width: 1.0 },
        Surrogate::Gaussian { sigma: 0.4 },
        Surrogate::StraightThrough,
    ];

    #[test]
    fn derivatives_are_even_and_finite_everywhere() {
        for surrogate in ALL {
            surrogate.validate().unwrap();
            for x in [0.0_f64, 1e-3, 0.3, 0.5, 1.0, 7.0, 1e4] {
                let (right, left) = (surrogate.derivative(x), surrogate.derivative(-x));
                assert_eq!(right, left, "{surrogate:?} at {x}");
                assert!(right.is_finite() && right >= 0.0);
                assert!(surrogate.derivative(x as f32).is_finite());
            }
        }
    }

    #[test]
    fn those_of_area_one_have_it() {
        // The areas from -1000 to 1000; what lies outside is known.
        let expected = [1.0 - 2.0 / (std::f64::consts::PI.powi(2) * 1000.0), 2.0 / 25.0 - 2.0 / (25.0 * 25_001.0)];
        for (surrogate, expected) in ALL[..6].iter().zip(expected.into_iter().chain([1.0; 4])) {
            let step = 1e-3;
            let area: f64 =
                (-1_000_000..1_000_000).map(|i| surrogate.derivative((f64::from(i) + 0.5) * step) * step).sum();
            assert!((area - expected).abs() < 1e-5, "{surrogate:?}: {area}");
        }
    }

    #[test]
    fn tables_round_trip_and_bad_parameters_are_named() {
        let surrogate: Surrogate = toml::from_str("type = \"fast_sigmoid\"").unwrap();
        assert_eq!(surrogate, Surrogate::FastSigmoid { slope: 25.0 });
        let error = Surrogate::Atan { alpha: f64::NAN }.validate().unwrap_err().to_string();
        assert!(error.contains("alpha = NaN"), "{error}");
    }
}
