//! Every layer kind through everything that knows layers: the specification, building, rates, spikes of both engines, weights
//! files, TorchScript, the converter and `inspect`. A kind that is added does not compile until it is listed here.

mod common;

use common::{bits, distance, mixed};
use tch::nn::VarStore;
use tch::{CModule, Device, IValue, Kind, Tensor, no_grad};
use tch_spiking::convert::Converter;
use tch_spiking::engine::{Activity, Engine, Simulation};
use tch_spiking::network::{
    BatchNorm, Builder, Conv2d, Graph, LayerKind, LayerSpec, LeakyRelu, NeuronSpec, Pool, Standardize, SynapseSpec,
    register_layer,
};
use tch_spiking::neuron::Lif;
use tch_spiking::weights::{self, Provenance};
use tch_spiking::{Network, NetworkSpec, torchscript};

#[path = "common/layers.rs"]
mod layers;

/// How many kinds there are; a new one makes this match incomplete.
const KINDS_OF_LAYERS: usize = 16;

fn number(kind: &LayerKind) -> usize {
    match kind {
        LayerKind::Conv2d(_) => 0,
        LayerKind::Linear(_) => 1,
        LayerKind::AvgPool(_) => 2,
        LayerKind::MaxPool(_) => 3,
        LayerKind::Flatten => 4,
        LayerKind::Dropout(_) => 5,
        LayerKind::Relu => 6,
        LayerKind::LeakyRelu(_) => 7,
        LayerKind::BatchNorm(_) => 8,
        LayerKind::Neuron(_) => 9,
        LayerKind::Synapse(_) => 10,
        LayerKind::Add => 11,
        LayerKind::Concat => 12,
        LayerKind::Scale(_) => 13,
        LayerKind::Custom(_) => 14,
        LayerKind::Standardize(_) => 15,
    }
}

/// A network in which `kinds` stand between two layers of neurons, named `under_test` where they are not joined before.
fn around(kinds: impl FnOnce(Builder) -> Builder) -> NetworkSpec {
    let lif = || NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(150.0, -0.2);
    let start = Builder::new([2, 6, 6]).named_layer("first", Conv2d::new(4, 3).padding(1)).named_layer("spikes", lif());
    kinds(start).layer(Conv2d::new(3, 1)).layer(lif()).flatten().linear(2).lowpass(0.005).steps(20).into_spec()
}

fn one(layer: impl Into<LayerSpec>) -> NetworkSpec {
    around(|start| start.named_layer("under_test", layer))
}

fn join(kind: LayerKind) -> NetworkSpec {
    one(LayerSpec::from(kind).reading(["spikes", "first"]))
}

fn networks() -> Vec<NetworkSpec> {
    register_layer("halve", layers::Scale::parse).unwrap();
    vec![
        one(Conv2d::new(4, 3).groups(2).dilation(2).without_bias()),
        around(|start| {
            start.flatten().named_layer("under_test", tch_spiking::network::Linear::new(108)).custom("image", image)
        }),
        one(LayerKind::AvgPool(Pool::new(3).stride(2).padding(1))),
        one(LayerKind::MaxPool(Pool::new(2))),
        around(|start| start.named_layer("under_test", LayerKind::Flatten).linear(108).custom("image", image)),
        one(tch_spiking::network::Dropout::new(0.3)),
        one(LayerKind::Relu),
        one(LeakyRelu::new(0.2)),
        one(BatchNorm::default().momentum(0.2).eps(1e-3)),
        one(NeuronSpec::new(Lif { amplitude: 0.02, ..Lif::default() }).with_gain_bias(0.5, 1.0)),
        one(SynapseSpec::new(tch_spiking::Synapse::Alpha { tau: 0.004 }).learned()),
        join(LayerKind::Add),
        join(LayerKind::Concat),
        one(tch_spiking::network::Scale::new(0.5)),
        one(layers::Scale::custom(0.5)),
        one(Standardize::new(vec![1.0, 2.0, -3.0, 0.5], 4.0)),
    ]
}

/// A row of features as an image again.
fn image(features: &Tensor) -> Result<Tensor, tch::TchError> {
    features.f_view([-1, 3, 6, 6])
}

fn build(spec: &NetworkSpec) -> (Network, VarStore) {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(Kind::Double);
    let network = Network::new(&vs.root(), spec, 5).unwrap();
    (network, vs)
}

/// Whether a network has only layers that files can name.
fn is_nameable(spec: &NetworkSpec) -> bool {
    toml::to_string(spec).is_ok()
}

/// The kind that the network is there for.
fn under_test(spec: &NetworkSpec) -> &LayerKind {
    &spec.layers.iter().find(|layer| layer.name.as_deref() == Some("under_test")).unwrap().kind
}

fn input() -> Tensor {
    mixed(0.0, 2.0, &[3, 2, 6, 6], Kind::Double)
}

#[test]
fn each_is_listed_once() {
    let numbers: Vec<usize> = networks().iter().map(|spec| number(under_test(spec))).collect();
    assert_eq!(numbers, (0..KINDS_OF_LAYERS).collect::<Vec<_>>());
}

#[test]
fn each_declares_what_it_builds() {
    for spec in networks() {
        let graph = Graph::new(&spec).unwrap();
        let (network, _vs) = build(&spec);
        let declared: Vec<_> = graph.parameters().map(|(name, parameter)| (name, parameter.shape.clone())).collect();
        let built: Vec<_> =
            network.named_parameters().into_iter().map(|(name, tensor)| (name, tensor.size())).collect();
        assert_eq!(declared, built);
        for ((_, parameter), (name, tensor)) in graph.parameters().zip(network.named_parameters()) {
            assert_eq!(parameter.trainable, tensor.requires_grad(), "{name}");
        }
        for (node, layer) in graph.nodes.iter().zip(network.layers()) {
            assert_eq!((node.name.as_str(), node.shape.as_slice()), (layer.name(), layer.output_shape()));
        }
    }
}

#[test]
fn each_goes_through_toml() {
    for spec in networks().into_iter().filter(is_nameable) {
        let text = toml::to_string(&spec).unwrap();
        let again: NetworkSpec = toml::from_str(&text).unwrap();
        assert_eq!(toml::to_string(&again).unwrap(), text);
        let (ours, theirs) = (build(&spec).0, build(&again).0);
        assert_eq!(bits(&ours.forward_rates(&input()).unwrap()), bits(&theirs.forward_rates(&input()).unwrap()));
    }
}

#[test]
fn each_runs_as_rates_and_as_spikes() {
    for spec in networks() {
        let (network, _vs) = build(&spec);
        let name = under_test(&spec).type_name();
        assert_eq!(network.forward_rates(&input()).unwrap().size(), [3, 2], "{name}");
        let training = network.forward_training(&input(), 0).unwrap();
        training.sum(Kind::Double).backward();
        assert!(
            network.parameter("first.weight").unwrap().grad().abs().sum(Kind::Double).double_value(&[]) > 0.0,
            "{name}"
        );

        let spikes = network.simulate(&input(), 20, &[]).unwrap().output;
        let mut state = network.zero_state(3).unwrap();
        for step in 0..20 {
            let output = network.step(&input(), &mut state).unwrap();
            assert!(distance(&output, &spikes.get(step)) < 1e-12, "{name} at step {step}");
        }
        assert!(spikes.get(19).abs().sum(Kind::Double).double_value(&[]) > 0.0, "{name}");
    }
}

/// The event engine runs a kind spike for spike, or names the layer that it cannot run.
#[test]
fn each_runs_in_the_event_engine_or_is_named() {
    let refused = |kind: &LayerKind| {
        matches!(kind, LayerKind::Relu | LayerKind::LeakyRelu(_) | LayerKind::BatchNorm(_) | LayerKind::Custom(_))
    };
    for spec in networks() {
        let (network, _vs) = build(&spec);
        let run = |engine| {
            let simulation = Simulation { steps: 20, engine, ..Simulation::default() };
            simulation.run(&network, &Activity::Constant(input())).map(|recording| recording.output)
        };
        let dense = run(Engine::Dense).unwrap();
        if let Some(layer) = network.layers().iter().find(|layer| refused(layer.kind())) {
            let error = run(Engine::Event).unwrap_err().to_string();
            assert!(error.contains(layer.name()) && error.contains("dense engine"), "{error}");
        } else {
            let event = run(Engine::Event).unwrap();
            assert!(distance(&event, &dense) < 1e-9, "{}", under_test(&spec).type_name());
        }
    }
}

#[test]
fn each_goes_through_a_weights_file() {
    let folder = tempfile::tempdir().unwrap();
    for spec in networks().into_iter().filter(is_nameable) {
        let path = folder.path().join("network.safetensors");
        let (network, _vs) = build(&spec);
        no_grad(|| {
            for (name, mut tensor) in network.named_parameters() {
                let changed = mixed(0.1, 0.9, &tensor.size(), Kind::Double);
                if !name.ends_with("weight") {
                    tensor.copy_(&changed);
                }
            }
        });
        weights::save_network(&path, &network, &Provenance::default()).unwrap();
        let loaded = weights::load_network(&path, Device::Cpu).unwrap();
        assert_eq!(
            bits(&loaded.network.forward_rates(&input()).unwrap()),
            bits(&network.forward_rates(&input()).unwrap()),
            "{}",
            under_test(&spec).type_name()
        );
    }
}

#[test]
fn each_becomes_torchscript_or_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    for spec in networks() {
        let (network, _vs) = build(&spec);
        let exported = torchscript::export(&path, &network);
        if let Some(layer) = network.layers().iter().find(|layer| matches!(layer.kind(), LayerKind::Custom(_))) {
            let error = exported.unwrap_err().to_string();
            assert!(error.contains(layer.name()), "{error}");
            continue;
        }
        exported.unwrap();
        let module = CModule::load(&path).unwrap();
        let name = under_test(&spec).type_name();
        let rates = no_grad(|| module.forward_ts(&[input()]).unwrap());
        assert!(distance(&rates, &network.forward_rates(&input()).unwrap()) < 1e-12, "{name}");
        let IValue::Tensor(spikes) = module.method_is("simulate", &[IValue::Tensor(input()), IValue::Int(20)]).unwrap()
        else {
            panic!("{name}: no tensor");
        };
        assert!(distance(&spikes, &network.simulate(&input(), 20, &[]).unwrap().output) < 1e-12, "{name}");
    }
}

/// Conversion keeps the rates, or says which layer it cannot convert.
#[test]
fn each_is_converted_or_is_named() {
    for spec in networks() {
        let (network, _vs) = build(&spec);
        let name = under_test(&spec).type_name();
        match Converter::new().convert(&network) {
            Ok(converted) => {
                let ours = no_grad(|| converted.network.forward_rates(&input()).unwrap());
                assert_eq!(ours.size(), [3, 2], "{name}");
                if !matches!(under_test(&spec), LayerKind::LeakyRelu(_)) {
                    assert!(distance(&ours, &network.forward_rates(&input()).unwrap()) < 1e-10, "{name}");
                }
            }
            Err(error) => assert!(error.to_string().contains("under_test"), "{name}: {error}"),
        }
    }
}

#[cfg(feature = "cli")]
#[test]
fn each_is_shown_by_inspect() {
    let folder = tempfile::tempdir().unwrap();
    for spec in networks().into_iter().filter(is_nameable) {
        if matches!(under_test(&spec), LayerKind::Custom(_)) {
            continue; // The command knows only the library's own.
        }
        let path = folder.path().join("network.safetensors");
        weights::save_network(&path, &build(&spec).0, &Provenance::default()).unwrap();
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_tch-spiking")).arg("inspect").arg(&path).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let kind = under_test(&spec);
        assert!(output.status.success() && text.contains("under_test") && text.contains(kind.type_name()), "{text}");
        if kind.takes_several() {
            assert!(text.contains("of spikes, first"), "{text}");
        }
    }
}
