//! Networks with delayed connections in the dense engine, against loops over single timesteps written by hand.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use common::{bits, distance, mixed, numbers};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};
use tch_spiking::convert::Converter;
use tch_spiking::data::{self, Rows, Samples as _, digits};
use tch_spiking::engine::{Activity, Engine, Mode, Pass, Probe, Quantity, Simulation, TrainingStep, forward};
use tch_spiking::network::{Builder, EdgeSpec, LayerSpec, Linear, NetworkSpec, NeuronSpec, Scale, State};
use tch_spiking::neuron::Lif;
use tch_spiking::operation::{self, SpikingDrive};
use tch_spiking::surrogate::Surrogate;
use tch_spiking::train::{OptimizerConfig, Outcome, Trainer, TrainingConfig};
use tch_spiking::weights::{self, Provenance};
use tch_spiking::{Network, Synapse};

const STEPS: i64 = 45;
const BATCH: i64 = 3;

/// Two cycles (through a filter and a linear layer; directly, one to one), and two delays without a cycle. The layer `aside` is
/// written inside of the first cycle, and no part of it.
fn network(kind: Kind) -> (Network, VarStore) {
    let spec: NetworkSpec = toml::from_str(
        r#"input = [3]
        layers = [
            { type = "linear", name = "in", out_features = 6 },
            { type = "add", name = "sum", from = [{ node = "back", delayed = true }, "in"] },
            { type = "lif", name = "hidden", amplitude = 0.01, gain = 4.0, bias = 1.0 },
            { type = "lowpass", name = "trace", tau = 0.004 },
            { type = "linear", name = "aside", from = ["hidden"], out_features = 3 },
            { type = "linear", name = "back", from = ["trace"], out_features = 6 },
            { type = "add", name = "sum2", from = ["hidden", { node = "second", delayed = true }] },
            { type = "lif", name = "second", amplitude = 0.02, gain = 0.6, bias = 0.95 },
            { type = "linear", name = "readout", out_features = 3 },
            { type = "add", name = "out", from = ["readout", { node = "aside", delayed = true }, { node = "input", delayed = true }] },
            { type = "lowpass", tau = 0.01 },
        ]"#,
    )
    .unwrap();
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    let network = Network::new(&vs.root(), &spec, 1).unwrap();
    (network, vs)
}

fn sequence(kind: Kind) -> Tensor {
    mixed(-0.5, 6.0, &[STEPS, BATCH, 3], kind)
}

/// What a timestep carries over to the next.
struct Memory {
    neurons: BTreeMap<&'static str, Vec<Tensor>>,
    trace: Vec<Tensor>,
    out: Vec<Tensor>,
    delayed: BTreeMap<&'static str, Tensor>,
}

impl Memory {
    fn new(network: &Network, input: &Tensor) -> Self {
        let fresh = network.zero_state(input.size()[1]).unwrap();
        let of = |name: &str| {
            let index = network.layers().iter().position(|layer| layer.name() == name).unwrap();
            fresh.layer(index).iter().map(Tensor::copy).collect::<Vec<_>>()
        };
        let zeros = |features| Tensor::zeros([input.size()[1], features], (network.kind(), Device::Cpu));
        Self {
            neurons: [("hidden", of("hidden")), ("second", of("second"))].into(),
            trace: of("trace"),
            out: of("lowpass2"),
            delayed: [("back", zeros(6)), ("second", zeros(6)), ("aside", zeros(3)), ("input", zeros(3))].into(),
        }
    }

    fn detach(&mut self) {
        // The filter of the output lies in no cycle: nothing is cut there.
        let states = self.neurons.values_mut().flatten().chain(&mut self.trace);
        states.chain(self.delayed.values_mut()).for_each(|tensor| *tensor = tensor.detach());
    }
}

/// Step by step by hand: the outputs of every layer; `neurons` computes a step of a layer of neurons.
fn by_hand(
    network: &Network,
    input: &Tensor,
    cut: Option<i64>,
    neurons: impl Fn(&str, &Tensor, &mut Vec<Tensor>) -> Tensor,
) -> BTreeMap<&'static str, Tensor> {
    let parameter = |name: String| network.parameter(&name).unwrap();
    let linear = |name: &str, x: &Tensor| {
        x.linear(&parameter(format!("{name}.weight")), Some(&parameter(format!("{name}.bias"))))
    };
    let filter = |tau: f64, x: &Tensor, state: &mut Vec<Tensor>| {
        operation::filter(Synapse::Lowpass { tau }, &x.unsqueeze(0), 0.001, state).unwrap().get(0)
    };
    let mut memory = Memory::new(network, input);
    let mut course: BTreeMap<&'static str, Vec<Tensor>> = BTreeMap::new();
    for step in 0..input.size()[0] {
        if cut.is_some_and(|every| step % every == 0) {
            memory.detach();
        }
        let now = input.get(step);
        let sum = &memory.delayed["back"] + linear("in", &now);
        let hidden = neurons("hidden", &sum, memory.neurons.get_mut("hidden").unwrap());
        let trace = filter(0.004, &hidden, &mut memory.trace);
        let back = linear("back", &trace);
        let aside = linear("aside", &hidden);
        let sum2 = &hidden + &memory.delayed["second"];
        let second = neurons("second", &sum2, memory.neurons.get_mut("second").unwrap());
        let out = linear("readout", &second) + &memory.delayed["aside"] + &memory.delayed["input"];
        let lowpass = filter(0.01, &out, &mut memory.out);
        memory.delayed = [
            ("back", back.shallow_clone()),
            ("second", second.shallow_clone()),
            ("aside", aside.shallow_clone()),
            ("input", now),
        ]
        .into();
        let all = [
            ("sum", sum),
            ("hidden", hidden),
            ("trace", trace),
            ("back", back),
            ("aside", aside),
            ("sum2", sum2),
            ("second", second),
            ("out", out),
            ("lowpass2", lowpass),
        ];
        for (name, value) in all {
            course.entry(name).or_default().push(value);
        }
    }
    course.into_iter().map(|(name, values)| (name, Tensor::stack(&values, 0))).collect()
}

/// Gain and bias of a layer of neurons by its name.
fn tuning(network: &Network, name: &str) -> (Tensor, Tensor) {
    let bias = network.parameter(&format!("{name}.bias")).unwrap();
    (no_grad(|| bias.full_like(if name == "hidden" { 4.0 } else { 0.6 })), bias)
}

fn model(network: &Network, name: &str) -> tch_spiking::neuron::Neuron {
    match network.layer(name).unwrap().kind() {
        tch_spiking::network::LayerKind::Neuron(neurons) => neurons.model.clone(),
        other => panic!("{other:?}"),
    }
}

/// A step of spikes.
fn spikes(network: &Network) -> impl Fn(&str, &Tensor, &mut Vec<Tensor>) -> Tensor {
    move |name, x, state| {
        let (gain, bias) = tuning(network, name);
        let drive = SpikingDrive::new(x, &gain, &bias, 1, 0.001);
        operation::spike(model(network, name), &drive, state, &[false, false]).unwrap().output.get(0)
    }
}

fn count(tensor: &Tensor) -> i64 {
    tensor.count_nonzero(None::<i64>).int64_value(&[])
}

#[test]
fn spikes_are_those_of_a_loop_over_timesteps() {
    let (network, _vs) = network(Kind::Double);
    let input = sequence(Kind::Double);
    let expected = no_grad(|| by_hand(&network, &input, None, spikes(&network)));
    let mut probes: Vec<Probe> = expected.keys().map(|name| Probe::output(*name)).collect();
    for quantity in [Quantity::Current, Quantity::SpikeCount, Quantity::State("voltage".into())] {
        probes.push(Probe::new("hidden", quantity));
    }
    let simulation = Simulation::new(STEPS).engine(Engine::Dense).probes(&probes);
    let recording = simulation.run(&network, &Activity::varying(&input)).unwrap();
    for (name, expected) in &expected {
        let found = &recording.probed[&Probe::output(*name)];
        assert!(distance(found, expected) < 1e-10, "{name}");
    }
    for name in ["hidden", "second"] {
        assert_eq!(bits(&recording.probed[&Probe::output(name)]), bits(&expected[name]));
        assert!(count(&expected[name]) > 20, "{name}: {}", count(&expected[name]));
    }
    let current = &expected["sum"] * 4.0 + network.parameter("hidden.bias").unwrap();
    assert!(distance(&recording.probed[&Probe::new("hidden", Quantity::Current)], &current.detach()) < 1e-10);
    let counts = &recording.probed[&Probe::new("hidden", Quantity::SpikeCount)];
    let spiked = expected["hidden"].not_equal(0.0).to_kind(Kind::Double).sum_dim_intlist(0, false, Kind::Double);
    assert_eq!(bits(counts), bits(&spiked));
    assert_eq!(recording.probed[&Probe::new("hidden", Quantity::State("voltage".into()))].size(), [STEPS, BATCH, 6]);

    // The event engine gives the same spikes.
    let event = Simulation { engine: Engine::Event, ..simulation }.run(&network, &Activity::varying(&input)).unwrap();
    for (probe, tensor) in &recording.probed {
        assert!(distance(tensor, &event.probed[probe]) < 1e-10, "{probe}");
    }
    assert_eq!(bits(&event.probed[&Probe::output("hidden")]), bits(&expected["hidden"]));
    assert!(distance(&event.output, &recording.output) < 1e-10);

    // Split over time and samples, in stretches from a state, and one step at a time.
    let tiled = simulation.memory(1).run(&network, &Activity::varying(&input)).unwrap();
    for (probe, tensor) in &recording.probed {
        assert!(distance(tensor, &tiled.probed[probe]) < 1e-10, "{probe}");
    }
    let run = |from: i64, to: i64, state: &mut State| {
        let part = Activity::varying(&input.slice(0, from, to, 1));
        network.simulate_from(&part, to - from, state, &[]).unwrap().output
    };
    let mut state = network.zero_state(BATCH).unwrap();
    let first = run(0, 20, &mut state);
    let mut copy = state.copy();
    let second = run(20, STEPS, &mut state);
    assert!(distance(&Tensor::cat(&[&first, &second], 0), &recording.output) < 1e-12);
    assert!(distance(&recording.output, &expected["lowpass2"]) < 1e-10);
    for step in 20..STEPS {
        let output = no_grad(|| network.step(&input.get(step), &mut copy)).unwrap();
        assert!(distance(&output, &recording.output.get(step)) < 1e-12, "step {step}");
    }
    assert_eq!(copy.steps(), STEPS as u64);
}

#[test]
fn an_input_constant_over_time_is_the_same_input_at_every_step() {
    for kind in common::KINDS {
        let (network, _vs) = network(kind);
        let image = sequence(kind).get(0);
        let probes = [Probe::output("hidden"), Probe::output("second"), Probe::output("sum")];
        let sequence = image.unsqueeze(0).repeat([STEPS, 1, 1]);
        for engine in [Engine::Dense, Engine::Event] {
            let simulation = Simulation::new(STEPS).engine(engine).probes(&probes);
            let constant = simulation.run(&network, &Activity::constant(&image)).unwrap();
            let varying = simulation.run(&network, &Activity::varying(&sequence)).unwrap();
            for probe in &probes {
                assert!(distance(&constant.probed[probe], &varying.probed[probe]) < 1e-5, "{probe} {engine:?}");
            }
            assert!(distance(&constant.output, &varying.output) < 1e-5);
        }
    }
}

/// The gradients of all parameters by the pass and by the loop.
fn compare_gradients(
    mode: Mode,
    cut: Option<i64>,
    neurons: impl Fn(&Network) -> Box<dyn Fn(&str, &Tensor, &mut Vec<Tensor>) -> Tensor + '_>,
) {
    let (network, vs) = network(Kind::Double);
    let input = sequence(Kind::Double);
    let weights = mixed(-1.0, 1.0, &[STEPS, BATCH, 3], Kind::Double);
    let take = |output: &Tensor| {
        (output * &weights).sum(Kind::Double).backward();
        let gradients = vs.variables().into_iter().map(|(name, variable)| {
            let gradient = variable.grad();
            let values = if gradient.defined() { numbers(&gradient) } else { vec![] };
            if gradient.defined() {
                let _ = variable.grad().zero_();
            }
            (name, values)
        });
        gradients.collect::<BTreeMap<_, _>>()
    };
    let mut pass = Pass { mode, ..Pass::spikes(STEPS) };
    let mut state = network.zero_state(BATCH).unwrap();
    let output = forward(&network, &Activity::varying(&input), Some(&mut state), &mut pass).unwrap();
    let ours = take(output.tensor());
    let step = neurons(&network);
    let theirs = take(&by_hand(&network, &input, cut, step)["lowpass2"]);
    for (name, theirs) in &theirs {
        let largest = theirs.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.0, "{name} has no gradient");
        for (ours, theirs) in ours[name].iter().zip(theirs) {
            assert!((ours - theirs).abs() <= 1e-9 * largest, "{name}: {ours} {theirs}");
        }
    }
}

#[test]
fn spiking_aware_gradients_flow_through_delayed_connections() {
    compare_gradients(Mode::SpikingAware, None, |network| {
        Box::new(|name, x, state| {
            let (gain, bias) = tuning(network, name);
            let drive = SpikingDrive::new(x, &gain, &bias, 1, 0.001);
            operation::spike_aware(model(network, name), &drive, state).unwrap().output.get(0)
        })
    });
}

#[test]
fn surrogate_gradients_flow_through_delayed_connections_until_they_are_cut() {
    let surrogate = Surrogate::Atan { alpha: 2.0 };
    for truncate in [None, Some(2), Some(7), Some(STEPS)] {
        compare_gradients(Mode::Surrogate { surrogate, truncate }, truncate, |network| {
            Box::new(move |name, x, state| {
                let (gain, bias) = tuning(network, name);
                let drive = SpikingDrive::new(x, &gain, &bias, 1, 0.001);
                operation::through_time(model(network, name), &drive, state, &surrogate, None).unwrap().output.get(0)
            })
        });
    }
}

#[test]
fn gradients_of_rates_flow_through_delayed_connections() {
    compare_gradients(Mode::Rates, None, |network| {
        Box::new(|name, x, _| {
            let (gain, bias) = tuning(network, name);
            operation::rate(model(network, name), x, &gain, &bias).unwrap()
        })
    });
    // Without a state too, and in training: there is nothing random in this network.
    let (network, _vs) = network(Kind::Double);
    let input = Activity::varying(&sequence(Kind::Double));
    let [inference, training] = [None, Some(3)].map(|step| network.rates_activity(&input, step).unwrap().into_tensor());
    let mut state = network.zero_state(BATCH).unwrap();
    let from_state = forward(&network, &input, Some(&mut state), &mut Pass::rates()).unwrap();
    assert_eq!(bits(&inference), bits(&training));
    assert_eq!(bits(&inference), bits(from_state.tensor()));
}

#[test]
fn what_a_cycle_cannot_do_is_said() {
    let (network, _vs) = network(Kind::Float);
    let image = sequence(Kind::Float).get(0);
    let error = network.forward_rates(&image).unwrap_err().to_string();
    assert!(error.contains("delayed connections") && error.contains("[T, B, ..]"), "{error}");
    let error = Converter::new().convert(&network).unwrap_err().to_string();
    assert!(error.contains("cannot convert layer sum (add): it has a delayed input"), "{error}");
    let mut short = network.zero_state(2).unwrap();
    assert!(network.step(&image, &mut short).unwrap_err().to_string().contains("of 2 samples"));

    let spec: NetworkSpec = toml::from_str(
        r#"input = [3, 4, 4]
        layers = [
            { type = "add", from = ["input", { node = "batch_norm1", delayed = true }] },
            { type = "lif", gain = 1.0, bias = 1.0 },
            { type = "batch_norm" },
        ]"#,
    )
    .unwrap();
    let network = Network::new(&VarStore::new(Device::Cpu).root(), &spec, 0).unwrap();
    let input = mixed(0.0, 2.0, &[5, 2, 3, 4, 4], Kind::Float);
    let training = Some(TrainingStep { number: 0 });
    let error = forward(&network, &Activity::varying(&input), None, &mut Pass { training, ..Pass::rates() });
    assert!(error.unwrap_err().to_string().contains("batch_norm1 lies in a cycle"));
    assert_eq!(network.simulate_sequence(&input, &[]).unwrap().output.size(), input.size());
}

/// Recurrent neurons as one entry: a sum, the neurons and the way back, in text and in code.
#[test]
fn recurrent_neurons_are_written_as_one_layer() {
    let lif = || NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() });
    let in_code = Builder::new([3])
        .linear(5)
        .recurrent(LayerSpec::from(lif()).named("hidden"), Linear::new(5).without_bias())
        .recurrent_one_to_one(lif())
        .recurrent(lif(), Scale::new(-0.5))
        .linear(4)
        .recurrent(lif(), Linear::new(4))
        .into_spec();
    let in_text: NetworkSpec = toml::from_str(
        r#"input = [3]
        layers = [
            { type = "linear", out_features = 5 },
            { type = "lif", amplitude = 0.01, name = "hidden", recurrent = { type = "linear", out_features = 5, bias = false } },
            { type = "lif", amplitude = 0.01, recurrent = true },
            { type = "lif", amplitude = 0.01, recurrent = { type = "scale", weight = -0.5 } },
            { type = "linear", out_features = 4 },
            { type = "lif", amplitude = 0.01, recurrent = { type = "linear", out_features = 4 } },
        ]"#,
    )
    .unwrap();
    let [code, text] = [&in_code, &in_text].map(|spec| toml::to_string(spec).unwrap());
    assert_eq!(code, text);
    let read: NetworkSpec = toml::from_str(&text).unwrap();
    assert_eq!(toml::to_string(&read).unwrap(), text);
    let names = in_code.layer_names();
    let of_hidden = ["linear1", "hidden_sum", "hidden", "hidden_back", "lif2_sum", "lif2", "lif3_sum"];
    assert_eq!(names[..7], of_hidden, "{names:?}");
    assert_eq!(names[7..], ["lif3", "lif3_back", "linear3", "lif4_sum", "lif4", "lif4_back", "lif4_output"]);
    assert_eq!(in_code.layers[4].from, [EdgeSpec::from("hidden"), EdgeSpec::delayed("lif2")]);

    let network = Network::new(&VarStore::new(Device::Cpu).root(), &in_code, 0).unwrap();
    let output = network.simulate_sequence(&sequence(Kind::Float), &[Probe::output("lif4")]).unwrap();
    assert_eq!(bits(&output.output), bits(&output.probed[&Probe::output("lif4")]));
    for (layer, cause) in [
        (r#"{ type = "relu", recurrent = true }"#, "recurrent is for layers of neurons"),
        (r#"{ type = "lif", recurrent = 3 }"#, "expected true (one to one), or a layer that keeps the shape"),
        (r#"{ type = "lif", recurrent = { type = "lineal" } }"#, "unknown layer type `lineal`"),
        (r#"{ type = "lif", recurrent = { type = "linear", out_features = 3, from = ["input"] } }"#, "without `from`"),
    ] {
        let error = toml::from_str::<NetworkSpec>(&format!("input = [3]\nlayers = [{layer}]")).unwrap_err();
        assert!(error.to_string().contains(cause), "{layer}: {error}");
    }
    let other_size = toml::from_str::<NetworkSpec>(
        r#"input = [3]
        layers = [{ type = "lif", recurrent = { type = "linear", out_features = 2 } }]"#,
    );
    let error = Network::new(&VarStore::new(Device::Cpu).root(), &other_size.unwrap(), 0).unwrap_err().to_string();
    assert!(error.contains("its delayed input is 2, expected 3"), "{error}");
}

/// What is written is the same network, for the core too.
#[test]
fn files_hold_recurrent_networks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("network.safetensors");
    let (network, _vs) = network(Kind::Float);
    weights::save_network(&path, &network, &Provenance::default()).unwrap();
    let read = weights::load_network(&path, Device::Cpu).unwrap().network;
    let (input, simulation) = (Activity::varying(&sequence(Kind::Float)), Simulation::new(STEPS));
    let [ours, theirs] =
        [&network, &read].map(|network| simulation.engine(Engine::Dense).run(network, &input).unwrap());
    assert_eq!(bits(&ours.output), bits(&theirs.output));
    // The core reads the file too, without libtorch.
    let event = tch_spiking::core::EventNetwork::<f64>::load(&path).unwrap();
    let sample: Vec<f64> = numbers(&sequence(Kind::Float).select(1, 0));
    let response = event.run_sequence(&sample).unwrap();
    let expected = ours.output.select(1, 0);
    let found: Vec<f64> = response.over_time().flatten().copied().collect();
    assert!(distance(&Tensor::from_slice(&found).reshape(expected.size()).to_kind(Kind::Float), &expected) < 1e-3);
}

/// A network whose input is one row reads images row by row, and the samples are the rows of the image.
#[test]
fn images_are_read_row_by_row_by_a_network_of_one_row() {
    let images = digits::generate(3, digits::Split::Test, 5);
    let network = Builder::new([28]).linear(12).recurrent(NeuronSpec::new(Lif::default()), Linear::new(12)).linear(10);
    let network = network.build(&VarStore::new(Device::Cpu).root(), 0).unwrap();
    let rows = data::samples(&images, &network).unwrap();
    rows.check(&network).unwrap();
    let batch = rows.batch(&[4, 1], Device::Cpu, Kind::Float).unwrap();
    let expected =
        |image: usize, row: usize| images.image(image).unwrap()[row * 28..][..28].iter().map(|&pixel| f64::from(pixel));
    for row in 0..28 {
        for (sample, image) in [4, 1].into_iter().enumerate() {
            let found = numbers(&batch.input.tensor().get(row as i64).get(sample as i64));
            assert!(found.into_iter().eq(expected(image, row)), "row {row} of image {image}");
        }
    }
    assert_eq!(batch.target.tensor().size(), [2]);
    let other = Builder::new([27]).linear(10).build(&VarStore::new(Device::Cpu).root(), 0).unwrap();
    assert!(
        data::samples(&images, &other).unwrap_err().to_string().contains("images are 1x28x28, network.input is 27")
    );
}

/// A trainer on digits read row by row.
fn trainer(epochs: u64) -> Trainer {
    let lif = NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.05, ..Lif::default() }).tuned(200.0, -0.5);
    let start = Builder::new([28]).layer(Scale::new(1.0 / 255.0).shared().fixed()).linear(12);
    let network = start.recurrent(lif, Linear::new(12)).linear(10).lowpass(0.01);
    let network = network.build(&VarStore::new(Device::Cpu).root(), 0).unwrap();
    let optimizer = OptimizerConfig::adam();
    let config = TrainingConfig { epochs, batch_size: 20, learning_rate: 0.01, optimizer, ..TrainingConfig::default() };
    let rows = Rows::new(&digits::generate(0, digits::Split::Train, 60)).unwrap();
    Trainer::new(network, config, 5, rows).unwrap()
}

#[test]
fn training_a_recurrent_network_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let run = |mut trainer: Trainer| {
        assert_eq!(trainer.run(&mut (), &AtomicBool::new(false)).unwrap(), Outcome::Finished);
        trainer
    };
    let weights = |trainer: &Trainer| {
        let parameters = trainer.network().named_parameters().into_iter();
        parameters.map(|(name, tensor)| (name, bits(&tensor))).collect::<Vec<_>>()
    };
    let straight = run(trainer(4));
    assert_eq!(weights(&run(trainer(4))), weights(&straight));
    run(trainer(2)).save_checkpoint(&path).unwrap();
    let mut resumed = trainer(4);
    resumed.load_checkpoint(&path).unwrap();
    assert_eq!(weights(&run(resumed)), weights(&straight));
    let losses: Vec<f64> = straight.position().history.iter().map(|metrics| metrics.loss).collect();
    assert!(losses[3] < losses[0], "{losses:?}");
    let back = straight.network().parameter("lif1_back.weight").unwrap();
    assert_ne!(bits(&back), bits(&trainer(4).network().parameter("lif1_back.weight").unwrap()));
}
