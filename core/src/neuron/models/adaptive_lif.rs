//! The leaky integrate-and-fire neuron whose firing adapts.

use serde::{Deserialize, Serialize};

use super::Lif;
use crate::neuron::{Fire, Initial, NeuronError, NeuronModel, Output, Real, StateVariable, StepInput, WithoutRate};

/// The leaky integrate-and-fire neuron with adaptation: each spike inhibits the next ones (Camera et al. 2004; Nengo's
/// `AdaptiveLIF`).
///
/// **Step**: a step of [`Lif`] at the current `J - n`, then `n += dt / tau_n (inc_n output - n)`, with the output (`amplitude / dt` on
/// a spike) of this step. It has no rate: it is trained through time.
///
/// **Gradients through time**: those of [`Lif`], and through the adaptation `n`.
///
/// ```
/// use tch_spiking_core::neuron::{AdaptiveLif, Heaviside, NeuronModel, StepInput};
///
/// let neuron = AdaptiveLif { inc_n: 0.05, tau_n: 0.1, ..AdaptiveLif::default() };
/// let mut state = [0.0_f64; 3];
/// let mut count = || (0..200).filter(|_| neuron.step(StepInput::new(5.0, 0.001), &mut state, &Heaviside) > 0.0).count();
/// assert!(count() > count()); // in 0.2 s each
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveLif {
    /// Membrane time constant (s), above 0.
    pub tau_rc: f64,
    /// Refractory period after a spike (s), 0 or more.
    pub tau_ref: f64,
    /// Time constant of the adaptation (s), above 0.
    pub tau_n: f64,
    /// What the adaptation tends to, in units of the output; 0 or more.
    pub inc_n: f64,
    /// Integral of one spike over time (dimensionless), above 0.
    pub amplitude: f64,
    /// Lower bound of the membrane voltage; 0 or less, `-inf` for no bound.
    pub min_voltage: f64,
}

impl Default for AdaptiveLif {
    fn default() -> Self {
        let Lif { tau_rc, tau_ref, amplitude, min_voltage, .. } = Lif::default();
        Self { tau_rc, tau_ref, tau_n: 1.0, inc_n: 0.01, amplitude, min_voltage }
    }
}

impl AdaptiveLif {
    #[inline(always)]
    fn lif(&self) -> Lif {
        let Self { tau_rc, tau_ref, amplitude, min_voltage, .. } = *self;
        Lif { tau_rc, tau_ref, amplitude, min_voltage, smoothing: 0.0 }
    }
}

impl NeuronModel for AdaptiveLif {
    const NAME: &'static str = "adaptive_lif";
    const STATE: &'static [StateVariable] = &[
        StateVariable::new("voltage", Initial::Voltage),
        StateVariable::new("refractory_time", Initial::Value(0.0)),
        StateVariable::new("adaptation", Initial::Value(0.0)),
    ];
    const OUTPUT: Output = Output::Spike;
    type State<R: Real> = [R; 3];
    type Learned<R: Real> = [R; 0];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        self.lif().check(Self::NAME)?;
        let require =
            |name, value: f64, valid, expected| NeuronError::require(Self::NAME, name, value, valid, expected);
        require("tau_n", self.tau_n, self.tau_n > 0.0 && self.tau_n.is_finite(), "a time above 0 s")?;
        require("inc_n", self.inc_n, self.inc_n >= 0.0 && self.inc_n.is_finite(), "a number of 0 or more")
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 3], fire: &F) -> R {
        let [voltage, refractory, adaptation] = *state;
        let mut membrane = [voltage, refractory];
        let output = self.lif().step(StepInput { current: input.current - adaptation, ..input }, &mut membrane, fire);
        let towards = R::constant(self.inc_n) * output - adaptation;
        *state = [membrane[0], membrane[1], adaptation + R::constant(input.dt / self.tau_n) * towards];
        output
    }
}
