//! Neurons that round their rate at random.

use super::base_rate::model_over_rate;
use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithRate};

model_over_rate! {
    /// Neurons whose number of spikes in a step is their rate, rounded up or down at random, for any of several [rates](crate::neuron::BaseRate)
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
    StochasticSpiking
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
