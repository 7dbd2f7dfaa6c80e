//! The event engine against plain loops: spike for spike, on random networks with skip connections.

mod reference;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use reference::random::{Case, cases};
use reference::{Reference, Trace};
use tch_spiking_core::EventNetwork;
use tch_spiking_core::event::{RunOptions, Signal};
use tch_spiking_core::neuron::Output;
use tch_spiking_core::probe::{Probe, Quantity};
use tch_spiking_core::spec::{Graph, LayerKind, Section};

fn network(case: &Case) -> EventNetwork<f64> {
    EventNetwork::new(&case.spec, case.seed, &case.parameters).unwrap()
}

fn reference(case: &Case) -> Reference<'_> {
    let graph = Graph::new(&case.spec).unwrap();
    Reference { spec: &case.spec, graph, parameters: &case.parameters, seed: case.seed }
}

/// The input, as a constant image or as a sequence, of the engine and of the loops.
fn input(case: &Case, varying: bool) -> (Signal<'_, f64>, Vec<&[f64]>) {
    let steps: Vec<&[f64]> = case.sequence.chunks_exact(case.sequence.len() / case.steps).collect();
    match varying {
        true => (Signal::Varying(&case.sequence), steps),
        false => (Signal::Constant(steps[0]), vec![steps[0]; case.steps]),
    }
}

fn probes(graph: &Graph, states: bool) -> Vec<Probe> {
    let of_layer = |(index, kind): (usize, &LayerKind)| {
        let name = &graph.nodes[index].name;
        let mut probes = vec![Probe::output(name)];
        if let LayerKind::Neuron(neurons) = kind {
            probes.push(Probe::current(name));
            if neurons.model.output() != Output::Values {
                probes.push(Probe::spike_count(name));
            }
            if states {
                probes.extend(neurons.model.state().iter().map(|variable| Probe::state(name, variable.name)));
            }
        }
        probes
    };
    graph.nodes.iter().map(|node| &node.kind).enumerate().flat_map(of_layer).collect()
}

/// What `probe` should have recorded.
fn expected(probe: &Probe, graph: &Graph, trace: &Trace, dt: f64) -> Vec<f64> {
    let layer = graph.position(&probe.layer).unwrap();
    match (&probe.quantity, &graph.nodes[layer].kind) {
        (Quantity::Output, _) => trace.outputs[layer].concat(),
        (Quantity::Current, _) => trace.currents[layer].concat(),
        (Quantity::State(name), LayerKind::Neuron(neurons)) => {
            let variable = neurons.model.state().iter().position(|variable| variable.name == name).unwrap();
            trace.states[layer].iter().flat_map(|step| step[variable].clone()).collect()
        }
        (Quantity::SpikeCount, LayerKind::Neuron(neurons)) => {
            let height = neurons.scaled_model().unwrap().amplitude() / dt;
            let count = |neuron: usize| trace.outputs[layer].iter().map(|step| (step[neuron] / height).round()).sum();
            (0..trace.outputs[layer][0].len()).map(count).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// How far rounding may lead: in cycles it comes back and grows.
fn tolerance(case: &Case) -> f64 {
    if reference(case).graph.is_recurrent() { 1e-8 } else { 1e-11 }
}

fn same(ours: &[f64], theirs: &[f64], tolerance: f64) -> Result<(), String> {
    if ours.len() != theirs.len() {
        return Err(format!("{} values, expected {}", ours.len(), theirs.len()));
    }
    let scale = 1.0 + theirs.iter().filter(|x| x.is_finite()).fold(0.0, |most: f64, x| most.max(x.abs()));
    let close = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= tolerance * scale;
    match ours.iter().zip(theirs).position(|pair| !close(pair)) {
        Some(at) => Err(format!("{} at {at}, expected {}", ours[at], theirs[at])),
        None => Ok(()),
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let (network, reference) = (network(case), reference(case));
    for varying in [false, true] {
        let (signal, steps) = input(case, varying);
        let options = RunOptions { first_sample: 3, ..RunOptions::new(case.steps) };
        let plain = network.record(signal, options).unwrap();
        let trace = reference.run(&steps, 3);
        for states in [false, true] {
            let probes = probes(&reference.graph, states);
            let recorded = network.record(signal, RunOptions { probes: &probes, ..options }).unwrap();
            for (probe, values) in probes.iter().zip(&recorded.probed) {
                let theirs = expected(probe, &reference.graph, &trace, case.spec.dt);
                same(values, &theirs, tolerance(case)).map_err(|error| {
                    TestCaseError::fail(format!("varying: {varying}, states: {states}, {probe}: {error}"))
                })?;
            }
            // Nothing but the recording of a state changes how neurons are computed.
            if !states {
                prop_assert_eq!(&recorded.response, &plain.response);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_layer_is_that_of_plain_loops(case in cases()) {
        check(&case)?;
    }

    #[test]
    fn input_that_streams_in_gives_the_bits_of_a_sequence(case in cases()) {
        let network = network(&case);
        let whole = network.run_sequence(&case.sequence).unwrap();
        let mut state = network.state();
        let mut copy = None;
        for (step, (input, expected)) in input(&case, true).1.into_iter().zip(whole.over_time()).enumerate() {
            if step == case.steps / 2 {
                copy = Some(state.clone());
            }
            prop_assert_eq!(network.advance(&mut state, input).unwrap(), expected);
        }
        prop_assert_eq!(state.steps(), case.steps as u64);
        // A copy goes on from where it was made, and a reset one from the start.
        let mut copy = copy.unwrap();
        let rest = input(&case, true).1;
        for (input, expected) in rest.iter().zip(whole.over_time()).skip(case.steps / 2) {
            prop_assert_eq!(network.advance(&mut copy, input).unwrap(), expected);
        }
        state.reset(0);
        prop_assert_eq!(network.advance(&mut state, rest[0]).unwrap(), whole.over_time().next().unwrap());
    }

    #[test]
    fn a_constant_image_is_the_sequence_that_repeats_it(case in cases()) {
        let network = network(&case);
        let image = &case.sequence[..case.sequence.len() / case.steps];
        let constant = network.run(image, case.steps).unwrap();
        let sequence = network.run_sequence(&image.repeat(case.steps)).unwrap();
        let flat = |response: &tch_spiking_core::event::Response<f64>| response.over_time().flatten().copied().collect::<Vec<_>>();
        if let Err(error) = same(&flat(&constant), &flat(&sequence), tolerance(&case)) {
            return Err(TestCaseError::fail(error));
        }
    }
}

#[test]
fn the_random_networks_have_every_kind_of_layer_and_spike() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut kinds, mut spikes) = (std::collections::BTreeMap::<String, usize>::new(), 0);
    for _ in 0..200 {
        let case = cases().new_tree(&mut runner).unwrap().current();
        let reference = reference(&case);
        let trace = reference.run(&input(&case, true).1, 0);
        for (node, outputs) in reference.graph.nodes.iter().zip(&trace.outputs) {
            *kinds.entry(node.kind.type_name().to_string()).or_default() += 1;
            if let LayerKind::Neuron(_) = node.kind {
                spikes += outputs.iter().flatten().filter(|&&output| output > 0.0).count();
            }
        }
        let several =
            |kind: &LayerKind| {
                reference.graph.nodes.iter().any(|node| {
                    node.inputs.len() > 1 && std::mem::discriminant(&node.kind) == std::mem::discriminant(kind)
                })
            };
        for kind in [LayerKind::Add, LayerKind::Concat] {
            *kinds.entry(format!("{} of several", kind.type_name())).or_default() += usize::from(several(&kind));
        }
        let cycles = reference.graph.sections().into_iter().filter(|section| matches!(section, Section::Cycle(_)));
        *kinds.entry("cycle".to_string()).or_default() += cycles.count();
        let delayed = reference.graph.nodes.iter().flat_map(|node| &node.inputs).filter(|edge| edge.delayed);
        *kinds.entry("delayed".to_string()).or_default() += delayed.count();
    }
    // Of eighteen models, layers and connections there are many, of the other eight models a few.
    assert!(kinds.len() == 26 && kinds.values().all(|&count| count >= 5), "{kinds:?}");
    assert!(kinds.values().filter(|&&count| count >= 20).count() >= 18, "{kinds:?}");
    assert!(spikes > 50_000, "{spikes} spikes, {kinds:?}");
}
