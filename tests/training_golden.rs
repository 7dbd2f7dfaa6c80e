//! Training against NengoDL, step by step: see `golden/README.md`.

mod common;

use common::{distance, golden, tensor};
use tch::nn::{self, VarStore};
use tch::{Device, Kind};
use tch_spiking::network::{Builder, NeuronSpec};
use tch_spiking::neuron::Lif;

/// The parameters in the file's order, with weights the other way round: `[in][out]` there, `[out, in]` here.
const PARAMETERS: [(&str, bool); 5] = [
    ("lif1.bias", false),
    ("linear1.weight", true),
    ("linear1.bias", false),
    ("linear2.weight", true),
    ("linear2.bias", false),
];

#[test]
fn three_steps_of_gradient_descent_end_where_those_of_nengo_dl_do() {
    let file = golden("train3_sgd_lifrate.json");
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Double);
    let neurons = NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
    let builder = Builder::new([6]).linear(8).layer(neurons).linear(3);
    let net = builder.build(&vs.root(), 0).unwrap();
    let named = net.named_parameters();
    let parameters = PARAMETERS.map(|(name, _)| &named.iter().find(|(other, _)| other == name).unwrap().1);
    let expected = |moment: &str, index: usize| {
        let theirs = tensor(&file[moment][index], Kind::Double);
        if PARAMETERS[index].1 { theirs.tr() } else { theirs }
    };
    tch::no_grad(|| {
        for (index, parameter) in parameters.iter().enumerate() {
            parameter.shallow_clone().copy_(&expected("before", index));
        }
    });

    let input = tensor(&file["X"], Kind::Double).squeeze_dim(1);
    let labels = tensor(&file["Y"], Kind::Int64);
    for theirs in file["losses"].as_array().unwrap() {
        // (tch's cross_entropy_for_logits computes in single precision.)
        let loss = net.forward_training(&input, 0).unwrap().log_softmax(-1, Kind::Double).nll_loss(&labels);
        let error = loss.double_value(&[]) - theirs.as_f64().unwrap();
        assert!(error.abs() < 1e-9, "{error}");
        loss.backward();
        tch::no_grad(|| {
            for parameter in parameters {
                let mut gradient = parameter.grad();
                let _ = parameter.shallow_clone().f_sub_(&(&gradient * 0.1)).unwrap();
                let _ = gradient.zero_();
            }
        });
    }
    for (index, (name, _)) in PARAMETERS.iter().enumerate() {
        let error = distance(parameters[index], &expected("after3", index));
        assert!(error < 1e-9, "{name}: {error}");
    }
}

#[test]
fn the_optimisers_of_tch_train_it_too() {
    use nn::OptimizerConfig;
    let vs = VarStore::new(Device::Cpu);
    let net = Builder::new([4])
        .linear(32)
        .layer(NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.02, ..Lif::default() }).tuned(100.0, 0.0))
        .linear(2)
        .build(&vs.root(), 3)
        .unwrap();
    let input = common::mixed(-1.0, 1.0, &[64, 4], Kind::Float);
    let labels = input.select(1, 0).ge(0.0).to_kind(Kind::Int64);
    let loss = || net.forward_training(&input, 0).unwrap().cross_entropy_for_logits(&labels);
    let mut optimiser = nn::Adam::default().build(&vs, 0.01).unwrap();
    let before = loss().double_value(&[]);
    for _ in 0..100 {
        optimiser.backward_step(&loss());
    }
    let after = loss().double_value(&[]);
    assert!(after < 0.1 * before, "{before} to {after}");
    let trained = vs.trainable_variables();
    assert_eq!(trained.len(), 5);
    assert!(trained.iter().all(|parameter| parameter.grad().defined()));
}
