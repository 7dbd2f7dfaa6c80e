//! Networks in words: to TOML and back, and what is said about mistakes.

mod common;

use common::{bits, mixed};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::network::{
    BatchNorm, Builder, Conv2d, Distribution, InitialVoltage, Initializer, LayerKind, LeakyRelu, Linear, NeuronSpec,
    Pool,
};
use tch_spiking::neuron::{
    Fire, Initial, Lif, NeuronError, NeuronModel, Rate, RateModel, Real, RectifiedLinear, StateVariable, StepInput,
    WithRate,
};
use tch_spiking::{NetworkSpec, SpikingSequential, Synapse};

/// Every kind of layer, distribution, pair and number there is.
fn everything() -> Builder {
    let uniform = |low: f64, high: f64| Distribution::Uniform { uniform: [low, high] };
    let leaky = Lif { tau_rc: 0.0123, tau_ref: 0.0, amplitude: 0.1, min_voltage: f64::NEG_INFINITY, smoothing: 0.02 };
    Builder::new([2, 14, 13])
        .layer(Conv2d {
            groups: 2,
            dilation: [1, 2].into(),
            bias: false,
            init: Initializer::HeNormal,
            ..Conv2d::new(4, [3, 2])
        })
        .layer(NeuronSpec::new(leaky).tuned(uniform(20.0, 80.0), uniform(-0.5, 0.5)))
        .layer(LayerKind::MaxPool(Pool { stride: Some([1, 2].into()), padding: 1.into(), ..Pool::new(2) }))
        .named_layer("second", Conv2d::new(3, 3).padding([1, 0]).stride([2, 1]))
        .layer(NeuronSpec {
            trainable_bias: false,
            ..NeuronSpec::new(Lif::default()).with_gain_bias(uniform(0.5, 1.0), 1.0)
        })
        .layer(BatchNorm { eps: 1e-3, momentum: 0.2, affine: false })
        .layer(LeakyRelu { negative_slope: 0.3 })
        .avg_pool(2)
        .dropout(0.1)
        .flatten()
        .layer(Linear { bias: false, init: Initializer::GlorotNormal, ..Linear::new(5) })
        .layer(Synapse::Alpha { tau: 1.0 / 3.0 })
        .layer(NeuronSpec::new(RectifiedLinear { amplitude: 0.3 }).tuned(17.0, -1.0).with_firing_rate_scale(1.0 / 7.0))
        .batch_norm()
        .relu()
        .linear(3)
        .lowpass(0.1)
        .dt(0.002)
        .steps(12)
        .initial_voltage(InitialVoltage::Value(-0.25))
}

/// All that can be seen of a network: parameters, states, rates and spikes, bit for bit.
fn fingerprint(spec: &NetworkSpec) -> Vec<u64> {
    let net = SpikingSequential::new(&VarStore::new(Device::Cpu).root(), spec, 11).unwrap();
    let input = mixed(-2.0, 6.0, &[&[3], spec.input.as_slice()].concat(), Kind::Float);
    let state = net.zero_state(3).unwrap();
    let states =
        (0..net.layers().len()).flat_map(|layer| state.layer(layer).iter().map(Tensor::copy).collect::<Vec<_>>());
    let parameters = net.named_parameters().into_iter().map(|(_, tensor)| tensor);
    let results = [net.forward_training(&input, 0).unwrap(), net.simulate(&input, spec.steps, &[]).unwrap().output];
    parameters.chain(states).chain(results).flat_map(|tensor| bits(&tensor)).collect()
}

fn from_toml(text: &str) -> Result<NetworkSpec, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn a_network_survives_toml_bit_for_bit() {
    for voltage in [InitialVoltage::Uniform, InitialVoltage::Zero, InitialVoltage::Value(-0.25)] {
        let spec = everything().initial_voltage(voltage).into_spec();
        let text = toml::to_string(&spec).unwrap();
        let back = from_toml(&text).unwrap();
        assert_eq!(toml::to_string(&back).unwrap(), text);
        assert_eq!(fingerprint(&back), fingerprint(&spec));
    }
}

#[test]
fn builder_and_toml_say_the_same() {
    let text = r#"
        input = [1, 9, 9]
        dt = 0.002
        initial_voltage = "zero"
        [[layers]]
        type = "conv2d"
        name = "edges"
        out_channels = 4
        kernel = [3, 2]
        stride = 2
        [[layers]]
        type = "lif"
        amplitude = 0.01
        max_rate = { uniform = [50, 100] }
        [[layers]]
        type = "max_pool"
        kernel = 2
        [[layers]]
        type = "flatten"
        [[layers]]
        type = "linear"
        out_features = 3
        init = "he_uniform"
        [[layers]]
        type = "alpha"
        tau = 0
    "#;
    let neurons = NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() });
    let builder = Builder::new([1, 9, 9])
        .dt(0.002)
        .initial_voltage(InitialVoltage::Zero)
        .named_layer("edges", Conv2d::new(4, [3, 2]).stride(2))
        .layer(neurons.tuned(Distribution::Uniform { uniform: [50.0, 100.0] }, 0.0))
        .max_pool(2)
        .flatten()
        .layer(Linear { init: Initializer::HeUniform, ..Linear::new(3) })
        .layer(Synapse::Alpha { tau: 0.0 });
    assert_eq!(fingerprint(&from_toml(text).unwrap()), fingerprint(&builder.into_spec()));
}

#[test]
fn equal_pairs_and_defaults_are_written_as_a_person_would() {
    let text = toml::to_string(&Builder::new([1, 9, 9]).layer(Conv2d::new(4, 3).stride([2, 1])).into_spec()).unwrap();
    assert!(text.contains("kernel = 3\n") && text.contains("stride = [2, 1]"), "{text}");
    assert!(text.find("type").unwrap() < text.find("out_channels").unwrap(), "{text}");
}

#[test]
fn mistakes_are_explained() {
    let layer = |layer: &str| from_toml(&format!("input = [1, 9, 9]\nlayers = [{{ {layer} }}]")).unwrap_err();
    for (text, words) in [
        ("type = \"conv3d\"", vec!["unknown layer type `conv3d`", "`conv2d`", "`lif`"]),
        ("type = 3", vec!["type = 3: expected a layer's type"]),
        ("kernel = 3", vec!["a layer without `type`"]),
        ("type = \"conv2d\", kernel = 3, channels = 4", vec!["conv2d: unknown field `channels`", "out_channels"]),
        ("type = \"conv2d\", out_channels = 4", vec!["conv2d: missing field `kernel`"]),
        ("type = \"conv2d\", out_channels = 4, kernel = [1, 2, 3]", vec!["conv2d: "]),
        ("type = \"linear\", out_features = \"ten\"", vec!["linear: invalid type: string \"ten\""]),
        ("type = \"linear\", out_features = 1, init = \"random\"", vec!["unknown variant `random`", "glorot_uniform"]),
        ("type = \"flatten\", size = 3", vec!["flatten takes no parameters"]),
        ("type = \"lowpass\", tau = 0.1, gain = 2", vec!["lowpass: unknown field `gain`"]),
        ("type = \"lif\", tau = 0.1", vec!["unknown field `tau`", "tau_rc"]),
        ("type = \"lif\", tau_rc = -1", vec!["lif: tau_rc = -1 is not valid: expected a time above 0 s"]),
        ("type = \"lif\", max_rate = 10, gain = 2", vec!["either max_rate and intercept, or gain and bias"]),
        ("type = \"lif\", intercept = 0.5", vec!["either max_rate and intercept, or gain and bias"]),
        ("type = \"lif\", max_rate = { normal = [1, 2] }", vec!["lif: "]),
        ("type = \"relu\", slope = 3", vec!["relu takes no parameters"]),
        ("type = \"leaky_relu\", slope = 3", vec!["leaky_relu: unknown field `slope`", "negative_slope"]),
        ("type = \"batch_norm\", eps = \"small\"", vec!["batch_norm: invalid type"]),
        ("type = \"flatten\", name = 3", vec!["name = 3: expected a string"]),
    ] {
        let error = layer(text);
        assert!(words.iter().all(|word| error.contains(word)), "{text}\n{error}");
    }
    let voltage =
        |voltage: &str| from_toml(&format!("input = [1]\ninitial_voltage = {voltage}\nlayers = []")).unwrap_err();
    for wrong in ["1.5", "\"one\"", "nan", "[0, 1]"] {
        assert!(voltage(wrong).contains("expected \"uniform\", \"zero\" or a finite number up to 1"), "{wrong}");
    }
    assert!(from_toml("input = [1]\nlayer = []").unwrap_err().contains("unknown field `layer`"));
}

#[test]
fn distributions_out_of_order_are_errors_when_the_network_is_built() {
    for bounds in [[2.0, 1.0], [f64::NAN, 1.0], [0.0, f64::INFINITY], [f64::MIN, f64::MAX]] {
        let neurons = NeuronSpec::new(Lif::default()).with_gain_bias(Distribution::Uniform { uniform: bounds }, 0.0);
        let error = Builder::new([3]).layer(neurons).build(&VarStore::new(Device::Cpu).root(), 0).unwrap_err();
        assert!(error.to_string().starts_with("layer 1 (lif): { uniform = ["), "{error}");
    }
}

/// A neuron that no file can name.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Identity;

impl NeuronModel for Identity {
    const NAME: &'static str = "identity";
    const STATE: &'static [StateVariable] = &[StateVariable::new("unused", Initial::Value(0.0))];
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 0];
    type Rates = WithRate;
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

impl RateModel for Identity {
    fn max_rate(&self) -> f64 {
        f64::INFINITY
    }
    fn rate<R: Real>(&self, current: R) -> Rate<R> {
        Rate { value: current, derivative: R::constant(1.0) }
    }
    fn gain_bias(&self, max_rate: f64, _: f64) -> Result<(f64, f64), NeuronError> {
        Ok((max_rate, 0.0))
    }
}

#[test]
fn what_is_rust_code_cannot_be_written_but_runs() {
    let custom = Builder::new([3]).custom("twice", |x| x.f_mul_scalar(2.0));
    let own = Builder::new([3]).layer(NeuronSpec::new(Identity));
    for (builder, name) in [(&custom, "twice"), (&own, "identity")] {
        let error = toml::to_string(&builder.clone().into_spec()).unwrap_err().to_string();
        assert!(error.contains(&format!("layer `{name}` is Rust code")), "{error}");
    }
    let net = own.build(&VarStore::new(Device::Cpu).root(), 0).unwrap();
    let input = mixed(-1.0, 1.0, &[2, 3], Kind::Float);
    assert!(net.forward_rates(&input).unwrap().equal(&input));
    assert!(net.simulate(&input, 4, &[]).unwrap().last_output().equal(&input));
}

/// What a file may not say cannot be built either, so that every network that is saved can be loaded.
#[test]
fn start_voltages_are_checked_when_a_network_is_built() {
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5] {
        let builder = Builder::new([2]).layer(NeuronSpec::new(Lif::default()));
        let builder = builder.initial_voltage(InitialVoltage::Value(value));
        let error = builder.build(&VarStore::new(Device::Cpu).root(), 0).unwrap_err().to_string();
        assert!(error.contains("expected \"uniform\", \"zero\" or a finite number up to 1"), "{value}: {error}");
    }
}
