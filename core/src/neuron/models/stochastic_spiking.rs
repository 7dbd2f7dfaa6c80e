//! Neurons that round their rate at random.

use serde::{Deserialize, Serialize};

use super::base_rate::{Base, BaseRate, NEGATIVE_SLOPE, TAU_REF, rate_of_base};
use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithRate};

/// Neurons whose number of spikes in a step is their rate, rounded up or down at random, for any of several [rates](BaseRate)
/// (Nengo's `StochasticSpiking`).
///
/// **Rate**: `amplitude f(J)`, with `f` the base rate.
///
/// **Step**: `floor(|f(J)| dt + u)` spikes with `u` uniform in `[0, 1)`, of the sign of `f(J)`; the mean is `f(J) dt`, and no step
/// depends on another. `rate` (Hz), the state variable, is `f(J)` of the last step, for probes.
///
/// **Gradients through time**: the derivative of `floor` is taken to be 1, so that the gradient is that of the rate.
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, NeuronModel, StepInput, StochasticSpiking};
///
/// let (neuron, mut state) = (StochasticSpiking::default(), [0.0_f64]);
/// let mut spikes = |uniform: f64| {
///     neuron.step(StepInput { uniform, ..StepInput::new(2300.0, 0.001) }, &mut state, &Heaviside) * 0.001
/// };
/// assert_eq!([spikes(0.6), spikes(0.8)], [2.0, 3.0]); // of a mean of 2.3
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StochasticSpiking {
    /// The rate as a function of the current.
    pub rate: BaseRate,
    /// The slope of `leaky_relu` below 0, from 0 to 1.
    pub negative_slope: f64,
    /// The inverse of the highest rate of `sigmoid` and `tanh` (s), above 0.
    pub tau_ref: f64,
    /// Integral of one spike over time (dimensionless), above 0.
    pub amplitude: f64,
}

impl Default for StochasticSpiking {
    fn default() -> Self {
        Self { rate: BaseRate::Relu, negative_slope: NEGATIVE_SLOPE, tau_ref: TAU_REF, amplitude: 1.0 }
    }
}

impl StochasticSpiking {
    #[inline(always)]
    fn base(&self) -> Base {
        let Self { rate, negative_slope, tau_ref, amplitude } = *self;
        Base { rate, negative_slope, tau_ref, amplitude }
    }
}

impl NeuronModel for StochasticSpiking {
    const NAME: &'static str = "stochastic_spiking";
    const STATE: &'static [StateVariable] = &[StateVariable::new("rate", Initial::Value(0.0))];
    const NOISY: bool = true;
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
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let spikes = fire.count((rate.abs() * R::constant(input.dt)).finite() + input.uniform);
        let sign = R::select(zero.greater(rate), -one, one);
        state[0] = rate;
        (sign * spikes * R::constant(self.amplitude / input.dt)).finite()
    }
}

rate_of_base!(StochasticSpiking);
