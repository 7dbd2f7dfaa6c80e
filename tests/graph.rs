//! Networks whose layers read several others: skip connections as rates and as spikes, and what is refused.

mod common;

use common::{KINDS, bits, distance, mixed};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};
use tch_spiking::engine::{Activity, Probe, Quantity};
use tch_spiking::network::{Builder, Conv2d, EdgeSpec, LayerKind, LayerSpec, NeuronSpec, Origin, Voltage};
use tch_spiking::neuron::{Heaviside, Lif, NeuronModel, RateModel, StepInput};
use tch_spiking::operation::{self, SpikingDrive};
use tch_spiking::{Network, NetworkSpec, Result};

fn conv() -> Conv2d {
    Conv2d::new(4, 3).padding(1)
}

fn lif() -> NeuronSpec {
    NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0)
}

/// Two convolutions around neurons, added to a projection of the input, and both layers of neurons side by side.
fn residual() -> Builder {
    Builder::new([2, 6, 5])
        .named_layer("a", conv())
        .layer(lif())
        .named_layer("b", conv())
        .layer(LayerSpec::from(Conv2d::new(4, 1)).named("projection").reading(["input"]))
        .add_layers(["b", "projection", "a"])
        .layer(lif())
        .concat_layers(["lif2", "lif1"])
        .avg_pool(2)
        .flatten()
        .linear(3)
        .lowpass(0.01)
}

fn build(builder: Builder, kind: Kind) -> Result<(Network, VarStore)> {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let network = builder.build(&vs.root(), 3)?;
    Ok((network, vs))
}

fn refusal(spec: &str) -> String {
    let spec: std::result::Result<NetworkSpec, _> = toml::from_str(spec);
    match spec {
        Ok(spec) => Network::new(&VarStore::new(Device::Cpu).root(), &spec, 0).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    }
}

/// The network's parts on their own, put together by hand; `neurons` computes one of the two layers of neurons.
fn by_hand(network: &Network, input: &Tensor, mut neurons: impl FnMut(&str, &Tensor) -> Tensor) -> Tensor {
    let parameter = |name: &str| network.parameter(name).unwrap();
    let conv = |name: &str, x: &Tensor, padding: i64| {
        let (weight, bias) = (parameter(&format!("{name}.weight")), parameter(&format!("{name}.bias")));
        x.conv2d(&weight, Some(&bias), [1, 1], [padding, padding], [1, 1], 1)
    };
    let a = conv("a", input, 1);
    let first = neurons("lif1", &a);
    let sum = conv("b", &first, 1) + conv("projection", input, 0) + a;
    let second = neurons("lif2", &sum);
    let pooled = Tensor::cat(&[second, first], 1).avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
    pooled.flatten(1, -1).linear(&parameter("linear1.weight"), Some(&parameter("linear1.bias")))
}

#[test]
fn rates_are_those_of_the_layers_put_together_by_hand() {
    for kind in KINDS {
        let (network, _vs) = build(residual(), kind).unwrap();
        let input = mixed(-1.0, 3.0, &[3, 2, 6, 5], kind);
        let model = Lif { amplitude: 0.01, ..Lif::default() };
        let (gain, _) = model.gain_bias(100.0, 0.0).unwrap();
        let expected = by_hand(&network, &input, |name, x| {
            let bias = network.parameter(&format!("{name}.bias")).unwrap();
            operation::rate(model.clone(), x, &bias.full_like(gain), &bias).unwrap()
        });
        let tolerance = if kind == Kind::Double { 1e-12 } else { 1e-5 };
        assert!(distance(&network.forward_rates(&input).unwrap(), &expected) < tolerance);
        assert_eq!(bits(&network.forward_training(&input, 0).unwrap()), bits(&network.forward_rates(&input).unwrap()));
    }
}

#[test]
fn gradients_flow_along_every_way() {
    let (network, _vs) = build(residual(), Kind::Double).unwrap();
    let input = mixed(0.5, 3.0, &[2, 2, 6, 5], Kind::Double);
    let weights = mixed(-1.0, 1.0, &[2, 3], Kind::Double);
    let loss = || (network.forward_rates(&input).unwrap() * &weights).sum(Kind::Double);
    loss().backward();
    for name in ["a.weight", "b.weight", "projection.weight", "lif1.bias", "linear1.weight"] {
        let parameter = network.parameter(name).unwrap();
        let step = 1e-6;
        let middle = |tensor: &Tensor| {
            (0..tensor.dim()).fold(tensor.shallow_clone(), |tensor, _| tensor.get(tensor.size()[0] / 2))
        };
        let moved = |step: f64| {
            no_grad(|| {
                let _ = middle(&parameter).g_add_scalar_(step);
                loss().double_value(&[])
            })
        };
        let central = (moved(step) - moved(-2.0 * step)) / (2.0 * step);
        moved(step);
        let ours = middle(&parameter.grad()).double_value(&[]);
        assert!(ours != 0.0 && (ours - central).abs() <= 1e-6 * central.abs().max(1e-3), "{name}: {ours} {central}");
    }
}

#[test]
fn spikes_are_those_of_the_layers_put_together_by_hand() {
    let (network, _vs) = build(residual(), Kind::Double).unwrap();
    let input = mixed(0.5, 6.0, &[2, 2, 6, 5], Kind::Double);
    let steps = 40;
    let mut probes = vec![Probe::output("lif1"), Probe::output("lif2"), Probe::output("linear1")];
    probes.push(Probe::new("lif2", Quantity::State("voltage".into())));
    let recording = network.simulate(&input, steps, &probes).unwrap();
    let model = Lif { amplitude: 0.01, ..Lif::default() };
    let (gain, _) = model.gain_bias(100.0, 0.0).unwrap();
    let fresh = network.zero_state(2).unwrap();
    let mut states: Vec<Vec<Tensor>> = [1, 5].map(|layer| fresh.layer(layer).iter().map(Tensor::copy).collect()).into();
    for step in 0..steps {
        let mut spikes = Vec::new();
        let output = no_grad(|| {
            by_hand(&network, &input, |name, x| {
                let bias = network.parameter(&format!("{name}.bias")).unwrap();
                let gain = bias.full_like(gain);
                let drive = SpikingDrive::new(x, &gain, &bias, 1, 0.001);
                let state = &mut states[usize::from(name == "lif2")];
                let output = operation::spike(model.clone(), &drive, state, &[false, false]).unwrap().output;
                spikes.push(output.get(0));
                output.get(0)
            })
        });
        for (layer, spikes) in probes.iter().zip(&spikes) {
            assert_eq!(bits(&recording.probed[layer].get(step)), bits(spikes), "{layer} at {step}");
        }
        assert!(distance(&recording.probed[&probes[2]].get(step), &output) < 1e-12);
        // Convolutions of other batches may round otherwise.
        assert!(distance(&recording.probed[&probes[3]].get(step), &states[1][0]) < 1e-12);
    }
    assert!(recording.probed[&probes[1]].count_nonzero(None::<i64>).int64_value(&[]) > 100);

    // One step at a time, and from a state half-way, gives the same.
    let mut state = network.zero_state(2).unwrap();
    for step in 0..10 {
        assert!(distance(&network.step(&input, &mut state).unwrap(), &recording.output.get(step)) < 1e-12);
    }
    let rest = network.simulate_from(&Activity::constant(&input), steps - 10, &mut state, &[]).unwrap();
    assert!(distance(&rest.output, &recording.output.slice(0, 10, steps, 1)) < 1e-12);
    assert_eq!(state.steps(), steps as u64);
}

#[test]
fn start_voltages_can_be_set() {
    let (network, _vs) = build(residual(), Kind::Double).unwrap();
    let mut state = network.zero_state(1).unwrap();
    let before = network.zero_state(1).unwrap();
    state.set_voltage(&network, None, &Voltage::Value(0.25)).unwrap();
    assert!(
        state.layer(1)[0].eq(0.25).all().int64_value(&[]) == 1
            && state.layer(5)[0].eq(0.25).all().int64_value(&[]) == 1
    );
    // A batch of one shares no memory with the network.
    let _ = state.layer(1)[0].shallow_clone().fill_(7.0);
    assert_eq!(bits(&network.zero_state(1).unwrap().layer(1)[0]), bits(&before.layer(1)[0]));

    state.set_voltage(&network, Some("lif1"), &Voltage::Uniform { seed: 1 }).unwrap();
    let drawn = state.layer(1)[0].copy();
    state.set_voltage(&network, Some("lif1"), &Voltage::Uniform { seed: 1 }).unwrap();
    assert_eq!(bits(&drawn), bits(&state.layer(1)[0]));
    assert!(drawn.min().double_value(&[]) >= 0.0 && drawn.max().double_value(&[]) < 1.0);
    let given = mixed(0.0, 1.0, &[4, 6, 5], Kind::Double);
    state.set_voltage(&network, Some("lif2"), &Voltage::Given(&given)).unwrap();
    assert_eq!(bits(&state.layer(5)[0].get(0)), bits(&given));
    for (layer, voltage) in [("linear1", Voltage::Value(0.0)), ("lif1", Voltage::Given(&given.get(0)))] {
        assert!(state.set_voltage(&network, Some(layer), &voltage).is_err(), "{layer}");
    }
}

#[test]
fn files_say_who_reads_whom() {
    let spec = residual().into_spec();
    let text = toml::to_string(&spec).unwrap();
    assert!(text.contains(r#"from = ["b", "projection", "a"]"#) && text.contains(r#"from = ["input"]"#), "{text}");
    let read: NetworkSpec = toml::from_str(&text).unwrap();
    assert_eq!(toml::to_string(&read).unwrap(), text);
    let (ours, theirs) = (build(residual(), Kind::Float).unwrap().0, read);
    let theirs = Network::new(&VarStore::new(Device::Cpu).root(), &theirs, 3).unwrap();
    let input = mixed(0.0, 3.0, &[1, 2, 6, 5], Kind::Float);
    assert_eq!(bits(&ours.forward_rates(&input).unwrap()), bits(&theirs.forward_rates(&input).unwrap()));
    assert_eq!(ours.layer("add1").unwrap().inputs()[1].from, Origin::Node(3));
    assert!(matches!(ours.layer("concat1").unwrap().kind(), LayerKind::Concat));

    let row = Builder::new([3]).linear(2).layer(lif()).into_spec();
    assert!(!toml::to_string(&row).unwrap().contains("from"));
    let single: NetworkSpec = toml::from_str(
        r#"input = [3]
        layers = [{ type = "linear", out_features = 3 }, { type = "add", from = ["linear1", "input"] },
                  { type = "relu", from = "add1" }]"#,
    )
    .unwrap();
    assert_eq!(single.layers[2].from, [EdgeSpec::from("add1")]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let with = |layers: &str| refusal(&format!("input = [2, 4, 4]\nlayers = [{layers}]"));
    let conv = r#"{ type = "conv2d", out_channels = 3, kernel = 1 }"#;
    for (layers, expected) in [
        (
            format!("{conv}, {{ type = \"add\", from = [\"conv1\", \"input\"] }}"),
            "its inputs are 3x4x4 and 2x4x4: expected one shape",
        ),
        (
            format!("{conv}, {{ type = \"flatten\" }}, {{ type = \"concat\", from = [\"conv1\", \"flatten1\"] }}"),
            "expected shapes that differ in the first dimension only",
        ),
        (format!("{conv}, {{ type = \"relu\", from = [\"conv1\", \"input\"] }}"), "it accepts one input, got 2"),
        (
            format!("{conv}, {{ type = \"relu\", from = [\"conv2\"] }}"),
            "there is no layer with this name; available: input, conv1, relu1",
        ),
        (format!("{{ type = \"relu\", from = [\"conv1\"] }}, {conv}"), "it reads \"conv1\", which comes later"),
        (
            format!("{conv}, {{ type = \"relu\", from = [\"input\"] }}"),
            "no layer reads \"conv1\", and it is not the last",
        ),
        (format!("{conv}, {{ type = \"relu\", from = [] }}"), "expected at least one input"),
        (format!("{conv}, {{ type = \"relu\", from = 3 }}"), "expected a layer's name"),
        (format!("{conv}, {{ type = \"relu\", from = [{{ node = \"conv1\", late = true }}] }}"), "late"),
        (format!("{conv}, {{ type = \"add\", dim = 1 }}"), "add takes no parameters"),
        (format!("{conv}, {{ type = \"relu\", name = \"input\" }}"), "other than \"input\""),
        (
            format!("{conv}, {{ type = \"relu\", from = [{{ node = \"conv1\", delayed = true }}] }}"),
            "a delayed input is supported by add layers only",
        ),
        (
            format!(
                "{conv}, {{ type = \"flatten\" }}, {{ type = \"add\", from = [\"flatten1\", {{ node = \"conv1\", delayed = true }}] }}"
            ),
            "its delayed input is 3x4x4, expected 48",
        ),
    ] {
        let error = with(&layers);
        assert!(error.contains(expected), "{layers}: {error}");
    }
}

/// Recurrence goes through text.
#[test]
fn delayed_connections_are_kept() {
    let spec: NetworkSpec = toml::from_str(
        r#"input = [3]
        layers = [
            { type = "linear", out_features = 5 },
            { type = "add", from = ["linear1", { node = "recurrent", delayed = true }] },
            { type = "lif" },
            { type = "linear", name = "recurrent", out_features = 5 },
            { type = "linear", from = ["lif1"], out_features = 2 },
        ]"#,
    )
    .unwrap();
    let again: NetworkSpec = toml::from_str(&toml::to_string(&spec).unwrap()).unwrap();
    assert_eq!(again.layers[1].from, [EdgeSpec::from("linear1"), EdgeSpec::delayed("recurrent")]);
    assert!(Network::new(&VarStore::new(Device::Cpu).root(), &spec, 0).unwrap().is_recurrent());
}

/// Currents of 0, and the crossing of an infinite one, are where engines could part.
#[test]
fn a_neuron_never_fires_faster_than_its_refractory_period_allows() {
    let fast = Lif { tau_rc: 1e-5, tau_ref: 0.7e-3, ..Lif::default() };
    let mut state = [0.0_f64; 2];
    let (dt, steps) = (0.5e-3, 4000);
    let count = (0..steps).filter(|_| fast.step(StepInput::new(5.0, dt), &mut state, &Heaviside) > 0.0).count();
    assert!(count as f64 <= steps as f64 * dt / fast.tau_ref + 1.0, "{count}");
}
