//! Neurons that spike regularly at a given rate.

use serde::{Deserialize, Serialize};

use super::base_rate::{Base, BaseRate, NEGATIVE_SLOPE, TAU_REF, rate_of_base};
use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithRate};

/// Neurons that spike as regularly as their rate allows, for any of several [rates](BaseRate) (Nengo's `RegularSpiking`).
///
/// **Rate**: `amplitude f(J)`, with `f` the base rate.
///
/// **Step**: `v += f(J) dt`, `n = floor(v)` spikes, `v -= n`, output `amplitude n / dt`. Several spikes per step are possible, and
/// where the rate is negative, negative ones; the mean over time equals the rate.
///
/// **Gradients through time**: the derivative of `floor` is taken to be 1; the reset `v -= n` is a constant.
///
/// ```
/// use tch_spiking_core::neuron::{BaseRate, Heaviside, NeuronModel, RateModel, RegularSpiking, StepInput};
///
/// let neuron = RegularSpiking { rate: BaseRate::Tanh, ..RegularSpiking::default() };
/// let (input, mut state) = (StepInput::new(-0.5, 0.001), [0.5_f64]);
/// let sum: f64 = (0..1000).map(|_| neuron.step(input, &mut state, &Heaviside) * 0.001).sum();
/// assert!((sum - neuron.rate(-0.5_f64).value).abs() <= 1.0); // spikes in one second, negative ones, against Hz
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegularSpiking {
    /// The rate as a function of the current.
    pub rate: BaseRate,
    /// The slope of `leaky_relu` below 0, from 0 to 1.
    pub negative_slope: f64,
    /// The inverse of the highest rate of `sigmoid` and `tanh` (s), above 0.
    pub tau_ref: f64,
    /// Integral of one spike over time (dimensionless), above 0.
    pub amplitude: f64,
}

impl Default for RegularSpiking {
    fn default() -> Self {
        Self { rate: BaseRate::Relu, negative_slope: NEGATIVE_SLOPE, tau_ref: TAU_REF, amplitude: 1.0 }
    }
}

impl RegularSpiking {
    #[inline(always)]
    fn base(&self) -> Base {
        let Self { rate, negative_slope, tau_ref, amplitude } = *self;
        Base { rate, negative_slope, tau_ref, amplitude }
    }
}

impl NeuronModel for RegularSpiking {
    const NAME: &'static str = "regular_spiking";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 0];
    type Rates = WithRate;

    fn validate(&self) -> Result<(), NeuronError> {
        self.base().validate(Self::NAME)
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 1], fire: &F) -> R {
        let rate = self.base().at(input.current).value;
        let voltage = state[0] + (rate * R::constant(input.dt)).finite();
        let spikes = fire.count(voltage);
        state[0] = voltage - spikes.detach();
        (spikes * R::constant(self.amplitude / input.dt)).finite()
    }
}

rate_of_base!(RegularSpiking);
