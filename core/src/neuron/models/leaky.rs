//! The leaky integrate-and-fire neuron in discrete time.

use serde::{Deserialize, Serialize};

use super::discrete::{Firing, Integration, Reset, ResetTime, check_decay, check_voltages};
use crate::neuron::{
    Fire, Initial, Learned, NeuronError, NeuronModel, Output, Real, StateVariable, StepInput, Trained, WithoutRate,
};

/// The membrane time constant (s) where neither `decay` nor `tau` is given.
pub(super) const DEFAULT_TAU: f64 = 0.02;

/// The leaky integrate-and-fire neuron in discrete time, as most libraries for training through time compute it.
///
/// **Step**: `v' = rest + decay (v - rest) + scale J`, a spike where `v'` is above the threshold, then the [reset](Reset). At most
/// one spike per step. `scale` is 1, or `1 - decay` with `scale_input`; `rest` is `resting_voltage`. `decay = 1` is the
/// integrate-and-fire neuron. It has no rate: it is trained through time.
///
/// **Output**: `amplitude / dt` on a spike. The default, 0.001 s, gives spikes of height 1 in the default timestep of 1 ms, as in
/// the libraries below; for another timestep, give `amplitude = dt`.
///
/// **Learned**: `decay` (through a sigmoid, as in the parametric LIF of Fang et al. 2021) and `threshold`.
///
/// **Gradients through time**: through the voltage and the spike. The reset is a constant (*detached*), or differentiated with
/// `through`.
///
/// | library | here |
/// |---|---|
/// | snnTorch `Leaky(beta, threshold)` | `decay = beta`, `reset_time = "next_step"`, `reset = "subtract"`, `"zero"` or `"none"` |
/// | the same with `reset_delay=False` | `reset_time = "same_step_corrected"`, `through = true` |
/// | SpikingJelly `LIFNode(tau, v_threshold, v_reset)` | `decay = 1 - 1 / tau`, `scale_input` as `decay_input`, `resting_voltage` and `reset_voltage = v_reset`, `reset = "zero"` (`"subtract"` for `v_reset=None`), `fire_at_threshold = true`, `through` unless `detach_reset` |
/// | SpikingJelly `ParametricLIFNode` | the same with `learn = ["decay"]`; its `w` is the negative of our `decay_logit` |
/// | SpikingJelly `IFNode` | the same with `decay = 1` |
/// | Norse `LIFBox` | `tau = tau_mem`, `integration = "euler"`, `scale_input = true`, `reset = "zero"`, `through = true` |
/// | NIR `LIF` | `tau`, `integration = "euler"`, `scale_input = true`, `resting_voltage = v_leak`, `reset = "zero"`, gain `r` |
/// | NIR `IF` | `decay = 1`, `reset = "zero"`, gain `r dt` |
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, Leaky, NeuronModel, Reset, StepInput};
///
/// let leaky = Leaky { decay: Some(0.5), reset: Reset::Zero, ..Leaky::default() };
/// let (dt, mut state) = (0.001, [0.0_f64]);
/// let input = StepInput { current: 0.7, learned: leaky.learned_values(dt), uniform: 0.0, dt };
/// let spikes: Vec<f64> = (0..4).map(|_| leaky.step(input, &mut state, &Heaviside)).collect();
/// assert_eq!(spikes, [0.0, 1.0, 0.0, 1.0]); // voltages 0.7 and 1.05
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Leaky {
    /// What is left of the voltage after a step, 0 to 1; `beta` in snnTorch. Give this or `tau`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// Membrane time constant (s), above 0; 0.02 if `decay` is not given either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// How `tau` gives the decay.
    pub integration: Integration,
    /// Whether the input is multiplied by `1 - decay`.
    pub scale_input: bool,
    /// Threshold of the voltage.
    pub threshold: f64,
    /// What a spike does to the voltage.
    pub reset: Reset,
    /// When it does that.
    pub reset_time: ResetTime,
    /// The voltage after a hard reset.
    pub reset_voltage: f64,
    /// The voltage without input, towards which the voltage decays.
    pub resting_voltage: f64,
    /// Whether gradients flow through the reset.
    pub through: bool,
    /// Whether a voltage equal to the threshold fires.
    pub fire_at_threshold: bool,
    /// Integral of one spike over time (s for spikes of height 1), above 0.
    pub amplitude: f64,
}

impl Default for Leaky {
    fn default() -> Self {
        Self {
            decay: None,
            tau: None,
            integration: Integration::Exact,
            scale_input: false,
            threshold: 1.0,
            reset: Reset::Subtract,
            reset_time: ResetTime::SameStep,
            reset_voltage: 0.0,
            resting_voltage: 0.0,
            through: false,
            fire_at_threshold: false,
            amplitude: 0.001,
        }
    }
}

impl NeuronModel for Leaky {
    const NAME: &'static str = "leaky";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
    const LEARNED: &'static [Learned] = &[
        Learned::new("decay", 0.0, (0.0, 1.0)).through(Trained::Logit),
        Learned::new("threshold", 1.0, (f64::NEG_INFINITY, f64::INFINITY)),
    ];
    const OUTPUT: Output = Output::Spike;
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 2];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        check_decay(Self::NAME, ("decay", self.decay), ("tau", self.tau))?;
        let Self { threshold, reset_voltage, resting_voltage, amplitude, .. } = *self;
        let voltages =
            [("threshold", threshold), ("reset_voltage", reset_voltage), ("resting_voltage", resting_voltage)];
        check_voltages(Self::NAME, voltages, amplitude)
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    fn learned_values(&self, dt: f64) -> [f64; 2] {
        let decay = self.decay.unwrap_or_else(|| self.integration.decay(self.tau.unwrap_or(DEFAULT_TAU), dt));
        [decay, self.threshold]
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 2]>, state: &mut [R; 1], fire: &F) -> R {
        let StepInput { current, learned: [decay, threshold], dt, .. } = input;
        let rest = R::constant(self.resting_voltage);
        let leak = R::constant(if self.scale_input { 1.0 } else { 0.0 });
        let drive = (R::constant(1.0) - leak * decay) * current;
        let firing = Firing {
            threshold,
            reset: self.reset,
            time: self.reset_time,
            reset_voltage: R::constant(self.reset_voltage),
            through: self.through,
            at_threshold: self.fire_at_threshold,
            discards_input: false,
        };
        let (spike, voltage) = firing.step(state[0], |voltage| rest + decay * (voltage - rest) + drive, fire);
        state[0] = voltage;
        spike * R::constant(self.amplitude / dt)
    }
}
