//! Exported networks, loaded by libtorch itself, against the networks that they come from.

#[cfg(feature = "cli")]
#[path = "common/command.rs"]
mod command;
#[path = "common/python.rs"]
mod python;

#[cfg(feature = "cli")]
use command::{Place, assert_says};
use tch::nn::VarStore;
use tch::{CModule, Device, IValue, Kind, Tensor};
use tch_spiking::network::{BatchNorm, Builder, Conv2d, Distribution, InitialVoltage, LayerKind, LayerSpec, LeakyRelu};
use tch_spiking::network::{EdgeSpec, Linear, NeuronSpec, Pool};
use tch_spiking::neuron::WithoutRate;
use tch_spiking::neuron::{
    Fire, Initial, Lif, NeuronError, NeuronModel, Real, RectifiedLinear, StateVariable, StepInput,
};
use tch_spiking::weights::{load_network_as, read};
use tch_spiking::{NetworkSpec, SpikingSequential, Synapse, torchscript};

const STEPS: i64 = 30;

struct Exported {
    network: SpikingSequential,
    module: CModule,
    bytes: Vec<u8>,
}

/// With biases and statistics that are not those of a new network.
fn export(spec: &NetworkSpec, kind: Kind) -> Exported {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let network = SpikingSequential::new(&vs.root(), spec, 3).unwrap();
    tch::manual_seed(5);
    tch::no_grad(|| {
        for (name, mut tensor) in network.named_parameters() {
            let noise = Tensor::randn(tensor.size(), (kind, Device::Cpu)) * 0.1;
            match name.rsplit('.').next().unwrap() {
                "running_var" => tensor.copy_(&noise.abs().g_add_scalar(0.5)),
                "bias" | "running_mean" => tensor.copy_(&(&tensor + noise)),
                _ => {}
            }
        }
    });
    exported(network)
}

fn exported(network: SpikingSequential) -> Exported {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    torchscript::export(&path, &network).unwrap();
    Exported { network, module: CModule::load(&path).unwrap(), bytes: std::fs::read(&path).unwrap() }
}

impl Exported {
    fn images(&self, count: i64, largest: f64) -> Tensor {
        tch::manual_seed(7);
        let shape = [&[count], self.network.spec().input.as_slice()].concat();
        Tensor::rand(shape, (self.network.kind(), Device::Cpu)) * largest
    }

    fn simulate(&self, images: &Tensor, steps: i64) -> Tensor {
        let arguments = [IValue::Tensor(images.shallow_clone()), IValue::Int(steps)];
        match self.module.method_is("simulate", &arguments).unwrap() {
            IValue::Tensor(output) => output,
            other => panic!("{other:?}"),
        }
    }

    /// Compares both faces with the network's own.
    #[track_caller]
    fn check(&self, largest: f64) {
        let _without_gradient = tch::no_grad_guard();
        let images = self.images(20, largest);
        let rates = self.module.forward_ts(&[&images]).unwrap();
        let expected = self.network.forward_rates(&images).unwrap();
        let scale = expected.abs().max().double_value(&[]).max(1.0);
        let difference = (&rates - &expected).abs().max().double_value(&[]);
        assert_eq!((rates.size(), rates.kind()), (expected.size(), expected.kind()));
        let double = self.network.kind() == Kind::Double;
        let tolerance = if double { 1e-12 } else { 3e-6 };
        assert!(difference <= tolerance * scale, "rates differ by {difference:e} of {scale}");

        let spikes = self.simulate(&images, STEPS);
        let expected = self.network.simulate(&images, STEPS, &[]).unwrap().output;
        assert_eq!((spikes.size(), spikes.kind()), (expected.size(), expected.kind()));
        assert!(expected.abs().max().double_value(&[]) > 0.0, "no spikes");
        let scale = expected.abs().max().double_value(&[]);
        // A spike more or less is far larger than either.
        let tolerance = if double { 1e-12 } else { 1e-5 };
        let differing = (&spikes - &expected).abs().gt(tolerance * scale).sum(Kind::Int64).int64_value(&[]);
        let allowed = if double { 0 } else { spikes.numel() as i64 / 10_000 };
        assert!(differing <= allowed, "{differing} of {} values differ", spikes.numel());
    }
}

/// In double precision the whole network; in single precision, where rounding may move a spike by a timestep, the last
/// neurons' spikes themselves: behind a readout every spike is seen in all outputs.
#[track_caller]
fn check(spec: &NetworkSpec, largest: f64) {
    export(spec, Kind::Double).check(largest);
    let mut spikes = spec.clone();
    if let Some(last) = spec.layers.iter().rposition(|layer| matches!(layer.kind, LayerKind::Neuron(_))) {
        spikes.layers.truncate(last + 1);
    }
    export(&spikes, Kind::Float).check(largest);
}

fn lif() -> NeuronSpec {
    NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0)
}

/// The reference network with fewer channels and smaller images.
fn small_reference() -> NetworkSpec {
    Builder::new([1, 14, 14])
        .layer(Conv2d::new(8, 3))
        .layer(lif())
        .layer(Conv2d::new(12, 3).stride(2))
        .layer(lif())
        .flatten()
        .linear(10)
        .layer(Synapse::Lowpass { tau: 0.1 })
        .into_spec()
}

#[test]
fn the_reference_network() {
    check(&small_reference(), 255.0);
}

/// In three seconds constants of single precision would have moved spikes.
#[test]
fn spikes_stay_the_same_for_thousands_of_steps() {
    let mut spec = small_reference();
    spec.layers.truncate(4);
    let exported = export(&spec, Kind::Double);
    let images = exported.images(12, 255.0);
    let expected = exported.network.simulate(&images, 3000, &[]).unwrap().output;
    let spikes = exported.simulate(&images, 3000);
    let count = expected.gt(0.0).sum(Kind::Int64).int64_value(&[]);
    let differing = spikes.ne_tensor(&expected).sum(Kind::Int64).int64_value(&[]);
    assert!(count > 500_000, "{count} spikes");
    assert_eq!(differing, 0, "of {count} spikes");
}

#[test]
fn spikes_themselves() {
    // Nothing behind the neurons, no input that varies before them, and initial voltages that differ.
    let spec = Builder::new([30]).linear(40).layer(lif()).into_spec();
    check(&NetworkSpec { initial_voltage: InitialVoltage::Uniform, dt: 0.002, ..spec }, 5.0);
}

#[test]
fn rectified_linear_neurons_and_an_alpha_synapse() {
    let neurons = || NeuronSpec::new(RectifiedLinear { amplitude: 0.01 }).tuned(Distribution::Constant(200.0), 0.0);
    let spec = Builder::new([1, 8, 8])
        .layer(Conv2d::new(4, 3).padding(1))
        .layer(neurons().with_firing_rate_scale(3.0))
        .layer(Synapse::Alpha { tau: 0.005 })
        .flatten()
        .linear(12)
        .layer(neurons())
        .layer(Synapse::Lowpass { tau: 0.0 })
        .into_spec();
    check(&NetworkSpec { initial_voltage: InitialVoltage::Value(0.37), ..spec }, 3.0);
}

#[test]
fn soft_lif_with_a_firing_rate_scale() {
    let neurons =
        NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.02, min_voltage: f64::NEG_INFINITY, ..Lif::default() })
            .tuned(100.0, 0.0)
            .with_firing_rate_scale(2.5);
    let spec = Builder::new([20]).linear(50).layer(neurons).linear(7).layer(Synapse::Lowpass { tau: 0.02 }).into_spec();
    check(&spec, 4.0);
}

#[test]
fn layers_without_neurons() {
    let conv = Conv2d { groups: 2, dilation: [2, 1].into(), bias: false, ..Conv2d::new(6, [2, 3]) };
    let padded = Pool { padding: 1.into(), stride: Some([1, 2].into()), ..Pool::new(3) };
    let plain = BatchNorm { affine: false, eps: 1e-3, ..BatchNorm::default() };
    let spec = Builder::new([2, 12, 11])
        .layer(conv)
        .layer(BatchNorm::default())
        .layer(LayerSpec::from(LayerKind::Relu))
        .layer(LayerSpec::from(LayerKind::MaxPool(padded.clone())))
        .layer(lif())
        .layer(LayerSpec::from(LayerKind::MaxPool(Pool::new(2))))
        .layer(LayerSpec::from(LayerKind::AvgPool(padded)))
        .layer(plain)
        .layer(LeakyRelu { negative_slope: 0.2 })
        .dropout(0.3)
        .flatten()
        .linear(9)
        .layer(Synapse::Lowpass { tau: 0.01 })
        .into_spec();
    check(&spec, 9.0);
}

/// A skip connection over neurons, a projection of the input, spikes beside filtered spikes, and a constant added in
/// each step.
#[test]
fn skip_connections_and_concatenation() {
    let conv = || Conv2d::new(4, 3).padding(1);
    let spec = Builder::new([2, 9, 8])
        .named_layer("a", conv())
        .layer(lif())
        .named_layer("b", conv())
        .layer(BatchNorm::default())
        .layer(LayerSpec::from(Conv2d::new(4, 1)).named("projection").reading(["input"]))
        .add_layers(["batch_norm1", "projection", "a"])
        .layer(lif())
        .layer(LayerSpec::from(Synapse::Lowpass { tau: 0.01 }).reading(["lif1"]))
        .concat_layers(["lif2", "lowpass1", "projection"])
        .avg_pool(2)
        .flatten()
        .linear(5)
        .layer(lif())
        .concat_layers(["lif3", "linear1"])
        .linear(3)
        .into_spec();
    let spikes = NetworkSpec { layers: spec.layers[..13].to_vec(), ..spec.clone() };
    export(&spikes, Kind::Float).check(10.0);
    let exported = export(&spec, Kind::Double);
    exported.check(10.0);
    let images = exported.images(4, 10.0);
    let (ours, expected) =
        (exported.simulate(&images, 300), exported.network.simulate(&images, 300, &[]).unwrap().output);
    let scale = expected.abs().max().double_value(&[]);
    let difference = (ours - expected).abs().max().double_value(&[]);
    assert!(difference <= 1e-12 * scale, "{difference:e} of {scale}");

    // Without a readout behind them the spikes are the very same numbers.
    let exported = export(&spikes, Kind::Double);
    let expected = exported.network.simulate(&images, 300, &[]).unwrap().output;
    assert!(expected.count_nonzero(None::<i64>).int64_value(&[]) > 50);
    assert_eq!(exported.simulate(&images, 300), expected);
}

/// Spikes at random.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Coin {}

impl NeuronModel for Coin {
    const NAME: &'static str = "torchscript_coin";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
    const NOISY: bool = true;
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 0];
    type Rates = WithoutRate;
    fn validate(&self) -> Result<(), NeuronError> {
        Ok(())
    }
    fn amplitude(&self) -> f64 {
        1.0
    }
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, _: &mut [R; 1], _: &F) -> R {
        input.current
    }
}

#[test]
fn what_the_program_cannot_say_is_refused() {
    let refused = |spec: &NetworkSpec| {
        let network = SpikingSequential::new(&VarStore::new(Device::Cpu).root(), spec, 0).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("network.pt");
        let error = torchscript::export(&path, &network).unwrap_err().to_string();
        assert!(!path.exists() && error.contains("run the network with this library"), "{error}");
        error
    };
    let layers = vec![EdgeSpec::from("linear1"), EdgeSpec::delayed("recurrent")];
    let delayed = Builder::new([3])
        .linear(5)
        .layer(LayerSpec::from(LayerKind::Add).reading(layers))
        .layer(lif())
        .named_layer("recurrent", Linear::new(5))
        .layer(LayerSpec::from(Linear::new(2)).reading(["lif1"]))
        .into_spec();
    assert!(refused(&delayed).starts_with("layer add1 cannot be written as TorchScript: it has a delayed input"));
    let error = refused(&Builder::new([3]).linear(5).layer(NeuronSpec::new(Coin {})).linear(2).into_spec());
    assert!(error.contains("cannot be written as TorchScript: its neurons are noisy"), "{error}");
}

#[test]
fn what_never_changes_is_repeated() {
    let spec = Builder::new([5]).linear(3).layer(LayerSpec::from(LayerKind::Relu)).into_spec();
    check(&spec, 2.0);
}

#[test]
fn every_simulation_starts_anew() {
    let exported = export(&small_reference(), Kind::Double);
    let images = exported.images(2, 255.0);
    let first = exported.simulate(&images, 12);
    assert_eq!(exported.simulate(&images, 12), first);
    assert_eq!(exported.simulate(&images, 7), first.narrow(0, 0, 7));
}

#[test]
fn tensors_keep_the_names_of_the_weights_file() {
    let text = |spec: &NetworkSpec| String::from_utf8_lossy(&export(spec, Kind::Float).bytes).into_owned();
    let code = text(&small_reference());
    for part in
        ["self.conv1.weight", "self.lif2.bias", "self.lif2.gain", "self.lif2.initial_voltage", "self.linear1.bias"]
    {
        assert!(code.contains(part), "{part}");
    }

    // Names that are none in Python.
    let names = ["1st layer", "training", "class", "a-b", "a b", "SpikingNetwork"];
    let spec = names.iter().fold(Builder::new([4]), |builder, name| builder.named_layer(*name, Linear::new(6)));
    let spec = spec.layer(lif()).into_spec();
    check(&spec, 20.0);
    let code = text(&spec);
    for part in ["layer_1st_layer", "training_", "class_", "a_b", "a_b_", "SpikingNetwork_"] {
        assert!(code.contains(&format!("self.{part}.weight")), "{part}");
    }
}

#[test]
fn what_was_exported_is_read_again() {
    let exported = export(&small_reference(), Kind::Float);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    std::fs::write(&path, &exported.bytes).unwrap();
    let loaded = load_network_as(&path, exported.network.spec(), exported.network.seed(), Device::Cpu).unwrap();
    for ((name, ours), (_, read)) in
        exported.network.named_parameters().into_iter().zip(loaded.network.named_parameters())
    {
        assert_eq!(ours, read, "{name}");
    }
    let matching = loaded.matching.to_string();
    assert!(matching.contains("left aside (follow from the specification and the seed): lif1.gain"), "{matching}");
}

#[test]
fn python_runs_the_file() {
    let Some(python) = python::python() else { return };
    let folder = tempfile::tempdir().unwrap();
    for (kind, tolerance) in [(Kind::Double, 1e-12), (Kind::Float, 3e-6)] {
        let exported = export(&small_reference(), kind);
        let images = exported.images(4, 255.0);
        std::fs::write(folder.path().join("network.pt"), &exported.bytes).unwrap();
        Tensor::write_safetensors(&[("images", &images)], folder.path().join("images")).unwrap();
        let code = format!(
            "import sys; sys.path.insert(0, {:?})\nimport torch\nfrom pathlib import Path\n\
             from load_in_pytorch import read_safetensors\nfrom export_pytorch import write_safetensors\n\
             network, images = torch.jit.load('network.pt'), read_safetensors('images')[0]['images']\n\
             outputs = dict(rates=network(images), spikes=network.simulate(images, network.steps))\n\
             write_safetensors(Path('outputs'), outputs, {{}})",
            python::root().join("scripts")
        );
        python::succeed(&python, &["-c", &code], folder.path());
        let outputs = read(&folder.path().join("outputs")).unwrap().tensors;
        let steps = exported.network.spec().steps;
        let expected =
            [("rates", exported.module.forward_ts(&[&images]).unwrap()), ("spikes", exported.simulate(&images, steps))];
        for (name, expected) in expected {
            let difference = (&outputs[name] - &expected).abs().max().double_value(&[]);
            let largest = expected.abs().max().double_value(&[]);
            assert_eq!(outputs[name].kind(), kind);
            assert!(largest > 0.1 && difference <= tolerance * largest, "{kind:?} {name}: {difference:e} of {largest}");
        }
    }
}

#[test]
fn the_same_network_gives_the_same_file() {
    let exported_once = export(&small_reference(), Kind::Float);
    assert_eq!(export(&small_reference(), Kind::Float).bytes, exported_once.bytes);
}

#[test]
fn what_does_not_fit_is_told() {
    let exported = export(&small_reference(), Kind::Float);
    let wrong = Tensor::zeros([2, 1, 28, 28], (Kind::Float, Device::Cpu));
    let error = exported.module.forward_ts(&[&wrong]).unwrap_err().to_string();
    assert!(error.contains("the network expects batch x 1 x 14 x 14, got [2, 1, 28, 28]"), "{error}");
    let arguments = [IValue::Tensor(exported.images(1, 1.0)), IValue::Int(0)];
    let error = exported.module.method_is("simulate", &arguments).unwrap_err().to_string();
    assert!(error.contains("expected 1 timestep or more, got 0"), "{error}");
}

#[test]
fn a_custom_layer_is_named() {
    let vs = VarStore::new(Device::Cpu);
    let spec = Builder::new([4]).linear(3).custom("double", |input| input.f_mul_scalar(2.0)).into_spec();
    let network = SpikingSequential::new(&vs.root(), &spec, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.pt");
    let error = torchscript::export(&path, &network).unwrap_err().to_string();
    assert!(error.starts_with("layer double (double) cannot be written as TorchScript"), "{error}");
    assert!(!path.exists());
}

#[cfg(feature = "cli")]
#[test]
fn the_command_writes_what_the_library_writes_and_tells_what_cannot_be() {
    let place = Place::trained();
    let said = place.succeed("export run/best.safetensors network.pt --format torchscript --json").json();
    assert_eq!((said["format"].as_str(), said["output"].as_str()), (Some("torchscript"), Some("network.pt")));
    let network = tch_spiking::weights::load_network(&place.path("run/best.safetensors"), Device::Cpu).unwrap().network;
    let exported = exported(network);
    assert_eq!(place.bytes("network.pt"), exported.bytes);
    exported.check(255.0);
    place.succeed("export --weights run/best.safetensors again.pt");
    assert_eq!(place.bytes("again.pt"), exported.bytes);

    let before = place.bytes("run/best.safetensors");
    for line in ["run/best.safetensors run/best.safetensors", "--weights run/best.safetensors run/best.safetensors"] {
        assert_says(&place.fail(&format!("export {line}")), &["is also the source"]);
    }
    assert_eq!(place.bytes("run/best.safetensors"), before);
    assert_says(&place.fail("export nowhere.safetensors out.pt"), &["nowhere.safetensors"]);
    assert_says(&place.fail("export run/best.safetensors no/such/out.pt"), &["out.pt"]);
    let refused = place.refused(2, "export run/best.safetensors out.pt --format onnx");
    assert_says(&refused, &["'onnx'", "torchscript"]);
    assert_says(&place.refused(2, "export out.pt"), &["<IN>"]);
    assert!(!place.path("out.pt").exists());
}

#[test]
fn layers_may_have_names_that_mean_something_in_torchscript() {
    let names = [
        "NoneType",
        "None",
        "Ellipsis",
        "Tensor",
        "int",
        "float",
        "List",
        "Optional",
        "print",
        "torch",
        "ops",
        "prim",
        "aten",
        "fork",
        "inf",
        "infj",
        "nan",
        "nanj",
        "CONSTANTS",
        "uninitialized",
        "unchecked_cast",
        "annotate",
        "self",
        "input",
        "training",
        "forward",
        "eval",
        "train",
        "parameters",
        "Module",
        "SpikingNetwork",
        "isinstance",
        "getattr",
        "range",
        "rangelist",
        "len",
        "min",
        "max",
        "abs",
        "tuple",
        "dict",
        "str",
        "bool",
        "complex",
        "awaitable",
        "super",
        "assert",
    ];
    for name in names.into_iter().filter(|name| *name != "input") {
        let layers: [LayerSpec; 2] = [Linear::new(4).into(), NeuronSpec::new(Lif::default()).into()];
        let [linear, neurons] = layers;
        let mut spec = NetworkSpec::new([3]);
        spec.layers = vec![linear.named(name), neurons.named(format!("{name}_")), Linear::new(2).into()];
        export(&spec, Kind::Float).check(40.0);
    }
}
