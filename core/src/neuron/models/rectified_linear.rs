//! The rectified linear unit and its spiking counterpart.

use serde::{Deserialize, Serialize};

use crate::neuron::{
    Fire, Initial, NeuronError, NeuronModel, Rate, RateModel, Real, StateVariable, StepInput, WithRate,
};

/// The rectified-linear neuron: rate `A max(0, J)` in training, a non-leaky integrate-and-fire neuron in inference.
///
/// **Step**: `v += max(J, 0) dt`, `n = floor(v)` spikes, `v -= n`, output `A n / dt`. Several spikes per timestep are
/// possible, so the mean over time equals the rate for every `J` and `dt` (Nengo's `SpikingRectifiedLinear`).
///
/// **Gradients through time**: the derivative of `floor` is taken to be 1; the reset `v -= n` is a constant. So charge counts in
/// the step in which it comes and in every later one.
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, NeuronModel, RectifiedLinear, StepInput};
///
/// let (relu, mut voltage) = (RectifiedLinear::default(), [0.5_f64]);
/// let input = StepInput::new(2500.0, 0.001);
/// let sum: f64 = (0..100).map(|_| relu.step(input, &mut voltage, &Heaviside) * 0.001).sum();
/// assert_eq!(sum, 250.0); // spikes in 0.1 s
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RectifiedLinear {
    /// Integral of one spike over time (dimensionless), above 0.
    pub amplitude: f64,
}

impl Default for RectifiedLinear {
    fn default() -> Self {
        Self { amplitude: 1.0 }
    }
}

impl NeuronModel for RectifiedLinear {
    const NAME: &'static str = "rectified_linear";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 0];
    type Rates = WithRate;

    fn validate(&self) -> Result<(), NeuronError> {
        let valid = self.amplitude > 0.0 && self.amplitude.is_finite();
        NeuronError::require(Self::NAME, "amplitude", self.amplitude, valid, "a number above 0")
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 1], fire: &F) -> R {
        let StepInput { current, dt, .. } = input;
        let voltage = state[0] + (current.max(R::constant(0.0)) * R::constant(dt)).finite();
        let spikes = fire.count(voltage);
        state[0] = voltage - spikes.detach();
        (spikes * R::constant(self.amplitude / dt)).finite()
    }
}

impl RateModel for RectifiedLinear {
    fn max_rate(&self) -> f64 {
        f64::INFINITY
    }

    #[inline(always)]
    fn rate<R: Real>(&self, current: R) -> Rate<R> {
        let (zero, amplitude) = (R::constant(0.0), R::constant(self.amplitude));
        let value = (amplitude * current.max(zero)).finite();
        Rate { value, derivative: R::select(current.greater(zero), amplitude, zero) }
    }

    /// Computes `gain = max_rate / (1 - intercept)`, `bias = -gain intercept`.
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError> {
        let valid = max_rate > 0.0 && max_rate.is_finite();
        NeuronError::require(Self::NAME, "max_rate", max_rate, valid, "a finite rate above 0 Hz")?;
        let below_one = intercept < 1.0 && intercept.is_finite();
        NeuronError::require(Self::NAME, "intercept", intercept, below_one, "a number below 1")?;
        let gain = max_rate / (1.0 - intercept);
        Ok((gain, -intercept * gain))
    }
}
