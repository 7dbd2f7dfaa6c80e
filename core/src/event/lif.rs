//! Leaky integrate-and-fire neurons over time, without exponentials or logarithms.
//!
//! [`Lif::step`](crate::neuron::NeuronModel::step) takes the logarithm of the threshold crossing to get the time since the
//! spike, and later the exponential of that time to get the voltage: the two cancel. `c = (1 - v) / (J - 1)` is
//! `exp(-since / tau_rc) - 1`, and the decay over the part of a later step outside the refractory period is that of `c` times
//! a constant. So the state is the voltage and the decay to come, less 1 (which keeps all digits of a short part): one
//! multiplication and one addition a step move it on, and a spike costs one division.

use crate::kernels::Number;
use crate::neuron::{Lif, NeuronModel};

/// What all neurons of a layer share.
#[derive(Clone, Copy, Debug)]
pub(super) struct LifConstants<R> {
    /// `exp(-dt / tau_rc)`.
    decay: R,
    /// `exp(-dt / tau_rc) - 1`.
    decay_m1: R,
    /// `exp((tau_ref - dt) / tau_rc)`, the decay in the step after a spike at the very end of a step, and that less 1.
    after_spike: R,
    after_spike_m1: R,
    floor: R,
    /// What a spike gives to the output in its step.
    pub(super) height: R,
}

/// Longer refractory periods would let rounding (a little in each step) or overflow in.
const LONGEST_REFRACTORY_STEPS: f64 = 32.0;
const LONGEST_REFRACTORY_DECAY: f64 = 16.0;

impl<R: Number> LifConstants<R> {
    /// `None` where the shortcut would not be exact up to rounding.
    pub(super) fn new(lif: &Lif, dt: f64) -> Option<Self> {
        let decay = (-dt / lif.tau_rc).exp();
        let exact = lif.validate().is_ok()
            && lif.tau_ref <= LONGEST_REFRACTORY_STEPS * dt
            && lif.tau_ref <= LONGEST_REFRACTORY_DECAY * lif.tau_rc
            && decay > f64::from(f32::MIN_POSITIVE);
        exact.then(|| Self {
            decay: R::constant(decay),
            decay_m1: R::constant((-dt / lif.tau_rc).exp_m1()),
            after_spike: R::constant(((lif.tau_ref - dt) / lif.tau_rc).exp()),
            after_spike_m1: R::constant(((lif.tau_ref - dt) / lif.tau_rc).exp_m1()),
            floor: R::constant(lif.min_voltage),
            height: R::constant(lif.amplitude / dt),
        })
    }
}

/// Neurons that advance together.
pub(super) struct LifLanes<'a, R, const W: usize> {
    pub voltage: &'a mut [R; W],
    /// The decay over the step to come, less 1, if none of it was refractory: above 0 all of it is, and the decay over a
    /// whole step is its lower bound.
    pub pending: &'a mut [R; W],
}

impl<R: Number, const W: usize> LifLanes<'_, R, W> {
    /// Runs `steps` steps, at most [`STRETCH`](super::STRETCH). `current` is brought up to date by `drive` before each.
    /// Returns the spike times of each neuron: bit `t` is set if it spikes in step `t`.
    #[inline(always)]
    pub(super) fn run(
        self,
        constants: LifConstants<R>,
        steps: usize,
        mut current: [R; W],
        drive: impl Fn(usize, &mut [R; W]),
    ) -> [u32; W] {
        let LifConstants { decay, decay_m1, after_spike, after_spike_m1, floor, .. } = constants;
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let (mut voltage, mut pending, mut times) = (*self.voltage, *self.pending, [0u32; W]);
        for step in 0..steps {
            drive(step, &mut current);
            let (mut raised, mut active) = ([zero; W], [zero; W]);
            let mut any = false;
            for lane in 0..W {
                active[lane] = pending[lane].min(zero).max(decay_m1);
                raised[lane] = voltage[lane] - (current[lane] - voltage[lane]) * active[lane];
                any |= raised[lane] > one;
                pending[lane] = pending[lane].max(decay_m1) * decay + decay_m1;
                voltage[lane] = raised[lane].max(floor);
            }
            if !any {
                continue;
            }
            for lane in 0..W {
                let spike = raised[lane] > one;
                // The crossing lies in the active part of the step; see `Lif::step`.
                let since = ((one - raised[lane]) / (current[lane] - one)).max(active[lane]).min(zero);
                pending[lane] = R::select(spike, after_spike_m1 + after_spike * since, pending[lane]);
                voltage[lane] = R::select(spike, zero, voltage[lane]);
                times[lane] |= u32::from(spike) << step;
            }
        }
        (*self.voltage, *self.pending) = (voltage, pending);
        times
    }
}

/// Adds the number of spikes of each neuron to its count.
#[inline(always)]
pub(super) fn count_spikes<R: Number, const W: usize>(counts: &mut [R; W], times: &[u32; W]) {
    for lane in 0..W {
        counts[lane] = counts[lane] + R::constant(f64::from(times[lane].count_ones()));
    }
}

/// A bit for each of up to 64 lanes that holds.
#[inline(always)]
pub(super) fn bits<const W: usize>(holds: impl Fn(usize) -> bool) -> u64 {
    // In halves of 32 bits, which take half as many vector instructions as one of 64.
    let mut halves = [0u32; 2];
    for lane in 0..W {
        halves[lane / 32] |= u32::from(holds(lane)) << (lane % 32);
    }
    u64::from(halves[0]) | u64::from(halves[1]) << 32
}
