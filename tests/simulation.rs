//! Time: steps against whole simulations, states, probes, and spikes against rates.

mod common;

use common::{KINDS, distance, mixed, numbers};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};
use tch_spiking::engine::{Activity, Probe, Quantity, Recording, Simulation};
use tch_spiking::network::{Builder, Conv2d, LayerKind, NeuronSpec};
use tch_spiking::neuron::{Lif, RateModel, RectifiedLinear};
use tch_spiking::{Result, SpikingSequential, Synapse};

const AMPLITUDE: f64 = 0.01;
const DT: f64 = 0.001;

fn lif() -> NeuronSpec {
    NeuronSpec::new(Lif { amplitude: AMPLITUDE, ..Lif::default() }).tuned(100.0, 0.0)
}

fn build(builder: Builder, kind: Kind) -> SpikingSequential {
    let mut vs = VarStore::new(Device::Cpu);
    vs.set_kind(kind);
    builder.build(&vs.root(), 3).unwrap()
}

/// Two layers of LIF neurons.
fn conv_net() -> Builder {
    Builder::new([1, 10, 9])
        .layer(Conv2d::new(6, 3))
        .layer(lif())
        .layer(Conv2d::new(4, 3).stride(2))
        .layer(lif())
        .flatten()
        .linear(5)
}

/// One of everything that has a state or treats time in a way of its own.
fn varied_nets() -> [Builder; 4] {
    let relu = NeuronSpec::new(RectifiedLinear { amplitude: 0.1 }).with_gain_bias(50.0, 10.0);
    [
        conv_net().lowpass(0.1),
        Builder::new([1, 10, 9])
            .layer(Conv2d::new(3, 3).padding(1))
            .layer(lif())
            .max_pool(2)
            .layer(relu.clone())
            .avg_pool(2)
            .flatten()
            .linear(4),
        Builder::new([1, 10, 9])
            .lowpass(0.01)
            .avg_pool(2)
            .layer(lif())
            .layer(Synapse::Alpha { tau: 0.005 })
            .flatten()
            .linear(7)
            .layer(relu),
        Builder::new([1, 10, 9]).flatten().linear(8).dropout(0.5).custom("square", |x| x.f_square()),
    ]
}

fn images(batch: i64, kind: Kind) -> Tensor {
    mixed(-4.0, 12.0, &[batch, 1, 10, 9], kind)
}

/// All probes there are of the layers of neurons, and the output of the others.
fn all_probes(net: &SpikingSequential) -> Vec<Probe> {
    let of_layer = |layer: &tch_spiking::network::Layer| -> Vec<Probe> {
        let mut quantities = vec![Quantity::Output];
        if let LayerKind::Neuron(neurons) = layer.kind() {
            quantities.extend([Quantity::SpikeCount, Quantity::Current]);
            quantities.extend(neurons.model.state().iter().map(|variable| Quantity::State(variable.name.to_string())));
        }
        quantities.into_iter().map(|quantity| Probe::new(layer.name(), quantity)).collect()
    };
    net.layers().iter().flat_map(of_layer).collect()
}

/// Equal to the last bit, or as near as the order of the sums in libtorch's matrix products allows.
fn assert_same(ours: &Recording, theirs: &Recording) {
    assert!(ours.probed.keys().eq(theirs.probed.keys()));
    let tolerance = if ours.output.kind() == Kind::Double { 1e-9 } else { 1e-3 };
    assert!(distance(&ours.output, &theirs.output) < tolerance);
    for (probe, tensor) in &ours.probed {
        let error = distance(tensor, &theirs.probed[probe]);
        assert!(error < tolerance, "{probe}: {error}");
    }
}

#[test]
fn a_simulation_is_its_steps_one_by_one() {
    for kind in KINDS {
        for net in varied_nets().map(|builder| build(builder, kind)) {
            let input = images(3, kind);
            let whole = net.simulate(&input, 40, &[]).unwrap();
            let mut state = net.zero_state(3).unwrap();
            for step in 0..40 {
                let output = net.step(&input, &mut state).unwrap();
                let error = distance(&output, &whole.output.get(step));
                assert!(error < if kind == Kind::Double { 1e-9 } else { 1e-4 }, "step {step}, {kind:?}: {error}");
            }
        }
    }
}

#[test]
fn spikes_are_the_same_bit_for_bit_in_one_go_and_step_by_step() {
    for kind in KINDS {
        let net = build(
            Builder::new([1, 10, 9]).layer(Conv2d::new(6, 3)).layer(lif()).layer(Conv2d::new(4, 3)).layer(lif()),
            kind,
        );
        let input = images(2, kind);
        let whole = net.simulate(&input, 60, &[]).unwrap().output;
        let mut state = net.zero_state(2).unwrap();
        let steps: Vec<Tensor> = (0..60).map(|_| net.step(&input, &mut state).unwrap()).collect();
        assert!(Tensor::stack(&steps, 0).equal(&whole));
        assert!(numbers(&whole).iter().filter(|&&output| output > 0.0).count() > 100);
    }
}

#[test]
fn a_repeated_input_is_a_constant_one() {
    for kind in KINDS {
        for net in varied_nets().map(|builder| build(builder, kind)) {
            let (input, probes) = (images(2, kind), all_probes(&net));
            let sequence = input.unsqueeze(0).repeat([25, 1, 1, 1, 1]);
            let constant = net.simulate(&input, 25, &probes).unwrap();
            assert_same(&net.simulate_sequence(&sequence, &probes).unwrap(), &constant);
        }
    }
}

#[test]
fn a_varying_input_is_a_step_with_each() {
    let net = build(conv_net().lowpass(0.02), Kind::Double);
    let sequence = mixed(-4.0, 12.0, &[30, 2, 1, 10, 9], Kind::Double);
    let whole = net.simulate_sequence(&sequence, &[]).unwrap().output;
    let mut state = net.zero_state(2).unwrap();
    for step in 0..30 {
        let output = net.step(&sequence.get(step), &mut state).unwrap();
        assert!(distance(&output, &whole.get(step)) < 1e-9, "step {step}");
    }
}

#[test]
fn a_state_is_a_value() {
    let net = build(conv_net().lowpass(0.1), Kind::Float);
    let (input, other) = (images(2, Kind::Float), images(2, Kind::Float) * 0.5);
    let mut state = net.zero_state(2).unwrap();
    for _ in 0..10 {
        let _ = net.step(&input, &mut state).unwrap();
    }
    let mut copy = state.copy();
    let run = |state: &mut _| (0..10).map(|_| net.step(&input, state).unwrap()).collect::<Vec<_>>();
    let first = run(&mut state);
    let _ = net.step(&other, &mut net.zero_state(2).unwrap()).unwrap();
    assert_eq!(first, run(&mut copy));
    assert_ne!(first[0], net.step(&other, &mut copy).unwrap());

    // A step that fails leaves the state as it was.
    let before = state.copy();
    assert!(net.step(&input.narrow(0, 0, 1), &mut state).is_err());
    assert_eq!(run(&mut state), run(&mut before.copy()));
}

#[test]
fn states_of_others_are_errors() {
    let net = build(conv_net(), Kind::Float);
    let error = |state: &mut _| net.step(&images(2, Kind::Float), state).unwrap_err().to_string();
    assert!(
        error(&mut net.zero_state(3).unwrap()).contains("it is of 3 samples, the input of 2; make one with zero_state")
    );
    for other in varied_nets()[1..].iter().cloned().chain([Builder::new([6])
        .linear(2)
        .layer(lif())
        .linear(2)
        .layer(lif())
        .linear(1)
        .linear(1)])
    {
        error(&mut build(other, Kind::Float).zero_state(2).unwrap());
    }
    error(&mut build(conv_net(), Kind::Double).zero_state(2).unwrap());
}

#[test]
fn how_images_are_split_over_memory_does_not_matter() {
    for kind in KINDS {
        for net in varied_nets().map(|builder| build(builder, kind)) {
            let (input, probes) = (images(7, kind), all_probes(&net));
            let sequence = mixed(-4.0, 12.0, &[20, 7, 1, 10, 9], kind);
            let run = |memory, input| {
                Simulation { steps: 20, probes: &probes, memory, ..Simulation::default() }.run(&net, input).unwrap()
            };
            for input in [&Activity::constant(&input), &Activity::varying(&sequence)] {
                let whole = run(usize::MAX, input);
                for memory in [0, 100_000, 300_000] {
                    assert_same(&run(memory, input), &whole);
                }
            }
        }
    }
}

#[test]
fn images_do_not_influence_each_other() {
    for kind in KINDS {
        for net in varied_nets().map(|builder| build(builder, kind)) {
            let (input, probes) = (images(4, kind), all_probes(&net));
            let together = net.simulate(&input, 30, &probes).unwrap();
            for image in 0..4 {
                let alone = net.simulate(&input.narrow(0, image, 1), 30, &probes).unwrap();
                let of_image = |probe: &Probe, tensor: &Tensor| {
                    tensor.narrow(i64::from(probe.quantity != Quantity::SpikeCount), image, 1)
                };
                let probed = together.probed.iter().map(|(probe, tensor)| (probe.clone(), of_image(probe, tensor)));
                assert_same(
                    &alone,
                    &Recording { output: together.output.narrow(1, image, 1), probed: probed.collect() },
                );
            }
        }
    }
}

#[test]
fn probes_have_their_shapes_and_agree_with_each_other() {
    for kind in KINDS {
        let net = build(conv_net().lowpass(0.1), kind);
        let (input, steps) = (images(2, kind), 50);
        let recording = net.simulate(&input, steps, &all_probes(&net)).unwrap();
        let get = |layer: &str, quantity| recording.get(&Probe::new(layer, quantity)).unwrap();
        let state = |layer, name: &str| get(layer, Quantity::State(name.into()));
        assert_eq!(recording.probed.len(), all_probes(&net).len());
        assert!(get("lowpass1", Quantity::Output).equal(&recording.output));
        for layer in net.layers() {
            let shape = [&[steps, 2], layer.output_shape()].concat();
            let neurons = matches!(layer.kind(), LayerKind::Neuron(_));
            for (probe, tensor) in recording.probed.iter().filter(|(probe, _)| probe.layer == layer.name()) {
                let counts = probe.quantity == Quantity::SpikeCount;
                assert_eq!(tensor.size(), shape[usize::from(counts)..], "{probe}");
                assert!(!tensor.requires_grad() && tensor.kind() == kind);
            }
            if !neurons {
                continue;
            }
            let output = get(layer.name(), Quantity::Output);
            let spikes = output.gt(0.0);
            let count = spikes.sum_dim_intlist(0, false, kind);
            assert!(get(layer.name(), Quantity::SpikeCount).equal(&count));
            assert!(distance(&(output * (DT / AMPLITUDE)).sum_dim_intlist(0, false, kind), &count) < 1e-4);
            // After a spike the voltage is 0 and some of the refractory period is left.
            let (voltage, refractory) = (state(layer.name(), "voltage"), state(layer.name(), "refractory_time"));
            assert!(numbers(&voltage.where_scalarother(&spikes, 0.0)).iter().all(|&voltage| voltage == 0.0));
            assert!(
                numbers(&refractory.where_scalarother(&spikes, 0.0015))
                    .iter()
                    .all(|&left| left > 0.00099 && left < 0.00201)
            );
            assert!(numbers(voltage).iter().all(|voltage| (0.0..=1.0).contains(voltage)));
        }
        // The current by hand: gain 2.0332 and the bias of every neuron on what the layer before put out.
        for (neurons, before) in [("lif1", "conv1"), ("lif2", "conv2")] {
            let bias =
                net.named_parameters().into_iter().find(|(name, _)| *name == format!("{neurons}.bias")).unwrap().1;
            let by_hand = get(before, Quantity::Output) * 2.033_244_781_7 + bias;
            assert!(
                distance(&by_hand, get(neurons, Quantity::Current)) < if kind == Kind::Double { 1e-7 } else { 1e-4 }
            );
        }
    }
}

#[test]
fn probes_of_what_is_not_there_are_errors() {
    let net = build(conv_net().lowpass(0.1), Kind::Float);
    let error = |probe: Probe| net.simulate(&images(1, Kind::Float), 2, &[probe]).unwrap_err().to_string();
    let unknown = error(Probe::output("lif3"));
    assert!(unknown.contains("cannot probe lif3/output: there is no such layer; available: conv1, lif1,"), "{unknown}");
    let no_state = error(Probe::new("lif1", Quantity::State("calcium".into())));
    assert!(
        no_state.contains("cannot probe lif1/calcium: the state variables of its neurons are voltage, refractory_time")
    );
    for quantity in [Quantity::SpikeCount, Quantity::Current, Quantity::State("voltage".into())] {
        assert!(error(Probe::new("conv1", quantity)).contains("only its output can be recorded"));
    }
}

#[test]
fn numbers_of_steps_and_sequences_that_do_not_fit_are_errors() {
    let net = build(conv_net(), Kind::Float);
    let message = |result: Result<Recording>| result.unwrap_err().to_string();
    for steps in [0, -1, i64::MIN] {
        assert!(message(net.simulate(&images(1, Kind::Float), steps, &[])).contains("at least one timestep"));
    }
    message(net.simulate(&images(1, Kind::Float), i64::MAX, &[]));
    let sequence = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    assert!(message(net.simulate_sequence(&sequence(&[3, 1, 10, 9]), &[])).contains("steps x batch x 1x10x9"));
    for shape in [[0, 2, 1, 10, 9].as_slice(), &[3, 0, 1, 10, 9], &[3, 2, 1, 10, 8], &[3], &[]] {
        message(net.simulate_sequence(&sequence(shape), &[]));
    }
    let five = sequence(&[5, 1, 1, 10, 9]);
    let error = message(Simulation { steps: 4, ..Simulation::default() }.run(&net, &Activity::varying(&five)));
    assert!(error.contains("5 timesteps of input, got 4 steps"), "{error}");
}

#[test]
fn spike_counts_are_the_rate_times_the_time_at_every_step() {
    let net = build(conv_net(), Kind::Double);
    let lif = Lif::default();
    let probes = [Quantity::Current, Quantity::Output].map(|quantity| Probe::new("lif1", quantity));
    let recording = net.simulate(&images(2, Kind::Double), 2000, &probes).unwrap();
    let current = numbers(&recording.get(&probes[0]).unwrap().get(0));
    let rates: Vec<f64> = current.iter().map(|&current| lif.rate(current).value).collect();
    assert!(rates.iter().any(|&rate| rate > 200.0) && rates.contains(&0.0));
    let counts = recording.get(&probes[1]).unwrap().gt(0.0).cumsum(0, Kind::Double);
    let time = Tensor::arange(2000, (Kind::Double, Device::Cpu)) * DT + DT;
    let expected = time.unsqueeze(1) * Tensor::from_slice(&rates).unsqueeze(0);
    let error = distance(&counts.reshape([2000, -1]), &expected);
    assert!(error <= 1.0 + 1e-9, "{error} spikes");
}

#[test]
fn the_filtered_output_comes_near_that_of_the_rates() {
    let pools: [fn(Builder) -> Builder; 3] = [|net| net, |net| net.avg_pool(2), |net| net.max_pool(2)];
    for pool in pools {
        // Filtered between the layers, since neurons respond to the noise of raw spikes more than to their mean.
        let first = pool(Builder::new([1, 10, 9]).layer(Conv2d::new(8, 3)).layer(lif()).lowpass(0.05));
        let second = first.layer(Conv2d::new(8, 3)).layer(lif()).flatten().linear(5).lowpass(0.1);
        let (net, input) = (build(second, Kind::Float), images(4, Kind::Float));
        let rates = net.forward_rates(&input).unwrap();
        let spikes = net.simulate(&input, 2000, &[]).unwrap();
        let error = |output: &Tensor| f64::try_from((output - &rates).norm() / rates.norm()).unwrap();
        let (early, late) = (error(&spikes.output.get(20)), error(&spikes.last_output()));
        assert!(late < 0.05 && late < early, "{early} {late}");
    }
}
