//! Every gradient against central differences.

mod common;

use common::{distance, mixed, numbers};
use tch::{Device, Kind, Tensor, no_grad};
use tch_spiking::neuron::{Lif, Neuron, RectifiedLinear};
use tch_spiking::operation::{self, SpikingDrive};

const STEP: f64 = 1e-5;
const OPTIONS: (Kind, Device) = (Kind::Double, Device::Cpu);

/// Two images of a layer, its gain, bias, and how much each output counts in the loss.
struct Layer {
    input: Tensor,
    gain: Tensor,
    bias: Tensor,
    weights: Tensor,
}

impl Layer {
    /// A layer whose currents are between `low` and `high`.
    fn new(low: f64, high: f64) -> Self {
        tch::manual_seed(7);
        let (batch, neurons) = ([4, 2, 5, 3], [2, 5, 3]);
        let sign = Tensor::rand(neurons, OPTIONS).gt(0.2).to_kind(Kind::Double) * 2.0 - 1.0;
        let gain = (Tensor::rand(neurons, OPTIONS) + 0.5) * sign;
        let bias = Tensor::randn(neurons, OPTIONS);
        let input = (mixed(low, high, &batch, Kind::Double) - &bias) / &gain;
        Self { input, gain, bias, weights: Tensor::randn(batch, OPTIONS) }
    }

    /// The weighted outputs with input and bias moved by so much.
    fn outputs(&self, neuron: &Neuron, input_step: f64, bias_step: f64) -> Tensor {
        let (input, bias) = (&self.input + input_step, &self.bias + bias_step);
        no_grad(|| operation::rate(neuron, &input, &self.gain, &bias).unwrap() * &self.weights)
    }
}

/// The largest error relative to the number that should be there.
fn relative_error(ours: &Tensor, expected: &Tensor) -> f64 {
    let pairs = numbers(ours).into_iter().zip(numbers(expected));
    pairs.map(|(ours, expected)| (ours - expected).abs() / expected.abs().max(1e-12)).fold(0.0, f64::max)
}

fn assert_gradients_match(neuron: impl Into<Neuron>, low: f64, high: f64) {
    let neuron = &neuron.into();
    let layer = Layer::new(low, high);
    let input = layer.input.copy().set_requires_grad(true);
    let bias = layer.bias.copy().set_requires_grad(true);
    let loss = (operation::rate(neuron, &input, &layer.gain, &bias).unwrap() * &layer.weights).sum(Kind::Double);
    loss.backward();
    let central = |input: f64, bias: f64| {
        (layer.outputs(neuron, input, bias) - layer.outputs(neuron, -input, -bias)) / (2.0 * STEP)
    };
    let error = relative_error(&input.grad(), &central(STEP, 0.0));
    assert!(error < 1e-6, "{neuron:?} with respect to the input: {error}");
    let by_bias = central(0.0, STEP).sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
    // Images may cancel out: the error is judged against the whole tensor.
    let error = distance(&bias.grad(), &by_bias) / by_bias.abs().max().double_value(&[]).max(1e-12);
    assert!(error < 1e-6, "{neuron:?} with respect to the bias: {error}");
}

#[test]
fn lif() {
    for lif in [
        Lif::default(),
        Lif { tau_rc: 0.05, tau_ref: 0.001, amplitude: 0.01, ..Lif::default() },
        Lif { tau_ref: 0.0, ..Lif::default() },
    ] {
        assert_gradients_match(lif.clone(), 1.1, 5.0);
        assert_gradients_match(lif.clone(), 5.0, 100.0);
        assert_gradients_match(lif.clone(), -50.0, 0.9);
    }
}

#[test]
fn soft_lif() {
    for smoothing in [0.05, 0.3, 1.0] {
        let lif = Lif { smoothing, amplitude: 0.5, ..Lif::default() };
        // Across the threshold, and deep in the tail: there is no kink.
        assert_gradients_match(lif.clone(), 0.1, 3.0);
        assert_gradients_match(lif.clone(), -30.0, 30.0);
    }
}

#[test]
fn rectified_linear() {
    for amplitude in [1.0, 0.01] {
        assert_gradients_match(RectifiedLinear { amplitude }, 0.1, 300.0);
        assert_gradients_match(RectifiedLinear { amplitude }, -300.0, -0.1);
    }
}

#[test]
fn gradients_go_on_through_other_operations() {
    let lif = Lif { smoothing: 0.2, ..Lif::default() };
    let (first, second) = (mixed(-0.5, 0.5, &[6, 10], Kind::Double), mixed(-0.1, 0.1, &[10, 6], Kind::Double));
    let images = mixed(0.0, 2.0, &[3, 6], Kind::Double);
    let (gain, bias) = (Tensor::full([10], 2.0, OPTIONS), Tensor::ones([10], OPTIONS));
    let loss = |first: &Tensor| {
        let hidden = operation::rate(lif.clone(), &images.matmul(first), &gain, &bias).unwrap();
        let output = operation::rate(
            RectifiedLinear::default(),
            &hidden.matmul(&second),
            &gain.slice(0, 0, 6, 1),
            &bias.slice(0, 0, 6, 1),
        );
        (output.unwrap() * 0.01).tanh().sum(Kind::Double)
    };
    let leaf = first.copy().set_requires_grad(true);
    loss(&leaf).backward();
    for (row, column) in [(0, 0), (2, 5), (5, 9), (3, 1)] {
        let moved = |step: f64| {
            let first = first.copy();
            let _ = first.get(row).get(column).g_add_scalar_(step);
            no_grad(|| loss(&first)).double_value(&[])
        };
        let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
        let ours = leaf.grad().double_value(&[row, column]);
        assert!((ours - expected).abs() <= 1e-6 * expected.abs() && expected != 0.0, "{ours} {expected}");
    }
}

#[test]
fn gain_is_fixed_and_only_what_needs_a_gradient_gets_one() {
    let layer = Layer::new(1.1, 5.0);
    let leaf = |tensor: &Tensor| tensor.copy().set_requires_grad(true);
    let (gain, bias) = (leaf(&layer.gain), leaf(&layer.bias));
    let rate = operation::rate(Lif::default(), &layer.input, &gain, &bias).unwrap();
    rate.sum(Kind::Double).backward();
    assert!(bias.grad().defined() && !gain.grad().defined() && !layer.input.grad().defined());
    assert!(!operation::rate(Lif::default(), &layer.input, &layer.gain, &layer.bias).unwrap().requires_grad());
}

/// Forward the spikes of inference, backward the gradient of the rate at each timestep.
#[test]
fn spiking_aware() {
    let (steps, batch, shape) = (20, 3, [2i64, 5, 3]);
    let layer = Layer::new(0.1, 3.0);
    let sizes = [&[steps, batch], shape.as_slice()].concat();
    let drives = |input: &Tensor, bias: &Tensor| {
        for neuron in [Neuron::new(Lif { amplitude: 0.5, ..Lif::default() }), RectifiedLinear::default().into()] {
            let neuron = &neuron;
            let drive = SpikingDrive::new(input, &layer.gain, bias, steps, 0.001);
            let state = || -> Vec<Tensor> {
                neuron.state().iter().map(|_| Tensor::zeros([&[batch], &shape[..]].concat(), OPTIONS)).collect()
            };
            let (mut plain, mut aware) = (state(), state());
            let none = vec![false; plain.len()];
            let expected = no_grad(|| operation::spike(neuron, &drive, &mut plain, &none).unwrap().output);
            let spikes = operation::spike_aware(neuron, &drive, &mut aware).unwrap().output;
            assert_eq!(spikes.detach(), expected);
            assert!(plain.iter().zip(&aware).all(|(plain, aware)| plain == aware && !aware.requires_grad()));

            let weights = Tensor::randn(&sizes, OPTIONS);
            let of = |output: &Tensor| {
                let loss = (output * &weights).sum(Kind::Double);
                Tensor::run_backward(&[loss], &[input, bias], false, false)
            };
            let ours = of(&spikes);
            let over_time = if input.dim() == bias.dim() + 1 {
                input.unsqueeze(0).expand(&sizes, false)
            } else {
                input.shallow_clone()
            };
            let rates = of(&operation::rate(neuron, &over_time, &layer.gain, bias).unwrap());
            for (ours, rates) in ours.iter().zip(&rates) {
                assert!(distance(ours, rates) < 1e-9 * rates.abs().max().double_value(&[]), "{neuron:?}");
            }
        }
    };
    let bias = layer.bias.copy().set_requires_grad(true);
    drives(&Tensor::randn(&sizes, OPTIONS).set_requires_grad(true), &bias);
    drives(&Tensor::randn(&sizes[1..], OPTIONS).set_requires_grad(true), &bias);
}
