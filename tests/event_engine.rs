//! The event engine against the dense one.

mod common;

use std::path::Path;

use common::{distance, mixed, numbers};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::engine::{Activity, Engine, Probe, Quantity, Recording, Simulation};
use tch_spiking::evaluate::{Labelled, SpikingOptions, spiking_with};
use tch_spiking::network::{Builder, Conv2d, Distribution, InitialVoltage, LayerKind, LayerSpec, NeuronSpec, Pool};
use tch_spiking::neuron::{Lif, RectifiedLinear};
use tch_spiking::{NetworkSpec, SpikingSequential, Synapse};

fn build(spec: &NetworkSpec, kind: Kind, seed: u64) -> SpikingSequential {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    SpikingSequential::new(&vs.root(), spec, seed).unwrap()
}

/// Neurons of any kind there is, gain and bias such that many spike.
fn neurons(rng: &mut ChaCha8Rng) -> NeuronSpec {
    if rng.random_bool(0.2) {
        return NeuronSpec::new(RectifiedLinear { amplitude: 0.02 }).with_gain_bias(
            Distribution::Uniform { uniform: [20.0, 200.0] },
            Distribution::Uniform { uniform: [-50.0, 50.0] },
        );
    }
    let lif = Lif {
        tau_rc: rng.random_range(0.002..0.05),
        // Below a timestep, several of them, and more than the engine's shortcut takes.
        tau_ref: [0.0, 0.0004, 0.001, 0.002, 0.0037, 0.05][rng.random_range(0..6)],
        amplitude: rng.random_range(0.005..0.03),
        min_voltage: [0.0, -0.5, f64::NEG_INFINITY][rng.random_range(0..3)],
        smoothing: 0.02,
    };
    let bias = Distribution::Uniform { uniform: [0.3, 1.6] };
    NeuronSpec::new(lif).with_gain_bias(Distribution::Uniform { uniform: [0.5, 2.0] }, bias)
}

fn conv(rng: &mut ChaCha8Rng, channels: i64, size: i64) -> Conv2d {
    let groups = if channels % 2 == 0 && rng.random_bool(0.3) { 2 } else { 1 };
    let out = [2, 6, 20, 40, 70][rng.random_range(0..5)] / groups * groups;
    let kernel = rng.random_range(1..=3.min(size));
    let dilation = if size > 2 * kernel && rng.random_bool(0.2) { 2 } else { 1 };
    Conv2d {
        groups,
        dilation: dilation.into(),
        padding: [rng.random_range(0..2), rng.random_range(0..3)].into(),
        stride: [rng.random_range(1..=2), rng.random_range(1..=2)].into(),
        bias: rng.random_bool(0.7),
        ..Conv2d::new(out, [kernel, rng.random_range(1..=kernel)])
    }
}

/// A network of a few layers of all kinds.
fn random_spec(rng: &mut ChaCha8Rng) -> NetworkSpec {
    let mut builder = Builder::new([rng.random_range(1..=3), 9, 8]);
    if rng.random_bool(0.2) {
        builder = builder.layer(neurons(rng));
    }
    for _ in 0..rng.random_range(1..=3) {
        let shape = shape_of(&builder);
        builder = builder.layer(conv(rng, shape[0], shape[1].min(shape[2])));
        let size = shape_of(&builder)[1..].iter().copied().min().unwrap_or(1);
        if size >= 2 && rng.random_bool(0.25) {
            let pool = Pool {
                stride: Some(rng.random_range(1..=2).into()),
                padding: rng.random_range(0..2).into(),
                ..Pool::new(2)
            };
            let kind = if rng.random_bool(0.5) { LayerKind::AvgPool(pool) } else { LayerKind::MaxPool(pool) };
            builder = builder.layer(kind);
        }
        builder = builder.layer(neurons(rng));
        if rng.random_bool(0.2) {
            builder = builder.layer(Synapse::Alpha { tau: 0.003 });
        }
        if shape_of(&builder)[1..].iter().any(|&size| size < 3) {
            break;
        }
    }
    builder = builder.dropout(0.2).flatten();
    if rng.random_bool(0.3) {
        builder = builder.layer(neurons(rng));
    }
    if rng.random_bool(0.5) {
        builder = builder.linear([17, 80][rng.random_range(0..2)]).layer(neurons(rng));
    }
    let mut spec = builder.linear(rng.random_range(1..=12)).lowpass(0.02).into_spec();
    spec.initial_voltage = if rng.random_bool(0.8) { InitialVoltage::Uniform } else { InitialVoltage::Zero };
    spec
}

/// A network with skip connections, in which constant values, values and spikes are added and concatenated.
fn random_graph(rng: &mut ChaCha8Rng) -> NetworkSpec {
    let channels = [3, 20, 40][rng.random_range(0..3)];
    let same = || Conv2d::new(channels, 3).padding(1);
    let mut builder =
        Builder::new([rng.random_range(1..=3), 7, 6]).named_layer("stem", same()).named_layer("n0", neurons(rng));
    for block in 1..=rng.random_range(1..=3) {
        let before = format!("n{}", block - 1);
        let (convolved, joined) = (format!("c{block}"), format!("j{block}"));
        let conv = LayerSpec::from(same()).named(&convolved).reading([before.as_str()]);
        let skip = if rng.random_bool(0.5) { before.as_str() } else { "stem" };
        let sides = if rng.random_bool(0.5) { [convolved.as_str(), skip] } else { [skip, convolved.as_str()] };
        builder = match rng.random_range(0..3) {
            0 => {
                let side_by_side = LayerSpec::from(LayerKind::Concat).named(&joined).reading([before.as_str(), skip]);
                builder.layer(side_by_side).named_layer(&convolved, same())
            }
            1 => builder
                .layer(conv)
                .layer(LayerSpec::from(LayerKind::Concat).named(&joined).reading(sides))
                .layer(same()),
            _ => builder.layer(conv).layer(LayerSpec::from(LayerKind::Add).named(&joined).reading(sides)),
        };
        builder = builder.named_layer(format!("n{block}"), neurons(rng));
    }
    builder.flatten().linear(4).lowpass(0.02).into_spec()
}

/// The shape that the layers so far make.
fn shape_of(builder: &Builder) -> Vec<i64> {
    let spec = builder.clone().into_spec();
    match spec.layers.is_empty() {
        true => spec.input,
        false => build(&spec, Kind::Float, 0).output_shape().to_vec(),
    }
}

fn spike_probes(network: &SpikingSequential) -> Vec<Probe> {
    let names = network.layers().iter().filter(|layer| layer.neurons() > 0).map(|layer| layer.name().to_string());
    names.flat_map(|name| [Probe::output(&name), Probe::spike_count(&name)]).collect()
}

fn run(network: &SpikingSequential, images: &Tensor, steps: i64, engine: Engine) -> Recording {
    let probes = spike_probes(network);
    Simulation { steps, probes: &probes, engine, ..Simulation::default() }
        .run(network, &Activity::constant(images))
        .unwrap()
}

/// `(outputs that differ, outputs that are not zero)` of all neurons over time.
fn differing(ours: &Recording, theirs: &Recording) -> (usize, usize) {
    assert!(ours.probed.keys().eq(theirs.probed.keys()));
    let (mut different, mut all) = (0, 0);
    for (probe, tensor) in ours.probed.iter().filter(|(probe, _)| probe.quantity == Quantity::Output) {
        let (a, b) = (numbers(tensor), numbers(&theirs.probed[probe]));
        assert_eq!(tensor.size(), theirs.probed[probe].size());
        different += a.iter().zip(&b).filter(|(a, b)| (*a - *b).abs() > 1e-3 * a.abs().max(1.0)).count();
        all += a.iter().filter(|&&a| a > 0.0).count();
    }
    (different, all)
}

#[test]
fn both_engines_give_the_same_spikes() {
    for (kind, networks, allowed) in [(Kind::Double, 120, 0.0), (Kind::Float, 120, 1e-4)] {
        let (mut different, mut all) = (0, 0);
        for seed in 0..networks {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let spec = random_spec(&mut rng);
            let network = build(&spec, kind, seed);
            let batch = rng.random_range(1..=4);
            // Beyond the stretch of time that the event engine simulates at once.
            let steps = [1, 7, 33, 80][rng.random_range(0..4)];
            let images = mixed(-2.0, 6.0, &[&[batch], spec.input.as_slice()].concat(), kind);
            let ours = run(&network, &images, steps, Engine::Event);
            let theirs = run(&network, &images, steps, Engine::Dense);
            let (differ, spikes) = differing(&ours, &theirs);
            assert!(kind == Kind::Float || differ == 0, "seed {seed}: {differ} of {spikes}\n{spec:#?}");
            if differ == 0 {
                let scale = 1.0 + numbers(&theirs.output).into_iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                let error = distance(&ours.output, &theirs.output) / scale;
                assert!(error < if kind == Kind::Double { 1e-12 } else { 1e-5 }, "seed {seed}: {error}");
                let counts = |recording: &Recording| -> Vec<Vec<f64>> {
                    let counts = recording.probed.iter().filter(|(probe, _)| probe.quantity == Quantity::SpikeCount);
                    counts.map(|(_, tensor)| numbers(tensor)).collect()
                };
                assert_eq!(counts(&ours), counts(&theirs), "seed {seed}");
            }
            different += differ;
            all += spikes;
        }
        assert!(all > 100_000 && different as f64 <= allowed * all as f64, "{kind:?}: {different} of {all} differ");
    }
}

#[test]
fn both_engines_give_the_same_spikes_in_graphs_and_over_time() {
    let mut all = 0;
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(1000 + seed);
        let spec = if seed % 3 == 0 { random_spec(&mut rng) } else { random_graph(&mut rng) };
        let network = build(&spec, Kind::Double, seed);
        let (batch, steps) = (rng.random_range(1..=3), [5, 40][rng.random_range(0..2)]);
        let shape = [&[batch], spec.input.as_slice()].concat();
        let over_time = mixed(-2.0, 6.0, &[&[steps], shape.as_slice()].concat(), Kind::Double);
        for input in [Activity::Constant(mixed(-2.0, 6.0, &shape, Kind::Double)), Activity::Varying(over_time)] {
            let mut probes = spike_probes(&network);
            // Layers that are computed together with those behind them are recorded too.
            probes.extend(network.layers().iter().map(|layer| Probe::output(layer.name())));
            probes.dedup();
            let run = |engine| Simulation::new(steps).probes(&probes).engine(engine).run(&network, &input).unwrap();
            let (ours, theirs) = (run(Engine::Event), run(Engine::Dense));
            let (differ, spikes) = differing(&ours, &theirs);
            assert_eq!(differ, 0, "seed {seed}: {differ} of {spikes}\n{spec:#?}");
            for (probe, tensor) in &ours.probed {
                let scale = 1.0 + numbers(tensor).into_iter().fold(0.0, |most: f64, x| most.max(x.abs()));
                let error = distance(tensor, &theirs.probed[probe]) / scale;
                assert!(error < 1e-11, "seed {seed}, {probe}: {error}");
            }
            all += spikes;
        }
    }
    assert!(all > 100_000, "{all}");
}

/// A small network with a constant layer, a sparse one and a readout, and images for it.
fn small() -> (NetworkSpec, Tensor) {
    let lif = || NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
    let builder = Builder::new([1, 10, 9]).layer(Conv2d::new(6, 3)).layer(lif()).layer(Conv2d::new(4, 3)).layer(lif());
    let spec = builder.flatten().linear(5).lowpass(0.02).into_spec();
    (spec, mixed(-4.0, 12.0, &[23, 1, 10, 9], Kind::Float))
}

#[test]
fn images_and_threads_do_not_change_a_bit() {
    let (spec, images) = small();
    let network = build(&spec, Kind::Float, 3);
    let all = run(&network, &images, 70, Engine::Event);
    let threads = tch::get_num_threads();
    for count in [1, 2, 5] {
        tch::set_num_threads(count);
        let again = run(&network, &images, 70, Engine::Event);
        assert!(again.output.equal(&all.output));
        assert!(again.probed.iter().all(|(probe, tensor)| tensor.equal(&all.probed[probe])));
    }
    tch::set_num_threads(threads);
    let event = network.compile::<f32>().unwrap();
    for image in 0..images.size()[0] {
        let alone = run(&network, &images.narrow(0, image, 1), 70, Engine::Event);
        assert!(alone.output.equal(&all.output.narrow(1, image, 1)));
        let values = Vec::<f32>::try_from(images.get(image).view(-1)).unwrap();
        let response = event.run(&values, 70).unwrap();
        let over_time: Vec<f64> = response.over_time().flatten().map(|&value| f64::from(value)).collect();
        assert_eq!(over_time, numbers(&alone.output));
    }
}

#[test]
fn an_image_stops_where_its_answer_leads_by_the_margin() {
    let (spec, images) = small();
    let network = build(&spec, Kind::Float, 3);
    let event = network.compile::<f32>().unwrap();
    let lead = |output: &[f32]| {
        let mut sorted = output.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        f64::from(sorted[0]) - f64::from(sorted[1])
    };
    let mut stopped = 0;
    for image in 0..images.size()[0] {
        let values = Vec::<f32>::try_from(images.get(image).view(-1)).unwrap();
        let whole = event.run(&values, 50).unwrap();
        let margin = 0.8 * whole.over_time().map(lead).fold(0.0, f64::max);
        let first = whole.over_time().position(|output| lead(output) >= margin).unwrap() + 1;
        let early = event.run_until(&values, 50, margin).unwrap();
        assert_eq!(early.steps(), first);
        assert!(early.over_time().eq(whole.over_time().take(first)));
        assert_eq!(event.run_until(&values, 50, f64::INFINITY).unwrap(), whole);
        stopped += usize::from(first < 50);
    }
    assert!(stopped > 5);
}

#[test]
fn both_engines_evaluate_alike() {
    let (spec, images) = small();
    let network = build(&spec, Kind::Double, 3);
    let labels = Tensor::arange(23, (Kind::Int64, Device::Cpu)).remainder(5);
    let data = Labelled { images, labels };
    for confidence in [None, Some(0.3)] {
        let evaluate = |engine| {
            let options = SpikingOptions { steps: 40, engine, confidence, ..SpikingOptions::default() };
            spiking_with(&network, &data, options, &mut |_| ()).unwrap()
        };
        let (event, dense) = (evaluate(Engine::Event), evaluate(Engine::Dense));
        assert_eq!((event.engine, dense.engine), ("event", "dense"));
        assert_eq!(event.accuracy_by_step, dense.accuracy_by_step);
        assert_eq!(event.mean_steps, dense.mean_steps);
        assert_eq!(confidence.is_none(), event.mean_steps == 40.0);
        if confidence.is_none() {
            for (event, dense) in event.layers.iter().zip(&dense.layers) {
                assert_eq!(serde_json::to_value(event).unwrap(), serde_json::to_value(dense).unwrap());
            }
        }
    }
}

#[test]
fn what_it_cannot_do_it_says_and_auto_leaves_to_the_dense_engine() {
    let (spec, _) = small();
    let network = build(&spec, Kind::Float, 3);
    let simulate = |network: &SpikingSequential, input, probes: &[Probe], engine| {
        Simulation::new(3).probes(probes).engine(engine).run(network, input)
    };
    let message = |result: tch_spiking::Result<Recording>| result.unwrap_err().to_string();

    let custom = Builder::new([4]).linear(3).custom("square", |x| x.f_square());
    let custom = build(&custom.into_spec(), Kind::Float, 0);
    let features = Activity::Constant(mixed(0.0, 1.0, &[2, 4], Kind::Float));
    assert!(custom.compile::<f32>().unwrap_err().to_string().contains("square"));
    assert!(message(simulate(&custom, &features, &[], Engine::Event)).contains("use the dense engine"));
    assert!(simulate(&custom, &features, &[], Engine::Auto).is_ok());

    let event = network.compile::<f32>().unwrap();
    assert!(event.run(&[0.0; 7], 3).unwrap_err().to_string().contains("has 90 values, got 7"));
    assert!(event.run(&[0.0; 90], usize::MAX).is_err());
    assert!(event.run(&[0.0; 90], 0).unwrap_err().to_string().contains("expected 1 to"));
}

#[test]
fn a_network_without_neurons_is_its_rates() {
    let spec = Builder::new([2, 5, 5]).layer(Conv2d::new(3, 2)).avg_pool(2).flatten().linear(4).into_spec();
    let network = build(&spec, Kind::Double, 1);
    let images = mixed(-1.0, 1.0, &[3, 2, 5, 5], Kind::Double);
    let output = run(&network, &images, 2, Engine::Event).output;
    let rates = tch::no_grad(|| network.forward_rates(&images)).unwrap();
    assert!(distance(&output.get(0), &rates) < 1e-12 && output.get(0).equal(&output.get(1)));
}

#[test]
fn the_pretrained_network_spikes_the_same_on_mnist() {
    let Some(folder) = std::env::var_os("TCH_SPIKING_DATA") else {
        return eprintln!("skipped: TCH_SPIKING_DATA does not say where MNIST is");
    };
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("pretrained/mnist-lif/weights.safetensors");
    if !weights.exists() {
        return eprintln!("skipped: there is no {}", weights.display());
    }
    let network = tch_spiking::weights::load_network(&weights, Device::Cpu).unwrap().network;
    let pixels = Path::new(&folder).join("mnist/t10k-images-idx3-ubyte.gz");
    let Ok(file) = std::fs::File::open(&pixels) else {
        return eprintln!("skipped: there is no {}", pixels.display());
    };
    let mut bytes = vec![0; 16 + 40 * 784];
    std::io::Read::read_exact(&mut flate2::read::GzDecoder::new(file), &mut bytes).unwrap();
    let images = Tensor::from_slice(&bytes[16..]).view([40, 1, 28, 28]).to_kind(Kind::Float);
    let (differ, spikes) =
        differing(&run(&network, &images, 30, Engine::Event), &run(&network, &images, 30, Engine::Dense));
    assert!(spikes > 500_000 && differ as f64 <= 1e-4 * spikes as f64, "{differ} of {spikes} differ");
}

/// Voltages, refractory times and currents, of constant inputs and of sequences, as the dense engine records them.
#[test]
fn it_records_what_the_dense_engine_records() {
    let (spec, images) = small();
    let network = build(&spec, Kind::Double, 3);
    let images = images.to_kind(Kind::Double);
    let quantities = [
        Quantity::Output,
        Quantity::State("voltage".into()),
        Quantity::State("refractory_time".into()),
        Quantity::Current,
    ];
    let neurons = network.layers().iter().filter(|layer| layer.neurons() > 0);
    let of_layer = |name: &str| quantities.clone().map(|quantity| Probe::new(name, quantity));
    let mut probes: Vec<Probe> = neurons.flat_map(|layer| of_layer(layer.name())).collect();
    probes.retain(|probe| {
        let has = |name: &str| {
            let Some(LayerKind::Neuron(neurons)) = network.layer(&probe.layer).map(|layer| layer.kind()) else {
                return false;
            };
            neurons.model.state().iter().any(|variable| variable.name == name)
        };
        !matches!(&probe.quantity, Quantity::State(name) if !has(name))
    });
    let ramp = Tensor::linspace(0.5, 1.5, 25, (Kind::Double, Device::Cpu)).reshape([25, 1, 1, 1, 1]);
    for input in [Activity::constant(&images), Activity::Varying(images.unsqueeze(0) * ramp)] {
        let run = |engine| Simulation::new(25).probes(&probes).engine(engine).run(&network, &input).unwrap();
        let (event, dense) = (run(Engine::Event), run(Engine::Dense));
        assert!(distance(&event.output, &dense.output) < 1e-9);
        for probe in &probes {
            let error = distance(&event.probed[probe], &dense.probed[probe]);
            assert!(error < 1e-9, "{probe}: {error}");
        }
    }
}

#[test]
fn a_compiled_network_is_used_again_and_streams() {
    let (spec, images) = small();
    let network = build(&spec, Kind::Double, 3);
    let images = images.to_kind(Kind::Double);
    let compiled = network.compile::<f64>().unwrap();
    let sequence = images.unsqueeze(0).repeat([12, 1, 1, 1, 1]) * 1.2;
    let expected = Simulation::new(12).engine(Engine::Dense).run(&network, &Activity::varying(&sequence)).unwrap();
    for _ in 0..2 {
        let ours = Simulation::new(12).run_compiled(&compiled, &network, &Activity::varying(&sequence)).unwrap();
        assert!(distance(&ours.output, &expected.output) < 1e-9);
    }
    let mut state = compiled.state();
    for step in 0..12 {
        let input = numbers(&sequence.get(step).get(0));
        let output = Tensor::from_slice(compiled.advance(&mut state, &input).unwrap());
        assert!(distance(&output, &expected.output.get(step).get(0)) < 1e-9, "{step}");
    }
    let other = build(&Builder::new([4]).linear(3).into_spec(), Kind::Double, 0);
    let input = Activity::Constant(mixed(0.0, 1.0, &[1, 4], Kind::Double));
    let error = Simulation::new(2).run_compiled(&compiled, &other, &input).unwrap_err().to_string();
    assert!(error.contains("compile this one"), "{error}");
}
