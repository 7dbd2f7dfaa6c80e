//! Neurons that spike regularly at a given rate.

use super::base_rate::model_over_rate;
use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithRate};

model_over_rate! {
    /// Neurons that spike as regularly as their rate allows, for any of several [rates](crate::neuron::BaseRate) (Nengo's `RegularSpiking`).
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
    RegularSpiking
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
