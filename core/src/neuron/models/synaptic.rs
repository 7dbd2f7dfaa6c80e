//! The current-based leaky integrate-and-fire neuron.

use serde::{Deserialize, Serialize};

use super::discrete::{Firing, Integration, Reset, ResetTime, check_decay, check_voltages};
use super::leaky::DEFAULT_TAU;
use crate::neuron::{
    Fire, Initial, Learned, NeuronError, NeuronModel, Output, Real, StateVariable, StepInput, Trained, WithoutRate,
};

/// The synaptic time constant (s) where neither `current_decay` nor `tau_syn` is given.
const DEFAULT_TAU_SYN: f64 = 0.005;

/// The current-based leaky integrate-and-fire neuron in discrete time: the input decays in a synaptic current, which charges
/// the membrane.
///
/// **Step**: `i' = current_decay i + J`, `v' = rest + decay (v - rest) + scale i'` (with `membrane_first`, `scale i`: the current
/// before the step), a spike where `v'` is above the threshold, then the [reset](Reset) of the voltage. At most one spike per
/// step. `scale` is 1, or `1 - decay` with `scale_input`. It has no rate: it is trained through time.
///
/// **Output**: `amplitude / dt` on a spike; see [`Leaky`](super::Leaky).
///
/// **Learned**: `decay` and `current_decay` (through a sigmoid) and `threshold`.
///
/// **Gradients through time**: through voltage, current and spike; the reset is a constant, or differentiated with `through`.
///
/// | library | here |
/// |---|---|
/// | snnTorch `Synaptic(alpha, beta, threshold)` | `current_decay = alpha`, `decay = beta`, `reset_time = "next_step"`; a hard reset sets the voltage after the step's integration |
/// | Norse `lif_feed_forward_step` | `tau_syn`, `tau = tau_mem`, `integration = "euler"`, `scale_input = true`, `reset = "zero"`, `through = true`; its current is our `current_decay i'` |
/// | NIR `CubaLIF` | the same with gain `w_in dt / tau_syn` and `r = 1` |
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, NeuronModel, StepInput, Synaptic};
///
/// let synaptic = Synaptic { decay: Some(0.5), current_decay: Some(0.5), ..Synaptic::default() };
/// let (dt, mut state) = (0.001, [0.0_f64; 2]);
/// let input = StepInput { current: 0.8, learned: synaptic.learned_values(dt), uniform: 0.0, dt };
/// assert_eq!(synaptic.step(input, &mut state, &Heaviside), 0.0);
/// assert_eq!(synaptic.step(input, &mut state, &Heaviside), 1.0); // at a voltage of 0.4 + 1.2
/// assert!((state[0] - 0.6).abs() < 1e-12 && (state[1] - 1.2).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Synaptic {
    /// What is left of the voltage after a step, 0 to 1; `beta` in snnTorch. Give this or `tau`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay: Option<f64>,
    /// Membrane time constant (s), above 0; 0.02 if `decay` is not given either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau: Option<f64>,
    /// What is left of the current after a step, 0 to 1; `alpha` in snnTorch. Give this or `tau_syn`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_decay: Option<f64>,
    /// Synaptic time constant (s), above 0; 0.005 if `current_decay` is not given either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tau_syn: Option<f64>,
    /// How the time constants give the decays.
    pub integration: Integration,
    /// Whether the current into the membrane is multiplied by `1 - decay`.
    pub scale_input: bool,
    /// Whether the membrane is charged by the current before the step's input.
    pub membrane_first: bool,
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

impl Default for Synaptic {
    fn default() -> Self {
        Self {
            decay: None,
            tau: None,
            current_decay: None,
            tau_syn: None,
            integration: Integration::Exact,
            scale_input: false,
            membrane_first: false,
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

impl NeuronModel for Synaptic {
    const NAME: &'static str = "synaptic";
    const STATE: &'static [StateVariable] =
        &[StateVariable::new("voltage", Initial::Voltage), StateVariable::new("current", Initial::Value(0.0))];
    const LEARNED: &'static [Learned] = &[
        Learned::new("decay", 0.0, (0.0, 1.0)).through(Trained::Logit),
        Learned::new("current_decay", 0.0, (0.0, 1.0)).through(Trained::Logit),
        Learned::new("threshold", 1.0, (f64::NEG_INFINITY, f64::INFINITY)),
    ];
    const OUTPUT: Output = Output::Spike;
    type State<R: Real> = [R; 2];
    type Learned<R: Real> = [R; 3];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        check_decay(Self::NAME, ("decay", self.decay), ("tau", self.tau))?;
        check_decay(Self::NAME, ("current_decay", self.current_decay), ("tau_syn", self.tau_syn))?;
        let Self { threshold, reset_voltage, resting_voltage, amplitude, .. } = *self;
        let voltages =
            [("threshold", threshold), ("reset_voltage", reset_voltage), ("resting_voltage", resting_voltage)];
        check_voltages(Self::NAME, voltages, amplitude)
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    fn learned_values(&self, dt: f64) -> [f64; 3] {
        let decay = |given: Option<f64>, tau: Option<f64>, default: f64| {
            given.unwrap_or_else(|| self.integration.decay(tau.unwrap_or(default), dt))
        };
        let membrane = decay(self.decay, self.tau, DEFAULT_TAU);
        [membrane, decay(self.current_decay, self.tau_syn, DEFAULT_TAU_SYN), self.threshold]
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 3]>, state: &mut [R; 2], fire: &F) -> R {
        let StepInput { current: input_current, learned: [decay, current_decay, threshold], dt, .. } = input;
        let [voltage, before] = *state;
        let rest = R::constant(self.resting_voltage);
        let current = current_decay * before + input_current;
        let charge = if self.membrane_first { before } else { current };
        let leak = R::constant(if self.scale_input { 1.0 } else { 0.0 });
        let charge = (R::constant(1.0) - leak * decay) * charge;
        let firing = Firing {
            threshold,
            reset: self.reset,
            time: self.reset_time,
            reset_voltage: R::constant(self.reset_voltage),
            through: self.through,
            at_threshold: self.fire_at_threshold,
            discards_input: true,
        };
        let (spike, voltage) = firing.step(voltage, |voltage| rest + decay * (voltage - rest) + charge, fire);
        *state = [voltage, current];
        spike * R::constant(self.amplitude / dt)
    }
}
