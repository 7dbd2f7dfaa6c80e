//! Training through time against snnTorch and SpikingJelly, step by step: see `golden/README.md`.

mod common;

use common::{distance, golden, tensor};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::engine::{Activity, Mode, Pass, forward};
use tch_spiking::network::{Builder, InitialVoltage, Network, NeuronSpec};
use tch_spiking::neuron::{Leaky, Reset, ResetTime};
use tch_spiking::surrogate::Surrogate;

/// Three steps of gradient descent of two layers of spiking neurons. `spikes` is the type of a peer's spikes, to which gradients
/// that come into them are rounded.
fn three_steps(case: &str, neurons: &Leaky, spikes: Kind) {
    let file = golden("through_time/networks_through_time.json");
    let file = &file[case];
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Double);
    let layer = |name: &str, inputs: i64, outputs: i64| {
        let builder = Builder::new([inputs]).linear(outputs).layer(NeuronSpec::new(neurons.clone()));
        builder.initial_voltage(InitialVoltage::Zero).build(&(vs.root() / name), 0).unwrap()
    };
    let layers = [layer("first", 8, 9), layer("second", 9, 4)];
    let of = |layer: &Network| ["linear1.weight", "linear1.bias"].map(|name| layer.parameter(name).unwrap());
    let parameters = layers.iter().flat_map(of).collect::<Vec<_>>();
    tch::no_grad(|| {
        for (index, parameter) in parameters.iter().enumerate() {
            parameter.shallow_clone().copy_(&tensor(&file["before"][index], Kind::Double));
        }
    });

    let input = tensor(&file["x"], Kind::Double);
    let labels = tensor(&file["labels"], Kind::Int64);
    for (step, theirs) in file["losses"].as_array().unwrap().iter().enumerate() {
        let output = layers
            .iter()
            .fold(input.shallow_clone(), |input, layer| run(layer, input).to_kind(spikes).to_kind(Kind::Double));
        let mean = output.mean_dim(0, false, Kind::Double);
        if step == 0 {
            let expected = tensor(&file["mean_output_first"], Kind::Double);
            assert!(distance(&mean, &expected) <= 1e-7, "{case}: mean output");
            assert!(mean.sum(Kind::Double).double_value(&[]) > 0.0);
        }
        let loss = (mean * 5.0).log_softmax(-1, Kind::Double).nll_loss(&labels);
        let error = loss.double_value(&[]) - theirs.as_f64().unwrap();
        assert!(error.abs() <= 1e-9, "{case}: loss {step}: {error:e}");
        loss.backward();
        tch::no_grad(|| {
            for parameter in &parameters {
                let mut gradient = parameter.grad();
                let _ = parameter.shallow_clone().f_sub_(&(&gradient * 0.5)).unwrap();
                let _ = gradient.zero_();
            }
        });
    }
    for (index, parameter) in parameters.iter().enumerate() {
        let expected = tensor(&file["after"][index], Kind::Double);
        let error = distance(parameter, &expected);
        assert!(error <= 1e-9, "{case}: parameter {index}: {error:e}");
        assert!(distance(&expected, &tensor(&file["before"][index], Kind::Double)) > 1e-4);
    }
}

/// The spikes of a layer, `[T, B, neurons]`.
fn run(layer: &Network, input: Tensor) -> Tensor {
    let mode = Mode::Surrogate { surrogate: Surrogate::Atan { alpha: 2.0 }, truncate: None };
    let mut pass = Pass { mode, ..Pass::spikes(input.size()[0]) };
    let mut state = layer.zero_state(input.size()[1]).unwrap();
    forward(layer, &Activity::Varying(input), Some(&mut state), &mut pass).unwrap().into_tensor()
}

#[test]
fn networks_learn_as_in_snntorch() {
    let leaky = Leaky { decay: Some(0.9), reset_time: ResetTime::NextStep, ..Leaky::default() };
    three_steps("snntorch_leaky_subtract", &leaky, Kind::Float);
}

#[test]
fn networks_learn_as_in_spikingjelly() {
    let leaky =
        Leaky { decay: Some(0.5), scale_input: true, reset: Reset::Zero, fire_at_threshold: true, ..Leaky::default() };
    three_steps("spikingjelly_lif_hard_detach", &leaky, Kind::Double);
}
