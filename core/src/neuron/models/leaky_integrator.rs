//! The leaky integrator, a readout.

use serde::{Deserialize, Serialize};

use super::discrete::{Integration, check_decay};
use super::leaky::DEFAULT_TAU;
use crate::neuron::{
    Fire, Initial, Learned, NeuronError, NeuronModel, Output, Real, StateVariable, StepInput, Trained, WithoutRate,
};

/// A membrane that never spikes, for readouts: its voltage is the output.
///
/// **Step**: `v' = decay v + scale J`, output `amplitude v'`. `scale` is 1, or `1 - decay` with `scale_input` (the output is then a
/// running mean of the current). It has no rate and no spikes: its spike counts cannot be recorded. The voltage starts at 0.
///
/// **Learned**: `decay`, through a sigmoid.
///
/// | library | here |
/// |---|---|
/// | snnTorch `Leaky(beta, reset_mechanism="none")`, its membrane | `decay = beta` |
/// | SpikingJelly `LIFNode` with an infinite threshold, its `v` | `decay = 1 - 1 / tau`, `scale_input` as `decay_input` |
/// | Norse `LI`, NIR `LI` | `tau`, `integration = "euler"`, `scale_input = true` |
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, LeakyIntegrator, NeuronModel, StepInput};
///
/// let readout = LeakyIntegrator { decay: Some(0.5), ..LeakyIntegrator::default() };
/// let (dt, mut state) = (0.001, [0.0_f64]);
/// let input = StepInput { current: 4.0, learned: readout.learned_values(dt), uniform: 0.0, dt };
/// let outputs: Vec<f64> = (0..3).map(|_| readout.step(input, &mut state, &Heaviside)).collect();
/// assert_eq!(outputs, [4.0, 6.0, 7.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LeakyIntegrator {
    /// What is left of the voltage after a step, 0 to 1. Give this or `tau`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// Membrane time constant (s), above 0; 0.02 if `decay` is not given either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// How `tau` gives the decay.
    pub integration: Integration,
    /// Whether the input is multiplied by `1 - decay`.
    pub scale_input: bool,
    /// Factor of the output (dimensionless), above 0.
    pub amplitude: f64,
}

impl Default for LeakyIntegrator {
    fn default() -> Self {
        Self { decay: None, tau: None, integration: Integration::Exact, scale_input: false, amplitude: 1.0 }
    }
}

impl NeuronModel for LeakyIntegrator {
    const NAME: &'static str = "leaky_integrator";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Value(0.0))];
    const LEARNED: &'static [Learned] = &[Learned::new("decay", 0.0, (0.0, 1.0)).through(Trained::Logit)];
    const OUTPUT: Output = Output::Values;
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 1];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        check_decay(Self::NAME, ("decay", self.decay), ("tau", self.tau))?;
        let valid = self.amplitude > 0.0 && self.amplitude.is_finite();
        NeuronError::require(Self::NAME, "amplitude", self.amplitude, valid, "a number above 0")
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    fn learned_values(&self, dt: f64) -> [f64; 1] {
        [self.decay.unwrap_or_else(|| self.integration.decay(self.tau.unwrap_or(DEFAULT_TAU), dt))]
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 1]>, state: &mut [R; 1], _fire: &F) -> R {
        let StepInput { current, learned: [decay], .. } = input;
        let leak = R::constant(if self.scale_input { 1.0 } else { 0.0 });
        let drive = (R::constant(1.0) - leak * decay) * current;
        state[0] = decay * state[0] + drive;
        state[0] * R::constant(self.amplitude)
    }
}
