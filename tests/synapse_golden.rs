//! Synapses against Nengo's filters: see `golden/README.md`.

mod common;

use common::{KINDS, distance, golden, mixed, tensor};
use tch::{Device, Kind, Tensor};
use tch_spiking::{Synapse, operation};

const NAMES: [&str; 6] = ["lowpass0.1", "lowpass0.005", "lowpass0", "lowpass1e-5", "alpha0.1", "alpha0.005"];

/// The synapse that the golden file calls `name`.
fn synapse(name: &str) -> Synapse {
    match (name.strip_prefix("lowpass"), name.strip_prefix("alpha")) {
        (Some(tau), _) => Synapse::Lowpass { tau: tau.parse().unwrap() },
        (_, Some(tau)) => Synapse::Alpha { tau: tau.parse().unwrap() },
        _ => panic!("{name}"),
    }
}

fn zero_state(synapse: Synapse, input: &Tensor) -> Vec<Tensor> {
    (0..synapse.state_len()).map(|_| input.get(0).zeros_like()).collect()
}

fn filter(synapse: Synapse, input: &Tensor, dt: f64) -> Tensor {
    operation::filter(synapse, input, dt, &mut zero_state(synapse, input)).unwrap()
}

#[test]
fn filters_are_those_of_nengo() {
    let file = golden("synapses.json");
    for (kind, tolerance) in KINDS.into_iter().zip([1e-5, 1e-9]) {
        let step = Tensor::ones([60], (kind, Device::Cpu));
        let impulse = step.zeros_like();
        let _ = impulse.get(0).fill_(1.0);
        for name in NAMES {
            let cases =
                [("random", &tensor(&file["x"], kind), 0.001), ("step", &step, 0.001), ("impulse", &impulse, 0.001)];
            for (case, input, dt) in cases.into_iter().chain([("dt10ms_step", &step, 0.01)]) {
                let error = distance(&filter(synapse(name), input, dt), &tensor(&file[name][case], kind));
                assert!(error < tolerance, "{name}, {case}, {kind:?}: {error}");
            }
        }
    }
}

#[test]
fn a_probe_of_nengo_shows_our_value_one_step_later() {
    let file = golden("synapses.json");
    for name in NAMES {
        let ours = filter(synapse(name), &Tensor::ones([60], (Kind::Double, Device::Cpu)), 0.001);
        for probe in ["probe_step_core", "probe_step_dl"] {
            let theirs = tensor(&file[name][probe], Kind::Double);
            let error = distance(&ours.narrow(0, 0, 59), &theirs.narrow(0, 1, 59));
            assert!(error < 1e-9, "{name}, {probe}: {error}");
        }
    }
}

#[test]
fn two_halves_with_the_state_carried_over_are_the_whole() {
    for kind in KINDS {
        let input = mixed(-1.0, 2.0, &[50, 2, 3], kind);
        for synapse in NAMES.map(synapse) {
            let mut state = zero_state(synapse, &input);
            let halves = [(0, 20), (20, 30)].map(|(start, steps)| {
                operation::filter(synapse, &input.narrow(0, start, steps), 0.001, &mut state).unwrap()
            });
            assert!(Tensor::cat(&halves, 0).equal(&filter(synapse, &input, 0.001)), "{synapse:?}");
        }
    }
}

#[test]
fn a_constant_is_passed_on_in_the_end_and_the_impulse_response_has_area_one() {
    for synapse in NAMES.map(synapse) {
        let input = Tensor::full([3000, 1], 2.5, (Kind::Double, Device::Cpu));
        assert!(distance(&filter(synapse, &input, 0.001).get(-1), &input.get(0)) < 1e-9);
        let _ = input.narrow(0, 1, 2999).zero_();
        let area = filter(synapse, &input, 0.001).sum(Kind::Double).double_value(&[]);
        assert!((area - 2.5).abs() < 1e-9, "{synapse:?}: {area}");
    }
}

#[test]
fn a_state_that_does_not_fit_is_an_error() {
    let input = Tensor::ones([4, 2], (Kind::Float, Device::Cpu));
    let state = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    let error =
        |synapse: Synapse, input: &Tensor, mut state: Vec<Tensor>| operation::filter(synapse, input, 0.001, &mut state);
    let (lowpass, alpha) = (Synapse::Lowpass { tau: 0.1 }, Synapse::Alpha { tau: 0.1 });
    assert!(error(alpha, &input, vec![state(&[2])]).unwrap_err().to_string().contains("2 state tensors"));
    assert!(error(lowpass, &input, vec![state(&[3])]).is_err());
    assert!(error(lowpass, &input.get(0).get(0), vec![state(&[])]).is_err());
    assert!(error(lowpass, &input.narrow(0, 0, 0), vec![state(&[2])]).is_err());
}
