//! How the event engine is used: samples, threads, early answers, states, and what it refuses.

mod reference;

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reference::Noisy;
use reference::random::fill;
use tch_spiking_core::event::{EventError, RunOptions, Signal, highest, lead};
use tch_spiking_core::file::Array;
use tch_spiking_core::kernels::Number;
use tch_spiking_core::neuron::{Heaviside, Lif, NeuronModel, StepInput, register_neuron};
use tch_spiking_core::probe::{Probe, Quantity};
use tch_spiking_core::spec::{NetworkError, NeuronSpec};
use tch_spiking_core::{EventNetwork, NetworkSpec};

/// A residual network with spikes, values and noise.
const RESIDUAL: &str = r#"
    input = [2, 6, 5]
    layers = [
        { type = "conv2d", out_channels = 6, kernel = 3, padding = 1 },
        { type = "lif", amplitude = 0.01, gain = 2.0 },
        { type = "conv2d", name = "branch", out_channels = 6, kernel = 3, padding = 1 },
        { type = "add", from = ["branch", "conv1"] },
        { type = "lif", amplitude = 0.01 },
        { type = "noisy", amplitude = 0.01, from = "lif1" },
        { type = "concat", from = ["lif2", "noisy1"] },
        { type = "flatten" },
        { type = "linear", out_features = 4 },
        { type = "lowpass", tau = 0.01 },
    ]
"#;

fn spec(toml: &str) -> NetworkSpec {
    register_neuron::<Noisy>().unwrap();
    toml::from_str(toml).unwrap()
}

fn residual() -> EventNetwork<f32> {
    let spec = spec(RESIDUAL);
    EventNetwork::new(&spec, 5, &fill(&spec, &mut ChaCha8Rng::seed_from_u64(1))).unwrap()
}

fn numbers(count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    (0..count).map(|_| rng.random_range(-1.0..3.0)).collect()
}

const SIZE: usize = 60;

#[test]
fn batches_and_threads_do_not_change_a_bit() {
    let (network, steps, samples) = (residual(), 40, 7);
    let probes = [Probe::output("noisy1"), Probe::spike_count("lif2"), Probe::state("lif2", "voltage")];
    let options = RunOptions { probes: &probes, first_sample: 100, ..RunOptions::new(steps) };
    let (images, sequences) = (numbers(samples * SIZE), numbers(steps * samples * SIZE));
    let one = |sample: usize, varying: bool| {
        let options = RunOptions { first_sample: 100 + sample as u64, ..options };
        match varying {
            false => network.record(Signal::Constant(&images[sample * SIZE..][..SIZE]), options).unwrap(),
            true => {
                let steps = sequences.chunks_exact(samples * SIZE);
                let sequence: Vec<f32> = steps.flat_map(|step| step[sample * SIZE..][..SIZE].to_vec()).collect();
                network.record(Signal::Varying(&sequence), options).unwrap()
            }
        }
    };
    for (varying, signal) in [(false, Signal::Constant(&images)), (true, Signal::Varying(&sequences))] {
        for threads in [1, 2, 5] {
            let seen = network.run_all(signal, &threads, options, |seen: &mut Vec<_>, done| {
                let stored: f32 = done.stored_counts(4).flatten().sum();
                seen.push((done.index, done.output, done.probed, stored));
            });
            let mut seen = seen.unwrap().concat();
            assert_eq!(seen.len(), samples);
            seen.sort_by_key(|(index, ..)| *index);
            for (sample, (index, output, probed, stored)) in seen.into_iter().enumerate() {
                let alone = one(sample, varying);
                assert_eq!(index, sample);
                assert_eq!(output, alone.response.over_time().flatten().copied().collect::<Vec<_>>());
                assert_eq!(probed, alone.probed);
                assert_eq!(stored, probed[1].iter().sum::<f32>());
                assert!(stored > 0.0);
            }
        }
    }
    // Noise is that of the sample.
    assert_ne!(one(0, false).probed[0], {
        let options = RunOptions { first_sample: 7, ..options };
        network.record(Signal::Constant(&images[..SIZE]), options).unwrap().probed[0].clone()
    });
}

#[test]
fn a_sample_stops_where_its_answer_leads_by_the_margin() {
    let network = residual();
    let (image, sequence) = (numbers(SIZE), numbers(50 * SIZE));
    for signal in [Signal::Constant(&image[..]), Signal::Varying(&sequence)] {
        let whole = network.record(signal, RunOptions::new(50)).unwrap().response;
        let leads: Vec<f64> = whole.over_time().map(|output| lead(output).unwrap()).collect();
        let margin = leads.iter().fold(0.0, |most: f64, &lead| most.max(lead)) * 0.7;
        let first = leads.iter().position(|&lead| lead >= margin).unwrap() + 1;
        let early = network.record(signal, RunOptions { margin: Some(margin), ..RunOptions::new(50) }).unwrap();
        assert!((2..50).contains(&first));
        assert_eq!(early.response.steps(), first);
        assert!(early.response.over_time().eq(whole.over_time().take(first)));
        assert_eq!(whole.prediction(), highest(whole.last()));
    }
    let until = network.run_until(&image, 50, f64::INFINITY).unwrap();
    assert_eq!(until, network.run(&image, 50).unwrap());
}

#[test]
fn a_state_is_a_value_that_counts_and_can_start_again() {
    let network = residual();
    let sequence = numbers(20 * SIZE);
    let mut state = network.state();
    state.reset(3);
    assert!(state.output().is_empty() && state.steps() == 0);
    for step in sequence.chunks_exact(SIZE) {
        network.advance(&mut state, step).unwrap();
    }
    let probes = [Probe::spike_count("lif1"), Probe::spike_count("noisy1")];
    let options = RunOptions { probes: &probes, first_sample: 3, ..RunOptions::new(20) };
    let whole = network.record(Signal::Varying(&sequence), options).unwrap();
    assert_eq!(state.output(), whole.response.last());
    assert_eq!((state.spike_counts(1), state.spike_counts(5)), (whole.probed[0].clone(), whole.probed[1].clone()));
    assert!(state.spike_counts(0).is_empty() && state.spike_counts(99).is_empty());

    let other = residual();
    let error = other.advance(&mut state, &sequence[..SIZE]).unwrap_err().to_string();
    assert!(error.contains("another network"), "{error}");
    assert!(matches!(network.advance(&mut state, &sequence[..7]), Err(EventError::Input { expected: SIZE, found: 7 })));
    assert_eq!(state.steps(), 20);
}

#[test]
fn what_does_not_fit_is_said() {
    let network = residual();
    let message = |error: EventError| error.to_string();
    let image = numbers(SIZE);
    assert!(message(network.run(&image[..7], 3).unwrap_err()).contains("has 60 values, got 7"));
    assert!(message(network.run(&numbers(2 * SIZE), 3).unwrap_err()).contains("has 60 values, got 120"));
    assert!(message(network.run(&[], 3).unwrap_err()).contains("got 0"));
    assert!(message(network.run(&image, 0).unwrap_err()).contains("expected 1 to"));
    assert!(matches!(network.run(&image, usize::MAX), Err(EventError::Steps { .. })));
    assert!(matches!(network.run_sequence(&[]), Err(EventError::Steps { steps: 0, .. })));
    let sequence = message(network.run_sequence(&numbers(SIZE + 1)).unwrap_err());
    assert!(sequence.contains("60 values at each timestep of a sample, got 61"), "{sequence}");
    let varying = network.record(Signal::Varying(&image), RunOptions::new(2)).unwrap_err();
    assert!(matches!(varying, EventError::Sequence { expected: SIZE, steps: 2, found: SIZE }));

    let probe = |probe: Probe| {
        let options = RunOptions { probes: &[probe], ..RunOptions::new(1) };
        network.record(Signal::Constant(&image), options).unwrap_err()
    };
    assert!(message(probe(Probe::output("lif9"))).contains("there is no such layer; available: conv1, lif1, branch"));
    assert!(message(probe(Probe::state("lif1", "fatigue"))).contains("voltage, refractory_time"));
    let not_neurons = probe(Probe::new("conv1", Quantity::Current));
    assert!(matches!(not_neurons, EventError::Network(NetworkError::Probe { .. })));
    // Nothing was left in a bad state.
    assert!(network.run(&image, 3).is_ok());

    let compile = |toml: &str| {
        let spec = spec(toml);
        EventNetwork::<f32>::new(&spec, 0, &fill(&spec, &mut ChaCha8Rng::seed_from_u64(0))).unwrap_err()
    };
    for analog in ["relu", "leaky_relu", "batch_norm"] {
        let error = message(compile(&format!(r#"input = [3]{}layers = [{{ type = "{analog}" }}]"#, '\n')));
        assert!(error.contains(analog) && error.contains("dense engine"), "{error}");
    }
    let huge = r#"input = [1, 16000, 16000]
        layers = [{ type = "avg_pool", kernel = 8000, stride = 1 }]"#;
    let huge = EventNetwork::<f32>::new(&spec(huge), 0, &Default::default()).unwrap_err();
    assert!(message(huge).contains("choose smaller layers"));
    let spec = spec(RESIDUAL);
    let mut parameters = fill(&spec, &mut ChaCha8Rng::seed_from_u64(0));
    parameters.remove("branch.bias");
    let missing = EventNetwork::<f32>::new(&spec, 0, &parameters).unwrap_err();
    assert!(message(missing).contains("branch.bias: expected 6 numbers, got 0"));
}

#[test]
fn networks_that_compute_nothing_pass_on_their_input() {
    for layers in [
        r#"[{ type = "flatten" }, { type = "dropout", p = 0.5 }]"#,
        r#"[{ type = "concat" }]"#,
        r#"[{ type = "add" }]"#,
    ] {
        let spec = spec(&format!("input = [2, 3, 4]\nlayers = {layers}"));
        let network = EventNetwork::<f64>::new(&spec, 0, &Default::default()).unwrap();
        let sequence: Vec<f64> = (0..72).map(f64::from).collect();
        let response = network.run_sequence(&sequence).unwrap();
        assert!(response.over_time().eq(sequence.chunks_exact(24)));
        assert_eq!(network.run(&sequence[..24], 2).unwrap().last(), &sequence[..24]);
    }
}

#[test]
fn density_is_the_share_of_active_inputs() {
    let spec = spec("input = [10]\nlayers = [{ type = \"linear\", out_features = 3 }, { type = \"lif\" }]");
    let network = EventNetwork::<f64>::new(&spec, 0, &fill(&spec, &mut ChaCha8Rng::seed_from_u64(0))).unwrap();
    let mut sequence = vec![0.0; 40];
    sequence[..10].fill(1.0);
    assert_eq!(network.density(Signal::Varying(&sequence), 4).unwrap(), 0.25);
    // What does not change is computed once.
    assert_eq!(network.density(Signal::Constant(&sequence[..10]), 4).unwrap(), 0.0);
}

/// Spikes of one LIF neuron at a constant current, by the engine and by the model's own step.
fn spikes<R: Number>(lif: &Lif, dt: f64, current: f64, steps: usize) -> [Vec<bool>; 2] {
    let mut spec = NetworkSpec::new([1]);
    spec.dt = dt;
    spec.layers.push(NeuronSpec::new(lif.clone()).with_gain_bias(1.0, 0.0).into());
    let bias = Array { shape: vec![1], values: vec![0.0] };
    let network = EventNetwork::<R>::new(&spec, 9, &[("lif1.bias".to_string(), bias)].into()).unwrap();
    let current = R::constant(current);
    let ours = network.run_sequence(&vec![current; steps]).unwrap();
    let ours = ours.over_time().map(|output| output[0] > R::default()).collect();
    let start = NeuronSpec::new(lif.clone()).values(1, 0, 9, spec.initial_voltage).unwrap().voltage[0];
    let mut state = [R::constant(start), R::default()];
    let step = |_| lif.step(StepInput::new(current, dt), &mut state, &Heaviside) > R::default();
    [ours, (0..steps).map(step).collect()]
}

#[test]
fn a_neuron_far_faster_than_the_timestep_does_not_exceed_its_highest_rate() {
    let (tau_ref, dt, steps) = (7e-4, 5e-4, 4000);
    // The first by the model's own step, the second by the shortcut without exponentials.
    for tau_rc in [1e-5, 5e-5] {
        let lif = Lif { tau_rc, tau_ref, ..Lif::default() };
        for current in [1.001, 5.0, 1e6, f64::INFINITY] {
            let [ours, theirs] = spikes::<f64>(&lif, dt, current, steps);
            assert_eq!(ours, theirs, "tau_rc {tau_rc}, current {current}");
            // In single precision a spike at the very edge of a timestep may fall into the next.
            let [single, _] = spikes::<f32>(&lif, dt, current, steps);
            for spikes in [ours, single] {
                let count = spikes.iter().filter(|&&spike| spike).count() as f64;
                let seconds = steps as f64 * dt;
                // One more for what is left of a step at both ends.
                assert!(count <= seconds / tau_ref + 1.0, "tau_rc {tau_rc}, current {current}: {count}");
                let least = 0.9 * seconds / (tau_ref + tau_rc * 7.0);
                assert!(count > least, "tau_rc {tau_rc}, current {current}: {count}");
            }
        }
    }
}

#[test]
fn an_infinite_current_makes_both_spike_as_often_as_they_can() {
    // Of the first two, the shortcut without exponentials; of the third, which is refractory for longer, the model's own step.
    for (tau_rc, tau_ref) in [(0.02, 0.002), (0.02, 0.0), (0.001, 0.05)] {
        let lif = Lif { tau_rc, tau_ref, ..Lif::default() };
        for [ours, theirs] in
            [spikes::<f32>(&lif, 0.001, f64::INFINITY, 500), spikes::<f64>(&lif, 0.001, f64::INFINITY, 500)]
        {
            assert_eq!(ours, theirs, "tau_ref {tau_ref}");
            let count = ours.iter().filter(|&&spike| spike).count() as f64;
            let most = 0.5 / tau_ref.max(0.001);
            assert!(count <= most + 1.0 && count >= 0.9 * most, "tau_ref {tau_ref}: {count}");
        }
    }
}

proptest! {
    /// The shortcut's clamp of the threshold crossing is that of the model, however far timestep and time constants lie apart.
    #[test]
    fn one_neuron_spikes_as_its_model_does(
        tau_rc in -5.0..-1.0_f64, tau_ref in -5.0..-2.0_f64, dt in -4.0..-2.0_f64, current in -1.0..6.0_f64,
    ) {
        let [tau_rc, tau_ref, dt, current] = [tau_rc, tau_ref, dt, current].map(|exponent| 10f64.powf(exponent));
        let lif = Lif { tau_rc, tau_ref, ..Lif::default() };
        let [ours, theirs] = spikes::<f64>(&lif, dt, current, 200);
        prop_assert_eq!(&ours, &theirs);
        let count = ours.iter().filter(|&&spike| spike).count() as f64;
        prop_assert!(count <= 200.0 * dt / tau_ref.max(dt) + 1.0);
    }
}
