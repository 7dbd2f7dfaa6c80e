//! Neurons over tensors: time, batches, memory layouts, threads, and what is refused.

mod common;

use common::{KINDS, bits, mixed, simulate};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor};
use tch_spiking::Error;
use tch_spiking::neuron::{Lif, Neuron, NeuronError, RateModel, RectifiedLinear, neuron_from_parameters};
use tch_spiking::operation::{self, SpikingDrive};

/// Every kind of neuron, hard and smooth, each with currents that make it spike.
fn neurons() -> [(Neuron, f64); 4] {
    [
        (Lif::default().into(), 20.0),
        (Lif { min_voltage: -1.0, amplitude: 0.01, ..Lif::default() }.into(), 20.0),
        (Lif { smoothing: 0.1, tau_ref: 0.0, ..Lif::default() }.into(), 20.0),
        (RectifiedLinear::default().into(), 2500.0),
    ]
}

/// The rate, and the gradients of input and bias, for an output that counts differently everywhere.
fn rate_and_gradients(neuron: &Neuron, input: &Tensor, gain: &Tensor, bias: &Tensor) -> [Tensor; 3] {
    let (input, bias) = (input.detach().set_requires_grad(true), bias.copy().set_requires_grad(true));
    let rate = operation::rate(neuron, &input, gain, &bias).unwrap();
    let weights = mixed(-1.0, 1.0, &rate.size(), rate.kind());
    let gradients = Tensor::run_backward(&[(&rate * weights).sum(rate.kind())], &[&input, &bias], false, false);
    [rate.detach(), gradients[0].shallow_clone(), gradients[1].shallow_clone()]
}

/// The same numbers stored `H, W, C`.
fn channels_last(tensor: &Tensor) -> Tensor {
    tensor.movedim_int(-3, -1).contiguous().movedim_int(-1, -3)
}

#[test]
fn constant_input_equals_the_same_input_repeated() {
    for (neuron, high) in &neurons() {
        for kind in KINDS {
            let (current, start) = (mixed(-1.0, *high, &[3, 70], kind), mixed(0.0, 1.0, &[3, 70], kind));
            let constant = simulate(neuron, &current, 50, 0.001, &start);
            let repeated = simulate(neuron, &current.unsqueeze(0).repeat([50, 1, 1]), 50, 0.001, &start);
            assert_eq!(bits(&constant.output), bits(&repeated.output));
            assert!(constant.output.max().double_value(&[]) > 0.0);
            for (constant, repeated) in constant.history.iter().zip(&repeated.history) {
                assert_eq!(bits(constant), bits(repeated));
            }
        }
    }
}

proptest! {
    #![proptest_config(common::cases(16))]

    #[test]
    fn state_carries_over_from_one_call_to_the_next(steps in prop::collection::vec(1i64..8, 1..6), images in 1i64..4) {
        let total: i64 = steps.iter().sum();
        for (neuron, high) in &neurons() {
            for kind in KINDS {
                let current = mixed(-1.0, *high, &[total, images, 67], kind);
                let start = mixed(0.0, 1.0, &[images, 67], kind);
                let at_once = simulate(neuron, &current, total, 0.001, &start);
                let (gain, bias) = (start.get(0).ones_like(), start.get(0).zeros_like());
                let mut state: Vec<_> = neuron.state().iter().map(|_| start.zeros_like()).collect();
                state[0] = start.copy();
                let (mut outputs, mut from) = (vec![], 0);
                for &steps in &steps {
                    let input = current.slice(0, from, from + steps, 1);
                    let drive = SpikingDrive::new(&input, &gain, &bias, steps, 0.001);
                    let record = vec![false; state.len()];
                    outputs.push(operation::spike(neuron, &drive, &mut state, &record).unwrap().output);
                    from += steps;
                }
                prop_assert_eq!(bits(&Tensor::cat(&outputs, 0)), bits(&at_once.output));
                for (state, at_once) in state.iter().zip(&at_once.state) {
                    prop_assert_eq!(bits(state), bits(at_once));
                }
            }
        }
    }
}

#[test]
fn history_ends_in_the_final_state() {
    for (neuron, high) in &neurons() {
        let start = mixed(0.0, 1.0, &[2, 30], Kind::Float);
        let ours = simulate(neuron, &mixed(0.0, *high, &[2, 30], Kind::Float), 20, 0.001, &start);
        for (history, state) in ours.history.iter().zip(&ours.state) {
            assert_eq!(bits(&history.get(19)), bits(state));
        }
    }
}

#[test]
fn images_of_a_batch_do_not_touch_each_other() {
    for (neuron, high) in &neurons() {
        for kind in KINDS {
            let (input, gain) = (mixed(-1.0, *high, &[5, 300], kind), mixed(0.5, 2.0, &[300], kind));
            let bias = mixed(-1.0, 1.0, &[300], kind);
            let [rate, ..] = rate_and_gradients(neuron, &input, &gain, &bias);
            let start = mixed(0.0, 1.0, &[5, 300], kind);
            let spikes = simulate(neuron, &input, 20, 0.001, &start).output;
            for image in 0..5 {
                let alone = input.narrow(0, image, 1);
                let [rate_alone, ..] = rate_and_gradients(neuron, &alone, &gain, &bias);
                assert_eq!(bits(&rate_alone.squeeze_dim(0)), bits(&rate.get(image)));
                let spikes_alone = simulate(neuron, &alone, 20, 0.001, &start.narrow(0, image, 1)).output;
                assert_eq!(bits(&spikes_alone), bits(&spikes.narrow(1, image, 1)));
            }
        }
    }
}

#[test]
fn memory_layout_changes_no_number() {
    for (neuron, high) in &neurons() {
        for kind in KINDS {
            let shape = [3, 5, 4];
            let (gain, bias) = (mixed(0.5, 2.0, &shape, kind), mixed(-1.0, 1.0, &shape, kind));
            let input = mixed(-1.0, *high, &[4, 3, 5, 4], kind);
            let sparse = input.repeat_interleave_self_int(2, -1, None).slice(-1, 0, 8, 2);
            let expected = rate_and_gradients(neuron, &input, &gain, &bias);
            for input in [channels_last(&input), sparse] {
                let ours = rate_and_gradients(neuron, &input, &gain, &bias);
                for (ours, expected) in ours.iter().zip(&expected) {
                    assert_eq!(bits(ours), bits(expected));
                }
            }
            let start = mixed(0.0, 1.0, &[4, 3, 5, 4], kind);
            let varying = mixed(-1.0, *high, &[30, 4, 3, 5, 4], kind);
            for input in [&input, &varying] {
                let expected = simulate(neuron, input, 30, 0.001, &start);
                let ours = simulate(neuron, &channels_last(input), 30, 0.001, &channels_last(&start));
                assert_eq!(bits(&ours.output), bits(&expected.output));
                let states = ours.history.iter().chain(&ours.state).zip(expected.history.iter().chain(&expected.state));
                for (ours, expected) in states {
                    assert_eq!(bits(ours), bits(expected));
                }
            }
        }
    }
}

#[test]
fn number_of_threads_changes_no_bit() {
    let before = tch::get_num_threads();
    for (neuron, high) in &neurons() {
        for kind in KINDS {
            let (input, gain) = (mixed(-1.0, *high, &[33, 5003], kind), mixed(0.5, 2.0, &[5003], kind));
            let bias = mixed(-1.0, 1.0, &[5003], kind);
            let start = mixed(0.0, 1.0, &[33, 5003], kind);
            let run = |threads| {
                tch::set_num_threads(threads);
                let [rate, by_input, by_bias] = rate_and_gradients(neuron, &input, &gain, &bias);
                let spikes = simulate(neuron, &input, 8, 0.001, &start);
                [rate, by_input, by_bias, spikes.output, spikes.state[0].shallow_clone()].map(|tensor| bits(&tensor))
            };
            assert!(run(1) == run(2));
        }
    }
    tch::set_num_threads(before);
}

#[test]
fn empty_batches_and_single_numbers_are_fine() {
    let options = (Kind::Float, Device::Cpu);
    for (neuron, _) in &neurons() {
        for shape in [&[0, 7][..], &[2, 0], &[1, 1]] {
            let input = Tensor::zeros(shape, options);
            let (gain, bias) = (Tensor::ones(&shape[1..], options), Tensor::zeros(&shape[1..], options));
            let ours = rate_and_gradients(neuron, &input, &gain, &bias);
            assert_eq!([ours[0].size(), ours[1].size(), ours[2].size()], [shape, shape, &shape[1..]]);
        }
        let no_images = Tensor::zeros([0, 7], options);
        let (gain, bias) = (Tensor::ones([7], options), Tensor::zeros([7], options));
        let drive = SpikingDrive::new(&no_images, &gain, &bias, 4, 0.001);
        let mut state: Vec<_> = neuron.state().iter().map(|_| no_images.copy()).collect();
        let spikes = operation::spike(neuron, &drive, &mut state, &vec![true; neuron.state().len()]).unwrap();
        assert_eq!(spikes.output.size(), [4, 0, 7]);
    }
}

#[test]
fn an_invalid_parameter_is_named() {
    let lif = Lif::default;
    let mut invalid: Vec<(Neuron, &str)> = vec![];
    for value in [0.0, -0.02, f64::NAN, f64::INFINITY] {
        invalid.push(((Lif { tau_rc: value, ..lif() }).into(), "tau_rc"));
        invalid.push(((Lif { amplitude: value, ..lif() }).into(), "amplitude"));
        invalid.push(((RectifiedLinear { amplitude: value }).into(), "amplitude"));
    }
    for value in [-0.002, f64::NAN, f64::INFINITY] {
        invalid.push(((Lif { tau_ref: value, ..lif() }).into(), "tau_ref"));
        invalid.push(((Lif { smoothing: value, ..lif() }).into(), "smoothing"));
    }
    invalid.push(((Lif { smoothing: 1e-60, ..lif() }).into(), "smoothing"));
    for value in [0.5, f64::NAN, f64::INFINITY] {
        invalid.push(((Lif { min_voltage: value, ..lif() }).into(), "min_voltage"));
    }
    let input = Tensor::zeros([1, 2], (Kind::Float, Device::Cpu));
    let row = input.get(0);
    for (neuron, name) in invalid {
        assert_names_parameter(&neuron.validate().unwrap_err(), name);
        let Err(Error::Neuron(error)) = operation::rate(&neuron, &input, &row, &row) else {
            panic!("{neuron:?} was accepted")
        };
        assert_names_parameter(&error, name);
        assert_names_parameter(&spike_error(&neuron, &input, &row, 1, 0.001), name);
    }
    for dt in [0.0, -0.001, f64::NAN, f64::INFINITY] {
        assert_names_parameter(&spike_error(lif(), &input, &row, 1, dt), "dt");
    }
    for (max_rate, intercept, name) in [
        (500.0, 0.0, "max_rate"),
        (0.0, 0.0, "max_rate"),
        (f64::NAN, 0.0, "max_rate"),
        (100.0, 1.0, "intercept"),
        (100.0, f64::NAN, "intercept"),
        (100.0, f64::NEG_INFINITY, "intercept"),
    ] {
        assert_names_parameter(&lif().gain_bias(max_rate, intercept).unwrap_err(), name);
    }
    let error = neuron_from_parameters("lif", toml::toml! { tau_rc = -1.0 }).unwrap_err();
    assert_names_parameter(&error, "tau_rc");
    let unknown = neuron_from_parameters("hodgkin", toml::Table::new()).unwrap_err().to_string();
    assert!(unknown.contains("hodgkin") && unknown.contains("rectified_linear"), "{unknown}");
}

fn assert_names_parameter(error: &NeuronError, name: &str) {
    assert!(matches!(error, NeuronError::Parameter { parameter, .. } if *parameter == name), "{error}");
    assert!(error.to_string().contains(name), "{error}");
}

/// What `spike` says to this input, with states of its shape.
fn spike_error(neuron: impl Into<Neuron>, input: &Tensor, row: &Tensor, steps: i64, dt: f64) -> NeuronError {
    let neuron = &neuron.into();
    let drive = SpikingDrive::new(input, row, row, steps, dt);
    let mut state: Vec<_> = neuron.state().iter().map(|_| input.zeros_like()).collect();
    match operation::spike(neuron, &drive, &mut state, &vec![false; neuron.state().len()]) {
        Err(Error::Neuron(error)) => error,
        other => panic!("expected an error about the neuron, got {other:?}"),
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused_with_what_was_expected() {
    let lif = Lif::default();
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    let float = |shape: &[i64]| zeros(shape, Kind::Float);
    let rate = |input: &Tensor, gain: &Tensor, bias: &Tensor| match operation::rate(lif.clone(), input, gain, bias) {
        Err(Error::Neuron(NeuronError::Input { cause, .. })) => cause,
        other => panic!("expected an error about the input, got {other:?}"),
    };
    let fits = float(&[2, 3]);
    assert!(rate(&fits, &float(&[4]), &float(&[3])).contains("[4]"));
    assert!(rate(&fits, &float(&[4]), &float(&[4])).contains("[2, 3]"));
    assert!(rate(&float(&[3]), &float(&[2, 3]), &float(&[2, 3])).contains("[2, 3]"));
    assert!(rate(&fits, &zeros(&[3], Kind::Double), &float(&[3])).contains("Double"));
    assert!(rate(&zeros(&[2, 3], Kind::Double), &float(&[3]), &float(&[3])).contains("Double"));
    for kind in [Kind::Int64, Kind::Bool, Kind::ComplexFloat] {
        assert!(rate(&zeros(&[2, 3], kind), &zeros(&[3], kind), &zeros(&[3], kind)).contains(&format!("{kind:?}")));
    }

    let row = float(&[3]);
    for (input, steps) in
        [(float(&[3]), 1), (float(&[5, 2, 3]), 4), (float(&[1, 5, 2, 3]), 5), (fits.copy(), 0), (fits.copy(), -1)]
    {
        let error = spike_error(lif.clone(), &input, &row, steps, 0.001).to_string();
        assert!(error.contains("expected") && error.contains(&format!("{:?}", input.size())), "{error}");
    }
    let drive = SpikingDrive::new(&fits, &row, &row, 2, 0.001);
    let states: [&[Tensor]; 4] =
        [&[], &[fits.copy()], &[fits.copy(), float(&[4, 3])], &[fits.copy(), zeros(&[2, 3], Kind::Double)]];
    for state in states {
        let mut state: Vec<_> = state.iter().map(Tensor::shallow_clone).collect();
        let error = operation::spike(lif.clone(), &drive, &mut state, &[false, false]).unwrap_err().to_string();
        assert!(error.contains("state") && error.contains("expected"), "{error}");
    }
    assert!(operation::spike(lif.clone(), &drive, &mut [fits.copy(), fits.copy()], &[true]).is_err());
}

#[test]
fn a_refused_call_leaves_the_state_as_it_was() {
    let lif = Lif::default();
    let (input, row) = (mixed(2.0, 20.0, &[2, 3], Kind::Float), mixed(1.0, 2.0, &[3], Kind::Float));
    let mut state = [mixed(0.0, 1.0, &[2, 3], Kind::Float), Tensor::zeros([2, 4], (Kind::Float, Device::Cpu))];
    let before = bits(&state[0]);
    let drive = SpikingDrive::new(&input, &row, &row, 2, 0.001);
    assert!(operation::spike(lif.clone(), &drive, &mut state, &[false, false]).is_err());
    assert_eq!(bits(&state[0]), before);
}
