//! The leaky integrate-and-fire neuron.

use serde::{Deserialize, Serialize};

use crate::neuron::{
    Fire, Initial, NeuronError, NeuronModel, Output, Rate, RateModel, Real, StateVariable, StepInput, WithRate,
};

/// Below this, `softplus(y)` is `e^y` to the last digit of `f32` (and its logarithm is `y`).
const SOFTPLUS_TAIL: f64 = -20.0;

/// The leaky integrate-and-fire (LIF) neuron: `tau_rc dv/dt = J - v`. At `v = 1` it spikes, resets `v` to 0 and is
/// silent for `tau_ref`.
///
/// **Rate** (training): `a(J) = A / (tau_ref + tau_rc ln(1 + 1/(J - 1)))` above `J = 1`, else 0. Its slope is infinite
/// at the threshold, so with `smoothing = sigma > 0` `J - 1` becomes `sigma softplus((J - 1) / sigma)`: the SoftLIF of
/// Hunsberger & Eliasmith (2016), smooth everywhere; it approaches the hard rate as `sigma` goes to 0.
///
/// **Step** (inference): the membrane equation is integrated exactly over the part of the timestep outside the
/// refractory period, and the time of the threshold crossing inside the step is kept in the refractory time. The mean
/// rate over a long run is therefore `a(J)` for every timestep up to `tau_ref`. With a longer timestep, up to
/// `dt - tau_ref` is lost per spike, and there is never more than one spike per timestep.
///
/// **Gradients through time**: with `d` the active part of the step, `dv'/dv = e^(-d / tau_rc)` and `dv'/dJ = 1 - e^(-d / tau_rc)`.
/// The reset, the refractory time and the time of the crossing are constants (the reset is *detached*).
///
/// ```
/// use tch_spiking_core::neuron::{Heaviside, Lif, NeuronModel, RateModel, StepInput};
///
/// let lif = Lif::default();
/// let rate = lif.rate(2.0_f64).value;
/// let mut state = [0.0_f64; 2];
/// let spikes = (0..1000).filter(|_| lif.step(StepInput::new(2.0, 0.001), &mut state, &Heaviside) > 0.0).count();
/// assert!((rate - spikes as f64).abs() <= 1.0); // spikes in one second against Hz
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lif {
    /// Membrane time constant (s), above 0; `tau_mem` in other libraries.
    pub tau_rc: f64,
    /// Refractory period after a spike (s), 0 or more.
    pub tau_ref: f64,
    /// Integral of one spike over time (dimensionless), above 0.
    pub amplitude: f64,
    /// Lower bound of the membrane voltage; 0 or less, `-inf` for no bound.
    pub min_voltage: f64,
    /// `sigma` of the SoftLIF rate (in units of current); 0 for the hard rate. It does not affect the spikes.
    pub smoothing: f64,
}

impl Default for Lif {
    fn default() -> Self {
        Self { tau_rc: 0.02, tau_ref: 0.002, amplitude: 1.0, min_voltage: 0.0, smoothing: 0.0 }
    }
}

impl Lif {
    /// Validates the parameters, as those of the model named `neuron`.
    pub(super) fn check(&self, neuron: &'static str) -> Result<(), NeuronError> {
        let require = |name, value: f64, valid, expected| NeuronError::require(neuron, name, value, valid, expected);
        require("tau_rc", self.tau_rc, self.tau_rc > 0.0 && self.tau_rc.is_finite(), "a time above 0 s")?;
        require("tau_ref", self.tau_ref, self.tau_ref >= 0.0 && self.tau_ref.is_finite(), "a time of 0 s or more")?;
        require("amplitude", self.amplitude, self.amplitude > 0.0 && self.amplitude.is_finite(), "a number above 0")?;
        require("min_voltage", self.min_voltage, self.min_voltage <= 0.0, "0, a negative number or -inf")?;
        // Above 1e4 the "threshold" would be wider than any current, and the tail's logarithm could change sign; far
        // below 1e-20 its reciprocal overflows in `f32`.
        let smooth = self.smoothing == 0.0 || (1e-20..=1e4).contains(&self.smoothing);
        require("smoothing", self.smoothing, smooth, "0 (hard rate), or 1e-20 to 1e4")
    }

    #[inline(always)]
    fn hard_rate<R: Real>(&self, current: R) -> Rate<R> {
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let overshoot = current - one;
        let above = overshoot.greater(zero);
        let overshoot = R::select(above, overshoot, one);
        let interval = R::constant(self.tau_ref) + R::constant(self.tau_rc) * overshoot.ln_1p_recip();
        let value = (R::constant(self.amplitude) / interval).finite();
        // A tau_rc / (interval^2 J (J - 1)), the product in an order in which it does not overflow.
        let slope = R::constant(self.amplitude * self.tau_rc) / ((interval * current) * (interval * overshoot));
        Rate { value: R::select(above, value, zero), derivative: R::select(above, slope.finite(), zero) }
    }

    #[inline(always)]
    fn soft_rate<R: Real>(&self, current: R) -> Rate<R> {
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let (sigma, inverse_sigma) = (R::constant(self.smoothing), R::constant(1.0 / self.smoothing));
        let overshoot = current - one;
        let y = overshoot * inverse_sigma;
        let in_tail = R::constant(SOFTPLUS_TAIL).greater(y);
        let y = R::select(in_tail, R::constant(SOFTPLUS_TAIL), y);
        let decay = (-y.abs()).exp();
        // sigma softplus(y) = max(J - 1, 0) + sigma ln(1 + e^-|y|).
        let smooth = overshoot.max(zero) + sigma * decay.ln_1p();
        let log_tail = -(overshoot * inverse_sigma) - R::constant(self.smoothing.ln());
        let log = R::select(in_tail, log_tail, smooth.ln_1p_recip());
        let interval = R::constant(self.tau_ref) + R::constant(self.tau_rc) * log;
        let value = (R::constant(self.amplitude) / interval).finite();
        // A tau_rc sigmoid(y) / (interval^2 smooth (smooth + 1)); in the tail sigmoid(y) / smooth is 1 / sigma.
        let scale = R::constant(self.amplitude * self.tau_rc);
        let above = scale * R::select(y.greater(zero), one, decay);
        let below = (interval * smooth) * (interval * (smooth + one)) * (one + decay);
        let below = R::select(in_tail, interval * (interval * sigma), below);
        let slope = R::select(in_tail, scale, above) / below;
        Rate { value, derivative: slope.finite() }
    }
}

impl NeuronModel for Lif {
    const NAME: &'static str = "lif";
    const STATE: &'static [StateVariable] =
        &[StateVariable::new("voltage", Initial::Voltage), StateVariable::new("refractory_time", Initial::Value(0.0))];
    const OUTPUT: Output = Output::Spike;
    type State<R: Real> = [R; 2];
    type Learned<R: Real> = [R; 0];
    type Rates = WithRate;

    fn validate(&self) -> Result<(), NeuronError> {
        self.check(Self::NAME)
    }

    fn amplitude(&self) -> f64 {
        self.amplitude
    }

    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 2], fire: &F) -> R {
        let StepInput { current, dt, .. } = input;
        let [voltage, refractory] = *state;
        let (zero, one, step) = (R::constant(0.0), R::constant(1.0), R::constant(dt));
        // Gradients flow through the membrane and the spike, not through the refractory time or the time of the crossing.
        let active = (step - refractory.detach()).max(zero).min(step);
        let voltage = voltage - (current - voltage) * (-active / R::constant(self.tau_rc)).exp_m1();
        let spikes = voltage.greater(one);
        // The time since the exact threshold crossing, which lies in the active part of the step. It is clamped against
        // rounding; at an infinite current, where the quotient is NaN, the crossing is at the beginning of that part.
        let crossing = (one - voltage) / (current - one);
        let since = (R::constant(-self.tau_rc) * crossing.ln_1p()).min(active).max(zero);
        *state = [
            R::select(spikes, zero, voltage.max(R::constant(self.min_voltage))),
            R::select(spikes, R::constant(self.tau_ref) - since, refractory - step).detach(),
        ];
        fire.once(voltage - one) * R::constant(self.amplitude / dt)
    }
}

impl RateModel for Lif {
    fn max_rate(&self) -> f64 {
        1.0 / self.tau_ref
    }

    #[inline(always)]
    fn rate<R: Real>(&self, current: R) -> Rate<R> {
        if self.smoothing > 0.0 { self.soft_rate(current) } else { self.hard_rate(current) }
    }

    /// Computes `gain = (J* - 1) / (1 - intercept)`, `bias = 1 - gain intercept`, with `J* - 1 = 1 / (e^((1/max_rate -
    /// tau_ref) / tau_rc) - 1)`.
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError> {
        let valid = max_rate > 0.0 && max_rate < RateModel::max_rate(self);
        let expected = format!("above 0 and below 1/tau_ref = {} Hz", RateModel::max_rate(self));
        NeuronError::require(Self::NAME, "max_rate", max_rate, valid, &expected)?;
        let below_one = intercept < 1.0 && intercept.is_finite();
        NeuronError::require(Self::NAME, "intercept", intercept, below_one, "a number below 1")?;
        let overshoot = 1.0 / ((1.0 / max_rate - self.tau_ref) / self.tau_rc).exp_m1();
        let gain = overshoot / (1.0 - intercept);
        Ok((gain, 1.0 - gain * intercept))
    }
}
