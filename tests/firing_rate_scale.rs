//! Neurons that spike more often and count for less.

mod common;

use common::{KINDS, distance, mixed, numbers};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::SpikingSequential;
use tch_spiking::engine::{Activity, Engine, Probe, Quantity, Recording, Simulation};
use tch_spiking::evaluate::{Labelled, spiking};
use tch_spiking::network::{Builder, Conv2d, InitialVoltage, LayerKind, NeuronSpec};
use tch_spiking::neuron::{Lif, Neuron, RateModel, RectifiedLinear};
use tch_spiking::weights::{Provenance, load_network, read, save_network};

/// A convolution, neurons and a readout; the neurons' biases as if trained.
fn network(neurons: NeuronSpec, kind: Kind) -> SpikingSequential {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let builder = Builder::new([1, 8, 8]).layer(Conv2d::new(6, 3)).layer(neurons).flatten().linear(4);
    let net = builder.initial_voltage(InitialVoltage::Value(0.5)).build(&vs.root(), 5).unwrap();
    let (_, mut bias) = net
        .named_parameters()
        .into_iter()
        .find(|(name, _)| name.ends_with("1.bias") && name != "conv1.bias" && name != "linear1.bias")
        .unwrap();
    tch::no_grad(|| bias.copy_(&mixed(0.0, 3.0, &[6, 6, 6], kind)));
    net
}

fn rectified(scale: f64) -> NeuronSpec {
    NeuronSpec::new(RectifiedLinear { amplitude: 0.1 }).with_gain_bias(20.0, 3.0).with_firing_rate_scale(scale)
}

fn images(kind: Kind) -> Tensor {
    mixed(-1.0, 2.0, &[3, 1, 8, 8], kind)
}

fn run(net: &SpikingSequential, steps: i64, probes: &[Probe], engine: Engine) -> Recording {
    let simulation = Simulation { steps, probes, engine, ..Simulation::default() };
    simulation.run(net, &Activity::constant(&images(net.kind()))).unwrap()
}

#[test]
fn rates_of_rectified_linear_neurons_stay_and_spikes_multiply() {
    for kind in KINDS {
        let (plain, scaled) = (network(rectified(1.0), kind), network(rectified(7.0), kind));
        let rates = |net: &SpikingSequential| net.forward_rates(&images(kind)).unwrap();
        let largest = numbers(&rates(&plain)).into_iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        let tolerance = if kind == Kind::Float { 1e-6 } else { 1e-14 };
        assert!(distance(&rates(&plain), &rates(&scaled)) < tolerance * largest.max(1.0));

        let probe = Probe::spike_count("rectified_linear1");
        let counts = |net, engine| run(net, 1000, std::slice::from_ref(&probe), engine).probed[&probe].shallow_clone();
        for engine in [Engine::Dense, Engine::Event] {
            // In one second: as many spikes as Hz, up to one.
            assert!(distance(&(counts(&plain, engine) * 7.0), &counts(&scaled, engine)) <= 7.0);
        }
        assert!(distance(&counts(&scaled, Engine::Dense), &counts(&scaled, Engine::Event)) <= 1.0);
        let output = run(&scaled, 1000, &[], Engine::Dense).output.mean_dim(0, false, kind);
        assert!(distance(&output, &rates(&plain)) < 0.02 * largest);
    }
}

#[test]
fn biases_are_trained_unscaled_with_the_gradient_of_the_output() {
    let gradients = |scale: f64| {
        let net = network(rectified(scale), Kind::Double);
        net.forward_training(&images(Kind::Double), 0).unwrap().square().sum(Kind::Double).backward();
        net.named_parameters().into_iter().map(|(_, tensor)| tensor.grad()).collect::<Vec<_>>()
    };
    for (plain, scaled) in gradients(1.0).iter().zip(&gradients(7.0)) {
        let largest = plain.abs().max().double_value(&[]);
        assert!(distance(plain, scaled) < 1e-12 * largest.max(1.0));
    }
}

#[test]
fn probes_and_evaluation_see_the_scaled_neurons() {
    let net = network(rectified(4.0), Kind::Float);
    let (current, output) = (Probe::new("rectified_linear1", Quantity::Current), Probe::output("rectified_linear1"));
    let recording = run(&net, 500, &[current.clone(), output.clone()], Engine::Dense);
    let expected = (recording.probed[&current].get(0)).clamp_min(0);
    let hertz = recording.probed[&output].mean_dim(0, false, Kind::Float) / 0.1 * 4.0;
    assert!(distance(&hertz, &expected) <= 2.01, "one spike in half a second");
    let data = Labelled { images: images(Kind::Float), labels: Tensor::zeros([3], (Kind::Int64, Device::Cpu)) };
    let evaluation = spiking(&net, &data, 500, 1 << 20, &mut |_| {}).unwrap();
    let mean = expected.mean(Kind::Double).double_value(&[]);
    assert!((evaluation.layers[0].mean_rate - mean).abs() < 2.0, "{} {mean}", evaluation.layers[0].mean_rate);
}

#[test]
fn leaky_neurons_become_those_with_a_scaled_current() {
    let lif = Lif { amplitude: 0.02, ..Lif::default() };
    let spec = NeuronSpec::new(lif.clone()).tuned(80.0, -0.2).with_firing_rate_scale(3.0);
    let net = network(spec, Kind::Double);
    for engine in [Engine::Dense, Engine::Event] {
        let probe = Probe::output("lif1");
        let recording = run(&net, 50, std::slice::from_ref(&probe), engine);
        let heights: Vec<f64> = numbers(&recording.probed[&probe]).into_iter().filter(|&height| height > 0.0).collect();
        assert!(!heights.is_empty());
        assert!(heights.iter().all(|height| (height - 0.02 / 3.0 / 0.001).abs() < 1e-9));
    }
    let current = Probe::new("lif1", Quantity::Current);
    let current = run(&net, 1, std::slice::from_ref(&current), Engine::Dense).probed[&current].get(0);
    let net_rates = net.layers()[1].output_shape().to_vec();
    assert_eq!(current.size()[1..], net_rates);
    let expected: Vec<f64> = numbers(&current).into_iter().map(|current| lif.rate(current).value / 3.0).collect();
    let readout = |rates: &[f64]| {
        let parameter = |name: &str| net.named_parameters().into_iter().find(|(own, _)| own == name).unwrap().1;
        let rates = Tensor::from_slice(rates).reshape([3, -1]);
        rates.linear(&parameter("linear1.weight"), Some(&parameter("linear1.bias")))
    };
    assert!(distance(&readout(&expected), &net.forward_rates(&images(Kind::Double)).unwrap()) < 1e-9);
}

#[test]
fn the_scale_is_saved_once_and_applied_once() {
    let net = network(rectified(7.0), Kind::Float);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scaled.safetensors");
    save_network(&path, &net, &Provenance::default()).unwrap();
    let file = read(&path).unwrap();
    let unscaled = mixed(0.0, 3.0, &[6, 6, 6], Kind::Float);
    assert!(file.tensors["rectified_linear1.bias"].equal(&unscaled));
    for _ in 0..2 {
        let loaded = load_network(&path, Device::Cpu).unwrap().network;
        let LayerKind::Neuron(spec) = loaded.layers()[1].kind() else { panic!("no neurons") };
        assert_eq!((spec.firing_rate_scale, spec.model.amplitude()), (7.0, 0.1));
        let rates = |net: &SpikingSequential| net.forward_rates(&images(Kind::Float)).unwrap();
        assert!(rates(&loaded).equal(&rates(&net)));
        assert!(run(&loaded, 20, &[], Engine::Auto).output.equal(&run(&net, 20, &[], Engine::Auto).output));
        save_network(&path, &loaded, &Provenance::default()).unwrap();
    }
    // Left out where it changes nothing.
    let text = |scale| toml::to_string(network(rectified(scale), Kind::Float).spec()).unwrap();
    assert!(!text(1.0).contains("firing_rate_scale") && text(7.0).contains("firing_rate_scale = 7.0"));
}

#[test]
fn scales_that_cannot_be_are_told() {
    for (scale, shown) in [(0.0, "0"), (-2.0, "-2"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let builder = Builder::new([3]).layer(rectified(scale));
        let error = builder.build(&VarStore::new(Device::Cpu).root(), 0).unwrap_err().to_string();
        let start = format!("layer 1 (rectified_linear): firing_rate_scale = {shown} ");
        assert!(error.starts_with(&start) && error.ends_with("expected a number above 0"), "{error}");
    }
    let changed = Neuron::new(Lif::default()).with_amplitude(0.25).unwrap();
    assert_eq!((changed.amplitude(), changed.name()), (0.25, "lif"));
    assert!(Neuron::new(Lif::default()).with_amplitude(-0.25).unwrap_err().to_string().contains("amplitude = -0.25"));
}
