//! What holds of neurons whatever their parameters: spikes against rates, limits, monotony.

mod common;

use common::{KINDS, cases, distance, mixed, numbers, rate_and_derivative, simulate};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};
use tch_spiking::neuron::{Lif, Neuron, RectifiedLinear};

/// `10^low .. 10^high`, even on a logarithmic scale.
fn decades(low: f64, high: f64) -> impl Strategy<Value = f64> {
    (low..high).prop_map(|exponent| 10f64.powf(exponent))
}

/// Currents with start voltages.
fn neurons(low: f64, high: f64) -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((low..high, 0.0..1.0), 8)
}

fn columns(neurons: &[(f64, f64)], kind: Kind) -> (Tensor, Tensor) {
    let (current, voltage): (Vec<f64>, Vec<f64>) = neurons.iter().copied().unzip();
    let row = |numbers: &[f64]| Tensor::from_slice(numbers).to_kind(kind).unsqueeze(0);
    // Rounding to f32 may carry a voltage up to 1, and a current down to the threshold.
    (row(&current), row(&voltage).clamp_max(0.999_999))
}

/// How many spikes each neuron had up to and with every step, and how many `rate` (Hz) stands for: both `[T, S]`.
fn counts(neuron: impl Into<Neuron>, neurons: &[(f64, f64)], dt: f64, kind: Kind) -> (Tensor, Tensor) {
    let neuron = &neuron.into();
    let steps = (2.0 / dt) as i64;
    let (current, voltage) = columns(neurons, kind);
    let output = simulate(neuron, &current, steps, dt, &voltage).output.squeeze_dim(1).to_kind(Kind::Double);
    let spikes = (output * (dt / neuron.amplitude())).cumsum(0, Kind::Double);
    let rates: Vec<f64> = numbers(&current).iter().map(|&current| neuron.rate().unwrap().at(current).value).collect();
    let seconds = (Tensor::arange(steps, (Kind::Double, Device::Cpu)) + 1.0) * dt;
    (spikes, seconds.outer(&Tensor::from_slice(&rates)) / neuron.amplitude())
}

/// What rounding adds to one spike.
fn slack(kind: Kind) -> f64 {
    if kind == Kind::Double { 1e-6 } else { 5e-3 }
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn lif_spikes_as_often_as_its_rate_at_every_step(
        tau_rc in decades(-2.5, -1.0), dt in decades(-3.5, -2.3), refractory_steps in 1.0..5.0,
        amplitude in decades(-2.0, 1.0), neurons in neurons(1.02, 60.0),
    ) {
        let lif = Lif { tau_rc, tau_ref: dt * refractory_steps, amplitude, ..Lif::default() };
        for kind in KINDS {
            let (spikes, expected) = counts(lif.clone(), &neurons, dt, kind);
            prop_assert!(distance(&spikes, &expected) <= 1.0 + slack(kind));
        }
    }

    /// A step has no room for a second spike: after one, up to `dt - tau_ref` is lost, and no more.
    #[test]
    fn lif_with_a_refractory_period_below_the_timestep_loses_no_more_than_that(
        tau_rc in decades(-2.5, -1.0), dt in decades(-3.0, -2.0), refractory_steps in 0.0..1.0,
        neurons in neurons(1.02, 200.0),
    ) {
        let lif = Lif { tau_rc, tau_ref: dt * refractory_steps, ..Lif::default() };
        for kind in KINDS {
            let (spikes, expected) = counts(lif.clone(), &neurons, dt, kind);
            let seconds = (Tensor::arange(spikes.size()[0], (Kind::Double, Device::Cpu)) + 1.0).unsqueeze(1) * dt;
            let interval = &seconds / &expected;
            let fewest: Tensor = &seconds / (interval + (dt - lif.tau_ref)) - 1.0;
            let most = expected + 1.0;
            prop_assert!((most - &spikes).min().double_value(&[]) >= -slack(kind));
            prop_assert!((&spikes - fewest).min().double_value(&[]) >= -slack(kind));
        }
    }

    #[test]
    fn lif_is_silent_up_to_the_threshold(tau_rc in decades(-2.5, -1.0), neurons in neurons(-50.0, 1.0)) {
        let lif = Lif { tau_rc, ..Lif::default() };
        for kind in KINDS {
            let (current, voltage) = columns(&neurons, kind);
            for current in [&current, &current.ones_like()] {
                let output = simulate(lif.clone(), current, 3000, 0.001, &voltage).output;
                prop_assert_eq!(output.max().double_value(&[]), 0.0);
            }
        }
    }

    #[test]
    fn rectified_linear_spikes_as_often_as_its_rate_at_every_step(
        dt in decades(-3.5, -2.0), amplitude in decades(-2.0, 1.0), neurons in neurons(-100.0, 3000.0),
    ) {
        for kind in KINDS {
            let (spikes, expected) = counts(RectifiedLinear { amplitude }, &neurons, dt, kind);
            prop_assert!(distance(&spikes, &expected) <= 1.0 + slack(kind));
        }
    }

    #[test]
    fn voltage_stays_between_its_floor_and_the_threshold(
        min_voltage in prop_oneof![Just(0.0), -5.0..0.0, Just(f64::NEG_INFINITY)],
        tau_rc in decades(-3.0, -1.0), seed in 0.0..1.0,
    ) {
        let lif = Lif { tau_rc, min_voltage, ..Lif::default() };
        for kind in KINDS {
            let current = mixed(-100.0 - seed, 20.0 + seed, &[200, 1, 40], kind);
            let ours = simulate(lif.clone(), &current, 200, 0.001, &mixed(0.0, 1.0, &[1, 40], kind));
            let lowest = ours.history[0].min().double_value(&[]);
            prop_assert!(lowest >= min_voltage - 1e-6, "{} {}", lowest, min_voltage);
            prop_assert!(ours.history[0].max().double_value(&[]) <= 1.0);
            prop_assert!(min_voltage > -50.0 || lowest < -1.0, "without a floor the voltage falls");
        }
    }
}

/// Currents at which formulas break: extremes, the threshold and its neighbours, and numbers of every magnitude.
fn hostile_currents(kind: Kind) -> Tensor {
    let mut currents = vec![0.0, -0.0, 1.0, f64::from(f32::MIN_POSITIVE), 1e-45];
    currents.extend((-440..=380).map(|exponent| 10f64.powf(f64::from(exponent) / 10.0)));
    currents.extend((1..160).map(|exponent| 1.0 + 10f64.powf(f64::from(-exponent) / 10.0)));
    currents.extend([f32::MAX, 1f32.next_up(), 1f32.next_down()].map(f64::from));
    if kind == Kind::Double {
        currents.extend([f64::MAX, f64::MIN_POSITIVE, 5e-324, 1f64.next_up(), 1f64.next_down(), 1e300, 1e150]);
    }
    let currents = Tensor::from_slice(&currents);
    Tensor::cat(&[&currents, &-&currents, &(2.0 - &currents)], 0).to_kind(kind).clamp(
        if kind == Kind::Double { f64::MIN } else { f32::MIN.into() },
        if kind == Kind::Double { f64::MAX } else { f32::MAX.into() },
    )
}

fn is_finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}

/// No NaN, no infinity, no negative rate or slope, no rate above the highest there is, and none in the spikes either.
fn assert_sound(neuron: impl Into<Neuron>) {
    let neuron = &neuron.into();
    neuron.validate().unwrap();
    for kind in KINDS {
        let current = hostile_currents(kind);
        let (rate, derivative) = rate_and_derivative(neuron, &current);
        assert!(is_finite(&rate) && is_finite(&derivative), "{neuron:?} {kind:?}");
        assert!(rate.min().double_value(&[]) >= 0.0 && derivative.min().double_value(&[]) >= 0.0, "{neuron:?}");
        let highest = rate.max().double_value(&[]) / neuron.amplitude();
        assert!(highest <= neuron.rate().unwrap().max_rate() * (1.0 + 1e-5), "{neuron:?} {kind:?}: {highest}");
        let start = mixed(0.0, 1.0, &[1, current.size()[0]], kind);
        let ours = simulate(neuron, &current.unsqueeze(0), 5, 0.001, &start);
        let alternating = Tensor::stack(&[&current, &-&current, &current.flip([0]), &current], 0).unsqueeze(1);
        let varying = simulate(neuron, &alternating, 4, 0.001, &start);
        for ours in [ours, varying] {
            assert!(is_finite(&ours.output), "{neuron:?} {kind:?}: output");
            assert!(ours.history.iter().chain(&ours.state).all(is_finite), "{neuron:?} {kind:?}: state");
        }
    }
}

#[test]
fn no_finite_current_gives_nan_or_infinity() {
    for amplitude in [1.0, 0.01, 1e6, 1e-6] {
        assert_sound(RectifiedLinear { amplitude });
        for tau_ref in [0.002, 0.0, 1e-9, 1e3] {
            for smoothing in [0.0, 1e-20, 1e-12, 1e-6, 0.02, 1.0, 1e4] {
                for tau_rc in [0.02, 1e-9, 1e3] {
                    assert_sound(Lif { tau_rc, tau_ref, amplitude, smoothing, ..Lif::default() });
                }
            }
        }
    }
    assert_sound(Lif { min_voltage: f64::NEG_INFINITY, ..Lif::default() });
}

#[test]
fn soft_rate_tends_to_the_hard_rate() {
    for kind in KINDS {
        let current = Tensor::cat(&[mixed(-5.0, 0.9, &[500], kind), mixed(1.1, 50.0, &[500], kind)], 0);
        let (hard, hard_derivative) = rate_and_derivative(Lif::default(), &current);
        let mut last = f64::INFINITY;
        for smoothing in [0.1, 1e-2, 1e-3, 1e-5, 1e-8, 1e-12] {
            let (soft, derivative) = rate_and_derivative(Lif { smoothing, ..Lif::default() }, &current);
            let error = distance(&soft, &hard);
            assert!(error <= last, "{smoothing}: {error} after {last}");
            // Below the threshold A sigma / (tau_rc |J - 1|) is left.
            assert!(error <= 600.0 * smoothing + 1e-3, "{smoothing}: {error}");
            assert!(smoothing > 1e-8 || distance(&derivative, &hard_derivative) < 1e-2);
            last = error;
        }
    }
}

/// Also where one piece of the smooth formula takes over from another.
#[test]
fn rate_never_falls_as_the_current_grows() {
    for kind in KINDS {
        let current = Tensor::linspace(-4.0, 6.0, 200_001, (kind, Device::Cpu));
        for smoothing in [0.0, 1e-6, 0.002, 0.02, 0.1, 1.0] {
            let (rate, _) = rate_and_derivative(Lif { smoothing, ..Lif::default() }, &current);
            // Rounding may take back a few units in the last place.
            let rounding = &rate.slice(0, 1, None, 1) * if kind == Kind::Double { 1e-14 } else { 2e-6 };
            let rise = rate.diff::<Tensor>(1, 0, None, None) + rounding;
            assert!(rise.min().double_value(&[]) >= 0.0, "{smoothing} {kind:?}");
        }
        let (rate, _) = rate_and_derivative(RectifiedLinear::default(), &current);
        assert!(rate.diff::<Tensor>(1, 0, None, None).min().double_value(&[]) >= 0.0);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn gain_and_bias_give_the_rate_and_the_intercept_asked_for(
        max_rate in 20.0..450.0, intercept in -2.0..0.9, tau_rc in decades(-2.0, -1.3),
    ) {
        let lif = Lif { tau_rc, ..Lif::default() };
        let neurons: [Neuron; 2] = [lif.into(), RectifiedLinear::default().into()];
        for neuron in neurons {
            let neuron = neuron.rate().unwrap();
            let (gain, bias) = neuron.gain_bias(max_rate, intercept).unwrap();
            let rate = |x: f64| neuron.at(gain * x + bias).value;
            prop_assert!((rate(1.0) - max_rate).abs() < 1e-6 * max_rate);
            prop_assert_eq!(rate(intercept - 1e-6), 0.0);
            prop_assert!(rate(intercept + 1e-3) > 0.0);
        }
    }
}
