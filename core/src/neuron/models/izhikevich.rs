//! The neuron of Izhikevich.

use serde::{Deserialize, Serialize};

use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Output, Real, StateVariable, StepInput, WithoutRate};

/// The voltage (mV) at which it spikes.
const PEAK: f64 = 30.0;

/// The neuron of Izhikevich (2003): two equations that reproduce the firing patterns of cortical neurons.
///
/// **Step**: at its beginning, a neuron with `v >= 30` spikes: `v = c`, `u = u + d`. Then, with time in ms, two half steps of
/// `v' = 0.04 v^2 + 5 v + 140 - u + I` and one step of `u' = a (b v - u)`. Output `amplitude / dt` on a spike, at most one per
/// step. The current `I` is dimensionless as in the paper (around 10 to fire regularly). Timesteps above 1 ms are not stable.
///
/// Voltages are in mV and start at -65, the recovery variable at -13. It has no rate: it is trained through time. Gradients flow
/// through `v`, `u` and the spike, not through the reset.
///
/// | firing pattern | a | b | c | d |
/// |---|---|---|---|---|
/// | regular spiking (default) | 0.02 | 0.2 | -65 | 8 |
/// | intrinsically bursting | 0.02 | 0.2 | -55 | 4 |
/// | chattering | 0.02 | 0.2 | -50 | 2 |
/// | fast spiking | 0.1 | 0.2 | -65 | 2 |
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, Izhikevich, NeuronModel, StepInput};
///
/// let (neuron, mut state) = (Izhikevich::default(), [-65.0_f64, -13.0]);
/// let input = StepInput::new(10.0, 0.001);
/// let spikes = (0..1000).filter(|_| neuron.step(input, &mut state, &Heaviside) > 0.0).count();
/// assert!((15..35).contains(&spikes)); // in one second
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Izhikevich {
    /// Rate of the recovery (1/ms), above 0.
    pub a: f64,
    /// Sensitivity of the recovery to the voltage.
    pub b: f64,
    /// Voltage after a spike (mV), below 30.
    pub c: f64,
    /// What a spike adds to the recovery.
    pub d: f64,
    /// Integral of one spike over time (s for spikes of height 1), above 0.
    pub amplitude: f64,
}

impl Default for Izhikevich {
    fn default() -> Self {
        Self { a: 0.02, b: 0.2, c: -65.0, d: 8.0, amplitude: 0.001 }
    }
}

impl NeuronModel for Izhikevich {
    const NAME: &'static str = "izhikevich";
    const STATE: &'static [StateVariable] =
        &[StateVariable::new("voltage", Initial::Value(-65.0)), StateVariable::new("recovery", Initial::Value(-13.0))];
    const OUTPUT: Output = Output::Spike;
    type State<R: Real> = [R; 2];
    type Learned<R: Real> = [R; 0];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        let require =
            |name, value: f64, valid, expected| NeuronError::require(Self::NAME, name, value, valid, expected);
        require("a", self.a, self.a > 0.0 && self.a.is_finite(), "a number above 0")?;
        require("b", self.b, self.b.is_finite(), "a number")?;
        require("c", self.c, self.c < PEAK && self.c.is_finite(), "a voltage below 30 mV")?;
        require("d", self.d, self.d.is_finite(), "a number")?;
        require("amplitude", self.amplitude, self.amplitude > 0.0 && self.amplitude.is_finite(), "a number above 0")
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 2], fire: &F) -> R {
        let StepInput { current, dt, .. } = input;
        let [voltage, recovery] = *state;
        let number = R::constant;
        // So small a number makes it fire at the peak itself, and changes no other distance.
        let distance = voltage - number(PEAK) + number(f64::from(f32::MIN_POSITIVE));
        let fired = distance.greater(number(0.0));
        let mut voltage = R::select(fired, number(self.c), voltage);
        let recovery = R::select(fired, recovery + number(self.d), recovery);
        let milliseconds = dt * 1000.0;
        for _ in 0..2 {
            let slope = number(0.04) * voltage * voltage + number(5.0) * voltage + number(140.0) - recovery + current;
            voltage = voltage + number(0.5 * milliseconds) * slope;
        }
        // A larger voltage spikes just the same, and its square must stay finite.
        let voltage = voltage.min(number(1e6)).max(number(-1e6));
        *state = [voltage, recovery + number(milliseconds * self.a) * (number(self.b) * voltage - recovery)];
        fire.once(distance) * number(self.amplitude / dt)
    }
}
