//! Regularisers of the neurons' activity: golden numbers, and what they do to a network in training.

mod common;

use std::sync::atomic::AtomicBool;

use common::{golden, mixed, tensor};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::Experiment;
use tch_spiking::data::Labelled;
use tch_spiking::engine::{Activity, Probe};
use tch_spiking::network::{Builder, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::train::{Layers, Method, Norm, OptimizerConfig, Regulariser, TargetRate, Trainer, TrainingConfig};

fn regulariser(norm: Norm, target: TargetRate, percentile: Option<f64>) -> Regulariser {
    Regulariser { layer: Layers::One("all".to_string()), norm, weight: 1.0, target, percentile }
}

#[test]
fn penalties_are_those_of_keras_spiking() {
    let golden = golden("regularizers_losses.json");
    let rates = tensor(&golden["a"], Kind::Double);
    let range = TargetRate::Range([5.0, 10.0]);
    let sum = |norm, target, percentile: Option<f64>, of: &Tensor| {
        // KerasSpiking sums where we take the mean.
        let values = if percentile.is_some() { of.numel() as i64 / of.size()[0] } else { of.numel() as i64 };
        regulariser(norm, target, percentile).penalty(of).unwrap().double_value(&[]) * values as f64
    };
    let (l1, l2) = (sum(Norm::L1, range, None, &rates), sum(Norm::L2, range, None, &rates));
    let all = rates.flatten(0, 1).unsqueeze(1);
    for (name, ours) in [
        ("L2(0.01,t=(5,10))", 0.01 * l2),
        ("L1(0.01,t=(5,10))", 0.01 * l1),
        ("L2(0.01,t=5)", 0.01 * sum(Norm::L2, TargetRate::Rate(5.0), None, &rates)),
        ("L1L2(.1,.2,t=(5,10))", 0.1 * l1 + 0.2 * l2),
        ("Percentile(100,axis0,t=(5,10),l2=.01)", 0.01 * sum(Norm::L2, range, Some(100.0), &rates)),
        ("Percentile(100,axis=(0,1),l1=.5)", 0.5 * sum(Norm::L1, TargetRate::Rate(0.0), Some(100.0), &all)),
    ] {
        let expected = golden[name].as_f64().unwrap();
        assert!((ours - expected).abs() < 1e-5, "{name}: {ours}, expected {expected}");
    }
}

#[test]
fn a_percentile_is_interpolated_and_differentiable() {
    let rates = Tensor::from_slice(&[4.0, 1.0, 3.0, 2.0]).unsqueeze(1).set_requires_grad(true);
    let quarter = regulariser(Norm::L1, TargetRate::Rate(0.0), Some(25.0)).penalty(&rates).unwrap();
    // A quarter of the way from the lowest of four to the highest: three quarters from the first to the second.
    assert!((quarter.double_value(&[]) - 1.75).abs() < 1e-12);
    quarter.backward();
    assert_eq!(common::numbers(&rates.grad()), [0.0, 0.25, 0.0, 0.75]);
}

fn pairs() -> Labelled {
    let images = mixed(-1.0, 1.0, &[60, 2], Kind::Float);
    Labelled { labels: images.argmax(1, false), images }
}

/// The mean rates of the two layers (Hz) after training.
fn trained(method: Method, regularisers: Vec<Regulariser>) -> [f64; 2] {
    let lif = || NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.05, ..Lif::default() }).tuned(200.0, -0.8);
    let builder = Builder::new([2]).linear(20).layer(lif()).linear(20).layer(lif()).linear(2);
    let network = builder.build(&VarStore::new(Device::Cpu).root(), 1).unwrap();
    let config = TrainingConfig {
        epochs: 40,
        batch_size: 20,
        learning_rate: 0.02,
        optimizer: OptimizerConfig::adam(),
        method,
        regularisers,
        ..TrainingConfig::default()
    };
    let mut trainer = Trainer::new(network, config, 0, pairs()).unwrap();
    trainer.run(&mut (), &AtomicBool::new(false)).unwrap();
    let network = trainer.network();
    let probes = ["lif1", "lif2"].map(Probe::spike_count);
    let recording = tch_spiking::engine::Simulation::new(200)
        .probes(&probes)
        .run(network, &Activity::Constant(pairs().images))
        .unwrap();
    probes.map(|probe| recording.get(&probe).unwrap().mean(Kind::Double).double_value(&[]) / 0.2)
}

#[test]
fn a_regularised_layer_comes_to_its_target_by_every_method() {
    for method in [
        Method::Rate,
        Method::SpikingAware { steps: Some(20) },
        Method::Surrogate { steps: Some(20), surrogate: Default::default(), truncate: None },
    ] {
        let target = TargetRate::Range([30.0, 50.0]);
        let one = |weight| Regulariser {
            layer: Layers::Several(vec!["lif2".to_string()]),
            weight,
            ..regulariser(Norm::L2, target, None)
        };
        let [free, with] = [trained(method, vec![one(0.0)]), trained(method, vec![one(0.01)])];
        assert!(!(25.0..55.0).contains(&free[1]), "{method:?}: {free:?}");
        assert!((25.0..55.0).contains(&with[1]), "{method:?}: {with:?}");
    }
}

#[test]
fn regularisers_are_read_and_checked() {
    let read = |text: &str| Experiment::from_toml(&format!("[[training.regularisers]]\n{text}"));
    let text = "layer = ['lif1', 'lif3']\ntype = 'l1'\nweight = 0.1\ntarget = [5, 10.5]\npercentile = 99";
    let experiment = read(text).unwrap();
    let expected = Regulariser {
        layer: Layers::Several(vec!["lif1".to_string(), "lif3".to_string()]),
        norm: Norm::L1,
        weight: 0.1,
        target: TargetRate::Range([5.0, 10.5]),
        percentile: Some(99.0),
    };
    assert_eq!(experiment.training.regularisers, [expected]);
    let again = Experiment::from_toml(&experiment.to_toml().unwrap()).unwrap();
    assert_eq!(again.training.regularisers, experiment.training.regularisers);
    for (text, expected) in [
        ("layer = 'all'\ntype = 'l2'\nweigt = 1", "did you mean `weight`?"),
        ("layer = 3\ntype = 'l2'\nweight = 1", "expected the name of a layer of neurons"),
        ("layer = 'all'\ntype = 'l2'\nweight = 1\ntarget = 'high'", "expected a rate in Hz"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    for (text, expected) in [
        ("layer = 'all'\ntype = 'l2'\nweight = -1", "weight = -1"),
        ("layer = 'all'\ntype = 'l2'\nweight = 1\ntarget = [3, 2]", "target = 3"),
        ("layer = 'all'\ntype = 'l2'\nweight = 1\npercentile = 101", "percentile = 101"),
    ] {
        let error = read(text).unwrap().training.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let network = Builder::new([2]).linear(4).layer(NeuronSpec::new(Lif::default())).linear(2);
    let network = network.build(&VarStore::new(Device::Cpu).root(), 0).unwrap();
    let unknown =
        Regulariser { layer: Layers::One("linear1".to_string()), ..regulariser(Norm::L1, TargetRate::default(), None) };
    let config = TrainingConfig { regularisers: vec![unknown], ..TrainingConfig::default() };
    let error = Trainer::new(network, config, 0, pairs()).unwrap_err().to_string();
    assert!(error.contains("`linear1`, expected one of `lif1`, or `all`"), "{error}");
}
