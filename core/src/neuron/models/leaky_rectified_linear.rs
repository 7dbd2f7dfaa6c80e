//! The leaky rectified linear unit and its spiking counterpart.

use serde::{Deserialize, Serialize};

use super::base_rate::{Base, BaseRate, NEGATIVE_SLOPE, TAU_REF, rate_of_base};
use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithRate};

/// The leaky rectified-linear neuron: as [`RectifiedLinear`](super::RectifiedLinear), with a small slope below 0, where its spikes
/// are negative (NengoDL's `LeakyReLU` and `SpikingLeakyReLU`).
///
/// **Rate**: `A f(J)`, with `f(J) = J` above 0 and `negative_slope J` below.
///
/// **Step**: `v += f(J) dt`, `n = trunc(v)` spikes (towards 0), `v -= n`, output `A n / dt`.
///
/// **Gradients through time**: the derivative of `trunc` is taken to be 1; the reset `v -= n` is a constant.
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, LeakyRectifiedLinear, NeuronModel, StepInput};
///
/// let (neuron, mut state) = (LeakyRectifiedLinear { negative_slope: 0.5, ..Default::default() }, [0.0_f64]);
/// let input = StepInput::new(-1500.0, 0.001);
/// let counts: Vec<f64> = (0..4).map(|_| neuron.step(input, &mut state, &Heaviside) * 0.001).collect();
/// assert_eq!(counts, [0.0, -1.0, -1.0, -1.0]); // voltages -0.75, -1.5, -1.25, -1
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakyRectifiedLinear {
    /// The slope below 0, from 0 to 1.
    pub negative_slope: f64,
    /// Integral of one spike over time (dimensionless), above 0.
    pub amplitude: f64,
}

impl Default for LeakyRectifiedLinear {
    fn default() -> Self {
        Self { negative_slope: NEGATIVE_SLOPE, amplitude: 1.0 }
    }
}

impl LeakyRectifiedLinear {
    #[inline(always)]
    fn base(&self) -> Base {
        let Self { negative_slope, amplitude } = *self;
        Base { rate: BaseRate::LeakyRelu, negative_slope, tau_ref: TAU_REF, amplitude }
    }
}

impl NeuronModel for LeakyRectifiedLinear {
    const NAME: &'static str = "leaky_rectified_linear";
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
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let voltage = state[0] + (self.base().at(input.current).value * R::constant(input.dt)).finite();
        let sign = R::select(zero.greater(voltage), -one, one);
        let spikes = sign * fire.count(voltage.abs());
        state[0] = voltage - spikes.detach();
        (spikes * R::constant(self.amplitude / input.dt)).finite()
    }
}

rate_of_base!(LeakyRectifiedLinear);
