//! The rates over which the rate-coded spiking models spike.

use serde::{Deserialize, Serialize};

use crate::neuron::{NeuronError, Rate, Real};

/// A firing rate (Hz) as a function of the current `J`; where it is negative, so are the spikes.
///
/// | name | rate | Nengo |
/// |---|---|---|
/// | `relu` | `max(0, J)` | `RectifiedLinear` |
/// | `leaky_relu` | `J` above 0, `negative_slope J` below | NengoDL's `LeakyReLU` |
/// | `sigmoid` | `sigmoid(J) / tau_ref` | `Sigmoid` |
/// | `tanh` | `tanh(J) / tau_ref` | `Tanh` |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseRate {
    /// `max(0, J)`.
    #[default]
    Relu,
    /// `J` above 0, `negative_slope J` below.
    LeakyRelu,
    /// `sigmoid(J) / tau_ref`.
    Sigmoid,
    /// `tanh(J) / tau_ref`.
    Tanh,
}

/// Nengo's defaults.
pub(super) const NEGATIVE_SLOPE: f64 = 0.3;
pub(super) const TAU_REF: f64 = 0.0025;

/// A base rate with its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    pub rate: BaseRate,
    pub negative_slope: f64,
    pub tau_ref: f64,
    /// Factor of the output.
    pub amplitude: f64,
}

impl Base {
    /// Validates the parameters, as those of the model named `neuron`.
    pub fn validate(&self, neuron: &'static str) -> Result<(), NeuronError> {
        let require = |name, value: f64, valid, expected| NeuronError::require(neuron, name, value, valid, expected);
        let slope = self.negative_slope;
        require("negative_slope", slope, (0.0..=1.0).contains(&slope), "a number from 0 to 1")?;
        // Far outside, rates in single precision would overflow or vanish.
        require("tau_ref", self.tau_ref, (1e-20..=1e20).contains(&self.tau_ref), "a time of 1e-20 to 1e20 s")?;
        require("amplitude", self.amplitude, self.amplitude > 0.0 && self.amplitude.is_finite(), "a number above 0")
    }

    /// Returns the bound of the rate's absolute value (Hz).
    pub fn max_rate(&self) -> f64 {
        match self.rate {
            BaseRate::Relu | BaseRate::LeakyRelu => f64::INFINITY,
            BaseRate::Sigmoid | BaseRate::Tanh => 1.0 / self.tau_ref,
        }
    }

    /// Computes the rate (Hz) and its derivative, both finite at every finite current.
    #[inline(always)]
    pub fn at<R: Real>(&self, current: R) -> Rate<R> {
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let positive = current.greater(zero);
        match self.rate {
            BaseRate::Relu | BaseRate::LeakyRelu => {
                let slope = R::constant(if self.rate == BaseRate::Relu { 0.0 } else { self.negative_slope });
                let value = R::select(positive, current, slope * current).finite();
                Rate { value, derivative: R::select(positive, one, slope) }
            }
            BaseRate::Sigmoid => {
                let (highest, small) = (R::constant(1.0 / self.tau_ref), (-current.abs()).exp());
                let share = one / (one + small);
                let value = highest * R::select(positive, share, small * share);
                Rate { value, derivative: highest * (small * share * share) }
            }
            BaseRate::Tanh => {
                let (highest, small) = (R::constant(1.0 / self.tau_ref), (R::constant(-2.0) * current.abs()).exp());
                let share = one / (one + small);
                let size = highest * ((one - small) * share);
                let derivative = highest * (R::constant(4.0) * small * share * share);
                Rate { value: R::select(positive, size, -size), derivative }
            }
        }
    }

    /// Computes the output at a constant current, `amplitude` times the rate, and its derivative.
    #[inline(always)]
    pub fn output<R: Real>(&self, current: R) -> Rate<R> {
        let Rate { value, derivative } = self.at(current);
        let (amplitude, lowest) = (R::constant(self.amplitude), R::constant(-f64::from(f32::MAX)));
        Rate { value: (amplitude * value).finite().max(lowest), derivative: (amplitude * derivative).finite() }
    }

    /// Computes gain and bias; see [`RateModel::gain_bias`](crate::neuron::RateModel::gain_bias). For `sigmoid`, `intercept` is
    /// where half the highest rate is reached.
    pub fn gain_bias(&self, neuron: &'static str, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError> {
        let highest = self.max_rate();
        let valid = max_rate > 0.0 && max_rate < highest && max_rate.is_finite();
        let expected = match self.rate {
            BaseRate::Relu | BaseRate::LeakyRelu => "a finite rate above 0 Hz".to_string(),
            BaseRate::Sigmoid | BaseRate::Tanh => format!("above 0 and below 1/tau_ref = {highest} Hz"),
        };
        NeuronError::require(neuron, "max_rate", max_rate, valid, &expected)?;
        let below_one = intercept < 1.0 && intercept.is_finite();
        NeuronError::require(neuron, "intercept", intercept, below_one, "a number below 1")?;
        let current = match self.rate {
            BaseRate::Relu | BaseRate::LeakyRelu => max_rate,
            BaseRate::Sigmoid => -(highest / max_rate - 1.0).ln(),
            BaseRate::Tanh => (max_rate / highest).atanh(),
        };
        let gain = current / (1.0 - intercept);
        Ok((gain, -gain * intercept))
    }
}

/// Implements the rate of a model whose method `base` returns its [`Base`].
macro_rules! rate_of_base {
    ($model:ty) => {
        impl crate::neuron::RateModel for $model {
            fn max_rate(&self) -> f64 {
                self.base().max_rate()
            }
            #[inline(always)]
            fn rate<R: crate::neuron::Real>(&self, current: R) -> crate::neuron::Rate<R> {
                self.base().output(current)
            }
            fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), crate::neuron::NeuronError> {
                self.base().gain_bias(Self::NAME, max_rate, intercept)
            }
        }
    };
}
pub(super) use rate_of_base;

/// Defines a model whose parameters are those of a base rate.
macro_rules! model_over_rate {
    ($(#[$attribute:meta])* $model:ident) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $model {
            /// The rate as a function of the current.
            pub rate: super::base_rate::BaseRate,
            /// The slope of `leaky_relu` below 0, from 0 to 1.
            pub negative_slope: f64,
            /// The inverse of the highest rate of `sigmoid` and `tanh` (s), above 0.
            pub tau_ref: f64,
            /// Integral of one spike over time (dimensionless), above 0.
            pub amplitude: f64,
        }

        impl Default for $model {
            fn default() -> Self {
                use super::base_rate::{BaseRate, NEGATIVE_SLOPE, TAU_REF};
                Self { rate: BaseRate::Relu, negative_slope: NEGATIVE_SLOPE, tau_ref: TAU_REF, amplitude: 1.0 }
            }
        }

        impl $model {
            #[inline(always)]
            fn base(&self) -> super::base_rate::Base {
                let Self { rate, negative_slope, tau_ref, amplitude } = *self;
                super::base_rate::Base { rate, negative_slope, tau_ref, amplitude }
            }
        }

        super::base_rate::rate_of_base!($model);
    };
}
pub(super) use model_over_rate;
