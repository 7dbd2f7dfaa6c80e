//! What the models in discrete time share: decays, resets, and the comparison with the threshold.

use serde::{Deserialize, Serialize};

use crate::neuron::{Fire, NeuronError, Real};

/// What a spike does to the membrane voltage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// Subtracts the threshold (a *soft* reset).
    #[default]
    Subtract,
    /// Sets it to `reset_voltage` (a *hard* reset).
    Zero,
    /// Nothing.
    None,
}

/// When a spike resets the voltage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResetTime {
    /// In the step of the spike, after it: the voltage that is reported is that after the reset.
    #[default]
    SameStep,
    /// At the beginning of the step after it (snnTorch's default).
    NextStep,
    /// As snnTorch's `reset_delay=False`: as `same_step`, but where a subtraction leaves the voltage above the threshold, the
    /// next spike needs a voltage above twice the threshold.
    SameStepCorrected,
}

/// How a time constant `tau` gives the decay of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integration {
    /// `exp(-dt / tau)`.
    #[default]
    Exact,
    /// `1 - dt / tau`.
    Euler,
}

impl Integration {
    /// Returns the factor that is left after `dt` seconds.
    pub(super) fn decay(self, tau: f64, dt: f64) -> f64 {
        match self {
            Self::Exact => (-dt / tau).exp(),
            Self::Euler => 1.0 - dt / tau,
        }
    }
}

/// Checks that not both of a decay and a time constant are given, and that the one that is given is valid.
pub(super) fn check_decay(
    neuron: &'static str,
    (decay_name, decay): (&'static str, Option<f64>),
    (tau_name, tau): (&'static str, Option<f64>),
) -> Result<(), NeuronError> {
    if let (Some(decay), Some(tau)) = (decay, tau) {
        let cause = format!("{decay_name} = {decay} and {tau_name} = {tau} are both given: give one of them");
        return Err(NeuronError::Specification { neuron: neuron.to_string(), cause });
    }
    if let Some(decay) = decay {
        NeuronError::require(neuron, decay_name, decay, (0.0..=1.0).contains(&decay), "a number from 0 to 1")?;
    }
    tau.map_or(Ok(()), |tau| {
        NeuronError::require(neuron, tau_name, tau, tau > 0.0 && tau.is_finite(), "a time above 0 s")
    })
}

/// Checks voltages and amplitude of the model named `neuron`.
pub(super) fn check_voltages(
    neuron: &'static str,
    voltages: [(&'static str, f64); 3],
    amplitude: f64,
) -> Result<(), NeuronError> {
    for (name, value) in voltages {
        NeuronError::require(neuron, name, value, value.is_finite(), "a number")?;
    }
    let valid = amplitude > 0.0 && amplitude.is_finite();
    NeuronError::require(neuron, "amplitude", amplitude, valid, "a number above 0")
}

/// Threshold and reset of a neuron in discrete time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Firing<R> {
    pub threshold: R,
    pub reset: Reset,
    pub time: ResetTime,
    pub reset_voltage: R,
    /// Whether the reset is differentiated.
    pub through: bool,
    /// Whether a voltage equal to the threshold fires.
    pub at_threshold: bool,
    /// Whether a hard reset at the beginning of a step discards what the step integrates, too.
    pub discards_input: bool,
}

impl<R: Real> Firing<R> {
    /// Computes one step from the voltage before it; `integrate` is the step without spikes. Returns the spike, 0 or 1, and the
    /// voltage after the step.
    #[inline(always)]
    pub(super) fn step<F: Fire<R>>(&self, before: R, integrate: impl Fn(R) -> R, fire: &F) -> (R, R) {
        // Choices by parameters are selections, not branches: the loop over neurons must become vector instructions.
        let is = |time: ResetTime| self.time == time;
        let next = is(ResetTime::NextStep);
        let early = fire.once(self.distance(before));
        let resets = self.resets(early);
        // What is subtracted does not decay.
        let first = self.reset == Reset::Zero && !self.discards_input;
        let before = choose(next && first, before - resets * self.amount(before), before);
        let voltage = integrate(before);
        let voltage = choose(next && !first, voltage - resets * self.amount(voltage), voltage);
        let lowered = voltage - early.detach() * self.threshold;
        let judged = choose(is(ResetTime::SameStepCorrected) && self.reset == Reset::Subtract, lowered, voltage);
        let spike = fire.once(self.distance(judged));
        (spike, choose(next, voltage, voltage - self.resets(spike) * self.amount(voltage)))
    }

    /// The distance of the voltage to the threshold, above 0 where it fires.
    #[inline(always)]
    fn distance(&self, voltage: R) -> R {
        // So small a number changes a distance of 0 only.
        let raised = if self.at_threshold { f64::from(f32::MIN_POSITIVE) } else { 0.0 };
        voltage - self.threshold + R::constant(raised)
    }

    /// The spike as the reset sees it.
    #[inline(always)]
    fn resets(&self, spike: R) -> R {
        choose(self.through, spike, spike.detach())
    }

    /// What the reset takes from the voltage.
    #[inline(always)]
    fn amount(&self, voltage: R) -> R {
        let soft = choose(self.reset == Reset::Subtract, self.threshold, R::constant(0.0));
        choose(self.reset == Reset::Zero, voltage - self.reset_voltage, soft)
    }
}

/// Selects by a parameter of the model.
#[inline(always)]
fn choose<R: Real>(condition: bool, if_true: R, if_false: R) -> R {
    let (zero, one) = (R::constant(0.0), R::constant(1.0));
    let mask = if condition { one.greater(zero) } else { zero.greater(one) };
    R::select(mask, if_true, if_false)
}
