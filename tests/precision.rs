//! Training in shorter numbers, and the profile of a step.

mod common;

use common::{bits, distance, mixed};
use std::sync::atomic::AtomicBool;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::network::{Builder, Conv2d, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::run::Run;
use tch_spiking::train::{Precision, Trainer};
use tch_spiking::{Experiment, NetworkSpec, SpikingSequential, data};

fn spec() -> NetworkSpec {
    let neurons = || NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.05, ..Lif::default() }).tuned(100.0, 0.0);
    Builder::new([1, 28, 28])
        .layer(Conv2d::new(8, 3).stride(2))
        .layer(neurons())
        .avg_pool(2)
        .custom("shift", |x| x.f_add_scalar(1.0))
        .layer(Conv2d::new(16, 3))
        .layer(neurons())
        .flatten()
        .linear(10)
        .into_spec()
}

fn experiment(precision: &str) -> Experiment {
    let mut experiment = Experiment::default();
    for assignment in [
        "data.dataset=digits",
        "data.train_images=300",
        "data.validation_images=0",
        "data.test_images=100",
        "simulation.sample=0",
        "training.batch_size=50",
        "training.epochs=2",
        "network.layers=[{type='conv2d',out_channels=8,kernel=3,stride=2},{type='lif',amplitude=0.01,max_rate=100},\
         {type='flatten'},{type='linear',out_features=10}]",
        &format!("training.precision={precision}"),
    ] {
        experiment.set(assignment).unwrap();
    }
    experiment
}

fn trainer(precision: &str) -> Trainer {
    let experiment = experiment(precision);
    let data = data::load(&experiment.data, experiment.seed, &mut |_| {}).unwrap();
    Run::new(experiment, &data, Device::Cpu).unwrap().into_trainer()
}

fn train(trainer: &mut Trainer) {
    trainer.run(&mut (), &AtomicBool::new(false)).unwrap();
}

/// The output for images of `kind`, and the gradients of all parameters.
fn output_and_gradients(net: &SpikingSequential, images: &Tensor, kind: Kind) -> (Tensor, Vec<Tensor>) {
    let output = net.forward_training(&images.to_kind(kind), 0).unwrap();
    let weights = mixed(-1.0, 1.0, &output.size(), Kind::Float);
    let parameters: Vec<Tensor> = net.named_parameters().into_iter().map(|(_, parameter)| parameter).collect();
    (output.detach(), Tensor::run_backward(&[(output * weights).sum(Kind::Float)], &parameters, false, false))
}

#[test]
fn mixed_precision_rounds_and_no_more() {
    let vs = VarStore::new(Device::Cpu);
    let net = SpikingSequential::new(&vs.root(), &spec(), 1).unwrap();
    let images = mixed(0.0, 255.0, &[8, 1, 28, 28], Kind::Float);
    let (full, full_gradients) = output_and_gradients(&net, &images, Kind::Float);
    let (short, short_gradients) = output_and_gradients(&net, &images, Kind::BFloat16);
    let norm = |tensor: &Tensor| tensor.norm().double_value(&[]);
    for (short, full) in std::iter::once((&short, &full)).chain(short_gradients.iter().zip(&full_gradients)) {
        assert_eq!(short.kind(), Kind::Float);
        assert!(norm(&(short - full)) < 0.03 * norm(full), "{} of {}", norm(&(short - full)), norm(full));
    }
    assert!(distance(&short, &full) > 0.0);
    assert_eq!(bits(&net.forward_rates(&images.to_kind(Kind::BFloat16)).unwrap()), bits(&short));
    // Spikes are not computed in bfloat16.
    let error = net.simulate(&images.to_kind(Kind::BFloat16), 2, &[]).unwrap_err().to_string();
    assert!(error.contains("Float") && error.contains("BFloat16"), "{error}");
}

#[test]
fn training_in_bf16_learns_and_keeps_its_weights_in_f32() {
    for precision in ["f32", "tf32", "bf16"] {
        let mut trainer = trainer(precision);
        train(&mut trainer);
        let history = &trainer.position().history;
        assert!(history[1].loss < 0.8 * history[0].loss, "{precision}: {history:?}");
        assert!(trainer.network().named_parameters().iter().all(|(_, tensor)| tensor.kind() == Kind::Float));
    }
}

#[test]
fn precision_is_a_key_of_the_experiment() {
    assert_eq!(Experiment::default().training.precision, Precision::F32);
    assert_eq!(experiment("bf16").training.precision, Precision::Bf16);
    let error = Experiment::default().set("training.precision=bf1").unwrap_err().to_string();
    assert!(error.contains("did you mean `bf16`?"), "{error}");
}

#[test]
fn a_profile_names_every_layer_and_leaves_the_training_as_it_was() {
    for precision in ["f32", "bf16"] {
        let (mut plain, mut profiled) = (trainer(precision), trainer(precision));
        let profile = profiled.profile(2).unwrap();
        let names: Vec<_> = profile.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["conv1", "lif1", "flatten1", "linear1"]);
        assert_eq!(profile.layers.iter().map(|layer| layer.affine).collect::<Vec<_>>(), [true, false, false, true]);
        assert!(profile.layers.iter().all(|layer| layer.forward > 0.0 && layer.backward > 0.0));
        assert!(profile.affine_share > 0.0 && profile.affine_share < 1.0 && profile.step > 0.0);
        train(&mut plain);
        train(&mut profiled);
        for ((name, plain), (_, profiled)) in
            plain.network().named_parameters().iter().zip(profiled.network().named_parameters())
        {
            assert_eq!(bits(plain), bits(&profiled), "{name}");
        }
    }
}
