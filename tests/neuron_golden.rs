//! Neurons against numbers made by running Nengo, NengoDL and KerasSpiking: see `golden/README.md`.

mod common;

use common::{KINDS, Simulation, distance, golden, numbers, rate_and_derivative, simulate, tensor};
use serde_json::Value;
use tch::{Kind, Tensor};
use tch_spiking::neuron::{Lif, Neuron, RectifiedLinear};

/// The steps at which every neuron of `[T, B, S]` spiked.
fn spike_steps(output: &Tensor) -> Vec<Vec<i64>> {
    let steps = output.size()[0];
    let by_neuron = numbers(&output.reshape([steps, -1]).transpose(0, 1));
    let steps_of = |outputs: &[f64]| (0..steps).filter(|&step| outputs[step as usize] > 0.0).collect();
    by_neuron.chunks(steps as usize).map(steps_of).collect()
}

/// In `f64` every spike, in `f32` at most 0.5 % of them one step off (rounding may carry one over the border of a step).
fn assert_same_spikes(ours: &Tensor, theirs: &Tensor) {
    if ours.kind() == Kind::Double {
        return assert_eq!(distance(ours, theirs), 0.0);
    }
    let (mut total, mut moved) = (0, 0);
    for (ours, theirs) in spike_steps(ours).iter().zip(spike_steps(theirs)) {
        assert!(ours.len().abs_diff(theirs.len()) <= 1, "{ours:?} {theirs:?}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= 1);
            total += 1;
            moved += i32::from(*ours != theirs);
        }
    }
    assert!(f64::from(moved) <= 0.005 * f64::from(total), "{moved} of {total} spikes moved");
}

/// Compares all that `file` holds of a simulation: the output, and each state variable's history under its name there.
fn assert_same_simulation(ours: &Simulation, file: &Value, output: &str, state: &[&str]) {
    let kind = ours.output.kind();
    let theirs = |name: &str| tensor(&file[name], kind).unsqueeze(1);
    assert_same_spikes(&ours.output, &theirs(output));
    if kind == Kind::Double {
        for (ours, name) in ours.history.iter().zip(state) {
            assert!(distance(ours, &theirs(name)) < 1e-12, "{name}");
        }
    }
}

#[test]
fn lif_at_constant_currents() {
    for name in ["default", "amp001", "minv_neg1", "ref0"] {
        let file = golden(&format!("lif_const_{name}.json"));
        let lif: Lif = serde_json::from_value(file["params"].clone()).unwrap();
        for kind in KINDS {
            let current = tensor(&file["currents"], kind).unsqueeze(0);
            let steps = file["spikes"].as_array().unwrap().len() as i64;
            let ours = simulate(lif.clone(), &current, steps, 0.001, &current.zeros_like());
            assert_same_simulation(&ours, &file, "spikes", &["voltage", "refractory_dl"]);
        }
    }
}

#[test]
fn lif_at_varying_currents() {
    let mut file = golden("varying_lif.json");
    // The file counts one dt more than we do from a neuron's first spike on.
    let has_spiked = tensor(&file["output"], Kind::Double).cumsum(0, Kind::Double).gt(0.0);
    let ours = tensor(&file["refractory_time"], Kind::Double) - has_spiked.to_kind(Kind::Double) * 0.001;
    file["refractory_time"] = numbers(&ours).chunks(12).map(<[f64]>::to_vec).collect::<Vec<_>>().into();
    assert_varying(Lif::default(), &file, &["voltage", "refractory_time"]);
}

#[test]
fn rectified_linear_at_varying_currents() {
    assert_varying(RectifiedLinear::default(), &golden("varying_spikingrelu.json"), &["voltage"]);
}

fn assert_varying(neuron: impl Into<Neuron>, file: &Value, state: &[&str]) {
    let neuron = &neuron.into();
    for kind in KINDS {
        let current = tensor(&file["currents"], kind).unsqueeze(1);
        let start = tensor(&file["v0"], kind).unsqueeze(0);
        let ours = simulate(neuron, &current, current.size()[0], 0.001, &start);
        assert_same_simulation(&ours, file, "output", state);
    }
}

#[test]
fn rates_and_gradients() {
    let file = golden("rates_and_gradients.json");
    let soft = |smoothing| Lif { smoothing, ..Lif::default() };
    let neurons: [(&str, Neuron); 10] = [
        ("LIFRate", Lif::default().into()),
        ("LIF_default_training", Lif::default().into()),
        ("LIF_smooth1", soft(1.0).into()),
        ("LIF_smooth0.1", soft(0.1).into()),
        ("LIF_smooth0.02", soft(0.02).into()),
        ("LIF_smooth0.002", soft(0.002).into()),
        ("SoftLIF1", soft(1.0).into()),
        ("SoftLIF0.02_amp.01", Lif { amplitude: 0.01, ..soft(0.02) }.into()),
        ("SoftLIF_hunsberger", Lif { tau_rc: 0.05, tau_ref: 0.001, ..soft(0.02) }.into()),
        ("SpikingRectifiedLinear_training", RectifiedLinear::default().into()),
    ];
    for (name, neuron) in neurons {
        for (kind, tolerance, away_from_threshold) in [(Kind::Double, 1e-9, 0.0), (Kind::Float, 1e-4, 0.005)] {
            let current = tensor(&file["J"], kind);
            let (rate, derivative) = rate_and_derivative(&neuron, &current);
            for (what, ours) in [("rate", rate), ("grad", derivative)] {
                let theirs = numbers(&tensor(&file[name][what], Kind::Double));
                for ((ours, theirs), current) in numbers(&ours).into_iter().zip(theirs).zip(numbers(&current)) {
                    if (current - 1.0).abs() >= away_from_threshold {
                        let error = (ours - theirs).abs();
                        assert!(error <= tolerance * theirs.abs(), "{name} {what} {current} {kind:?}: {ours} {theirs}");
                    }
                }
            }
        }
    }
}

#[test]
fn gain_and_bias() {
    let file = golden("gain_bias.json");
    let neurons: [(&str, Neuron); 4] = [
        ("LIF", Lif::default().into()),
        ("LIF_rc05_ref1", Lif { tau_rc: 0.05, tau_ref: 0.001, ..Lif::default() }.into()),
        ("LIFRate_ref0", Lif { tau_ref: 0.0, ..Lif::default() }.into()),
        ("RectifiedLinear", RectifiedLinear::default().into()),
    ];
    for (name, neuron) in neurons {
        let file = &file[name];
        let column = |name: &str| numbers(&tensor(&file[name], Kind::Double));
        let rates = column("rates_at_x");
        let close = |ours: f64, theirs: f64| (ours - theirs).abs() <= 1e-9 * theirs.abs();
        for (i, (max_rate, intercept)) in column("max_rates").into_iter().zip(column("intercepts")).enumerate() {
            let (gain, bias) = neuron.rate().unwrap().gain_bias(max_rate, intercept).unwrap();
            assert!(
                close(gain, column("gain")[i]) && close(bias, column("bias")[i]),
                "{name} {max_rate}: {gain} {bias}"
            );
            for (row, x) in (0..9).map(|row| (row, f64::from(row) * 0.25 - 1.0)) {
                // At the intercept itself the rate's slope has no bound: any rounding shows.
                if x != intercept {
                    let rate = neuron.rate().unwrap().at(gain * x + bias).value;
                    assert!(close(rate, rates[row as usize * 4 + i]), "{name} {max_rate} at {x}: {rate}");
                }
            }
        }
    }
}
