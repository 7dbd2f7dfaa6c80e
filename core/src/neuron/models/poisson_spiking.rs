//! Neurons whose spikes are a Poisson process.

use super::base_rate::model_over_rate;
use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithRate};

model_over_rate! {
    /// Neurons whose spikes are a Poisson process, for any of several [rates](crate::neuron::BaseRate) (Nengo's `PoissonSpiking`).
    ///
    /// **Rate**: `amplitude f(J)`, with `f` the base rate.
    ///
    /// **Step**: a Poisson-distributed number of spikes with mean `|f(J)| dt`, of the sign of `f(J)`; no step depends on another. `rate`
    /// (Hz), the state variable, is `f(J)` of the last step, for probes.
    ///
    /// The number is the inverse of the distribution at one uniform random number, a sum of at most 32 comparisons. Above a mean of
    /// 10 spikes a step, what exceeds 10 is not Poisson-distributed but rounded up or down at random: the mean is still right, the
    /// variance too small. (At rates that high, choose a shorter timestep.)
    ///
    /// **Gradients through time**: that of the rate.
    ///
    /// ```
    /// use tch_spiking_core::neuron::{Heaviside, NeuronModel, PoissonSpiking, StepInput};
    ///
    /// let (neuron, mut state) = (PoissonSpiking::default(), [0.0_f64]);
    /// let mut spikes = |uniform: f64| {
    ///     neuron.step(StepInput { uniform, ..StepInput::new(1000.0, 0.001) }, &mut state, &Heaviside) * 0.001
    /// };
    /// // Of a mean of 1: no spike with probability 0.368, one with 0.368, two with 0.184.
    /// assert_eq!([spikes(0.36), spikes(0.37), spikes(0.73), spikes(0.74)], [0.0, 1.0, 1.0, 2.0]);
    /// ```
    PoissonSpiking
}

impl NeuronModel for PoissonSpiking {
    const NAME: &'static str = "poisson_spiking";
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
        let StepInput { current, uniform, dt, .. } = input;
        let rate = self.base().at(current).value;
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let mean = (rate.abs() * R::constant(dt)).finite();
        let number = poisson(mean, uniform);
        // The number, with the mean's derivative. Rounded, since the mean cancels only up to rounding.
        let spikes = fire.count(mean + (number - mean).detach() + R::constant(0.5));
        let sign = R::select(zero.greater(rate), -one, one);
        state[0] = rate;
        (sign * spikes * R::constant(self.amplitude / dt)).finite()
    }
}

/// The largest mean up to which the number is Poisson-distributed.
const LARGEST_MEAN: f64 = 10.0;
/// So many spikes or more have at this mean a probability below the resolution of a random number.
const MOST: u32 = 32;
/// Below the resolution of a random number, which has 24 bits.
const IMPROBABLE: f64 = 1.0 / (1 << 25) as f64;

/// Draws a number with this mean by inversion of the distribution at `uniform`.
#[inline(always)]
fn poisson<R: Real>(mean: R, uniform: R) -> R {
    let (zero, one) = (R::constant(0.0), R::constant(1.0));
    let bounded = mean.min(R::constant(LARGEST_MEAN));
    let mut probability = (-bounded).exp();
    let (mut cumulated, mut number) = (probability, zero);
    for count in 1..=MOST {
        probability = probability * bounded * R::constant(1.0 / f64::from(count));
        // Summed probabilities end a little below or above 1: an improbable number is not reached by their rounding.
        let reached = R::select(cumulated.greater(uniform), zero, probability);
        number = number + R::select(reached.greater(R::constant(IMPROBABLE)), one, zero);
        cumulated = cumulated + probability;
    }
    // The lower bits of the random number, which hardly matter to the inversion, round what is beyond.
    let shifted = uniform * R::constant(4096.0);
    let rest = mean - bounded;
    number + (rest + (shifted - shifted.floor())).floor()
}
