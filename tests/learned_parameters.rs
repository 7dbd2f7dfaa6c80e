//! Neurons whose parameters are trained, through everything that a network goes through: both engines, gradients, weights files,
//! TorchScript.

mod common;

use common::{bits, mixed};
use tch::nn::VarStore;
use tch::{CModule, Device, IValue, Kind, Tensor};
use tch_spiking::engine::{Activity, Engine, Probe, Simulation};
use tch_spiking::weights::{self, Provenance};
use tch_spiking::{Network, NetworkSpec, torchscript};

/// Models without a rate, parameters trained by layer, by neuron and not at all.
const SPEC: &str = r#"
    input = [2, 6, 5]
    layers = [
        { type = "conv2d", out_channels = 6, kernel = 3, padding = 1 },
        { type = "leaky", decay = 0.8, gain = 2.0, learn = ["decay", "threshold"], learn_per = "neuron" },
        { type = "conv2d", out_channels = 4, kernel = 3 },
        { type = "synaptic", threshold = 0.5, reset = "zero", reset_time = "next_step", learn = ["current_decay"] },
        { type = "flatten" },
        { type = "linear", out_features = 5 },
        { type = "adaptive_lif", amplitude = 0.01, gain = 20.0 },
        { type = "linear", out_features = 3 },
        { type = "leaky_integrator", tau = 0.01, scale_input = true, learn = ["decay"] },
    ]
    steps = 30
"#;

fn network(kind: Kind) -> (Network, VarStore) {
    let spec: NetworkSpec = toml::from_str(SPEC).unwrap();
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let network = Network::new(&vs.root(), &spec, 4).unwrap();
    // Values that differ between neurons, so that their order matters.
    tch::no_grad(|| {
        for (name, low, high) in [("leaky1.decay_logit", 0.0, 3.0), ("leaky1.threshold", 0.3, 1.2)] {
            let mut parameter = network.parameter(name).unwrap();
            let values = Tensor::linspace(low, high, parameter.numel() as i64, (kind, Device::Cpu));
            parameter.copy_(&values.reshape([5, 6, 6]).permute([2, 1, 0]).reshape([6, 6, 5]));
        }
    });
    (network, vs)
}

fn input(kind: Kind) -> Tensor {
    mixed(0.0, 2.0, &[3, 2, 6, 5], kind)
}

#[test]
fn both_engines_spike_alike() {
    let (network, _vs) = network(Kind::Double);
    let probes = ["leaky1", "synaptic1", "adaptive_lif1"].map(Probe::output);
    let run = |engine: Engine| {
        let simulation = Simulation::new(30).probes(&probes).engine(engine);
        simulation.run(&network, &Activity::constant(&input(Kind::Double))).unwrap()
    };
    let (dense, event) = (run(Engine::Dense), run(Engine::Event));
    for probe in &probes {
        assert_eq!(bits(&dense.probed[probe]), bits(&event.probed[probe]), "{probe}");
        let spikes = dense.probed[probe].count_nonzero(None::<i64>).int64_value(&[]);
        assert!(spikes > 30, "{probe}: {spikes} spikes");
    }
    let difference = (&dense.output - &event.output).abs().max().double_value(&[]);
    assert!(difference <= 1e-12, "{difference:e}");
    let error = Simulation::new(3)
        .probes(&[Probe::spike_count("leaky_integrator1")])
        .run(&network, &Activity::constant(&input(Kind::Double)));
    assert!(error.unwrap_err().to_string().contains("leaky_integrator, do not spike"));
}

#[test]
fn files_keep_what_is_trained_and_need_no_more() {
    let (network, _vs) = network(Kind::Float);
    let names: Vec<String> = network.named_parameters().into_iter().map(|(name, _)| name).collect();
    let learned: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| !name.ends_with("bias") && !name.ends_with("weight")).collect();
    let expected =
        ["leaky1.decay_logit", "leaky1.threshold", "synaptic1.current_decay_logit", "leaky_integrator1.decay_logit"];
    assert_eq!(learned, expected);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    weights::save_network(&path, &network, &Provenance::default()).unwrap();
    let loaded = weights::load_network(&path, Device::Cpu).unwrap().network;
    let run = |network: &Network| bits(&network.simulate(&input(Kind::Float), 30, &[]).unwrap().output);
    assert_eq!(run(&loaded), run(&network));
    let event = tch_spiking_core::EventNetwork::<f32>::load(&path);
    assert!(event.is_ok(), "{:?}", event.err());
}

#[test]
fn torchscript_simulates_it_and_says_that_it_has_no_rates() {
    let (network, _vs) = network(Kind::Double);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    torchscript::export(&path, &network).unwrap();
    let module = CModule::load(&path).unwrap();
    let input = input(Kind::Double);
    let ours = network.simulate(&input, 30, &[]).unwrap().output;
    let IValue::Tensor(theirs) =
        module.method_is("simulate", &[IValue::Tensor(input.shallow_clone()), IValue::Int(30)]).unwrap()
    else {
        panic!("a tensor")
    };
    let difference = (ours - theirs).abs().max().double_value(&[]);
    assert!(difference <= 1e-12, "{difference:e}");
    let error = module.forward_ts(&[input]).unwrap_err().to_string();
    assert!(error.contains("the neurons of layer leaky1 have no rate: call simulate"), "{error}");
}
