//! The models by their own properties: rates against golden numbers and long-run spike counts, noise, parameters as TOML.

use serde_json::Value;
use tch_spiking_core::kernels::{AdvanceBlock, NoiseKey};
use tch_spiking_core::neuron::{
    BaseRate, LeakyRectifiedLinear, Lif, Neuron, PoissonSpiking, RectifiedLinear, RegularSpiking, StochasticSpiking,
    neuron_from_parameters, neuron_names,
};
use tch_spiking_core::spec::{Graph, LearnPer, NetworkSpec, NeuronSpec};

const DT: f64 = 0.001;
const RATES: [BaseRate; 4] = [BaseRate::Relu, BaseRate::LeakyRelu, BaseRate::Sigmoid, BaseRate::Tanh];

fn golden(name: &str) -> Value {
    let path = format!("{}/../tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn regular(rate: BaseRate) -> RegularSpiking {
    RegularSpiking { rate, ..RegularSpiking::default() }
}

/// Runs `steps` steps of neurons at constant currents in the kernel; returns the outputs `[steps, neurons]`.
fn run(model: &Neuron, currents: &[f64], steps: usize, seed: u64) -> Vec<f64> {
    let width = currents.len();
    let learned: Vec<f64> =
        model.learned_values(DT).into_iter().flat_map(|value| std::iter::repeat_n(value, width)).collect();
    let (mut state, mut output) = (vec![0.0; model.state().len() * width], vec![0.0; steps * width]);
    model.advance(AdvanceBlock {
        width,
        steps,
        dt: DT,
        currents,
        learned: &learned,
        noise: Some(NoiseKey::new(seed, 0).sample(0)),
        state: &mut state,
        output: &mut output,
        history: &mut [],
    });
    output
}

#[test]
fn rates_and_their_derivatives_are_nengos() {
    let golden = golden("rates_and_gradients");
    let currents = numbers(&golden["J"]);
    let cases: [(&str, Neuron); 3] = [
        // The file was made with a slope of 0.1.
        ("LeakyReLU", LeakyRectifiedLinear { negative_slope: 0.1, amplitude: 1.0 }.into()),
        ("Sigmoid", regular(BaseRate::Sigmoid).into()),
        ("Tanh", regular(BaseRate::Tanh).into()),
    ];
    for (name, model) in cases {
        let (rates, slopes) = (numbers(&golden[name]["rate"]), numbers(&golden[name]["grad"]));
        for ((&current, expected), slope) in currents.iter().zip(rates).zip(slopes) {
            let ours = model.rate().unwrap().at(current);
            let close = |ours: f64, theirs: f64| (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1e-12);
            assert!(close(ours.value, expected), "{name} at {current}: {ours:?}, expected {expected}");
            // At the kink either slope is right. Where `sigmoid` and `tanh` saturate, the file has the rounding of `1 - s` (2^-53),
            // times the highest rate of 400 Hz.
            let rounding = if name == "LeakyReLU" { 0.0 } else { 400.0 * 2.0_f64.powi(-52) };
            let right = close(ours.derivative, slope)
                || (ours.derivative - slope).abs() <= rounding
                || name == "LeakyReLU" && current == 0.0;
            assert!(right, "{name} at {current}: {ours:?}, expected {slope}");
        }
    }
}

#[test]
fn gain_and_bias_are_nengos() {
    let golden = golden("gain_bias");
    for (name, rate) in [("Sigmoid", BaseRate::Sigmoid), ("Tanh", BaseRate::Tanh)] {
        let of = |key: &str| numbers(&golden[name][key]);
        let model = Neuron::new(regular(rate));
        for (((max_rate, intercept), gain), bias) in
            of("max_rates").into_iter().zip(of("intercepts")).zip(of("gain")).zip(of("bias"))
        {
            let ours = model.rate().unwrap().gain_bias(max_rate, intercept).unwrap();
            assert!((ours.0 - gain).abs() <= 1e-9 * gain.abs(), "{name}: {ours:?}, expected {gain}");
            assert!((ours.1 - bias).abs() <= 1e-9 * gain.abs(), "{name}: {ours:?}, expected {bias}");
            let at_one = model.rate().unwrap().at(ours.0 + ours.1).value;
            assert!((at_one - max_rate).abs() <= 1e-9 * max_rate);
        }
    }
}

/// The number of spikes in a long run is the rate times the time.
#[test]
fn neurons_spike_as_often_as_their_rate() {
    const STEPS: usize = 20_000;
    let seconds = STEPS as f64 * DT;
    let fast = [-900.0, -120.0, -1.0, 0.0, 3.0, 260.0, 990.0, 2500.0, 14_000.0];
    let slow = [-4.0, -0.7, -0.01, 0.0, 0.01, 0.3, 1.0, 2.0, 6.0];
    let mut models: Vec<(Neuron, &[f64])> = vec![
        (Lif::default().into(), &slow),
        (RectifiedLinear { amplitude: 0.5 }.into(), &fast),
        (LeakyRectifiedLinear { negative_slope: 0.25, amplitude: 2.0 }.into(), &fast),
    ];
    for rate in RATES {
        let currents: &[f64] = if matches!(rate, BaseRate::Relu | BaseRate::LeakyRelu) { &fast } else { &slow };
        // Up to 4 spikes a step.
        let tau_ref = if matches!(rate, BaseRate::Sigmoid) { 0.0025 } else { 0.00025 };
        models.push((RegularSpiking { rate, tau_ref, ..RegularSpiking::default() }.into(), currents));
        models.push((StochasticSpiking { rate, tau_ref, ..StochasticSpiking::default() }.into(), currents));
        models.push((PoissonSpiking { rate, tau_ref, ..PoissonSpiking::default() }.into(), currents));
    }
    for (model, currents) in models {
        let outputs = run(&model, currents, STEPS, 1);
        for (neuron, &current) in currents.iter().enumerate() {
            let per_spike = model.amplitude() / DT;
            let counts: Vec<f64> =
                outputs.iter().skip(neuron).step_by(currents.len()).map(|output| output / per_spike).collect();
            assert!(counts.iter().all(|count| (count - count.round()).abs() < 1e-9), "{model:?}: whole numbers");
            let (count, rate) =
                (counts.iter().sum::<f64>(), model.rate().unwrap().at(current).value / model.amplitude());
            let expected = rate * seconds;
            // Noise: five standard deviations, of a Poisson process at most.
            let slack = if model.is_noisy() { 5.0 * expected.abs().sqrt() + 1.0 } else { 1.5 };
            assert!((count - expected).abs() <= slack, "{model:?} at {current}: {count} spikes, expected {expected}");
        }
    }
}

/// Counts of spikes have the variance and the probabilities of their distributions.
#[test]
fn poisson_and_stochastic_counts_are_distributed_as_they_should() {
    const STEPS: usize = 400_000;
    for mean in [0.05_f64, 0.9, 4.0, 9.5] {
        let poisson = run(&PoissonSpiking::default().into(), &[mean / DT], STEPS, 3);
        let counts: Vec<usize> = poisson.iter().map(|output| (output * DT).round() as usize).collect();
        let average = counts.iter().sum::<usize>() as f64 / STEPS as f64;
        let variance = counts.iter().map(|&count| (count as f64 - average).powi(2)).sum::<f64>() / STEPS as f64;
        assert!((variance / mean - 1.0).abs() < 0.02, "mean {mean}: variance {variance}");
        let mut probability = (-mean).exp();
        for number in 0..12 {
            let share = counts.iter().filter(|&&count| count == number).count() as f64 / STEPS as f64;
            let slack = 5.0 * (probability / STEPS as f64).sqrt() + 1e-5;
            assert!((share - probability).abs() < slack, "mean {mean}: {number} with {share}, expected {probability}");
            probability *= mean / (number + 1) as f64;
        }
        let stochastic = run(&StochasticSpiking::default().into(), &[mean / DT], STEPS, 4);
        let near = |output: &f64| (output * DT - mean).abs() <= 1.0;
        assert!(stochastic.iter().all(near), "mean {mean}: rounded up or down only");
    }
}

/// Learned parameters, in TOML and in what a layer declares.
#[test]
fn layers_say_which_parameters_are_trained() {
    let spec = |neurons: &str| -> Result<NetworkSpec, toml::de::Error> {
        toml::from_str(&format!("input = [2, 3, 3]\nlayers = [{{ {neurons} }}]"))
    };
    let declared = |neurons: &str| -> Vec<(String, Vec<i64>)> {
        let graph = Graph::new(&spec(neurons).unwrap()).unwrap();
        graph.parameters().map(|(name, parameter)| (name, parameter.shape.clone())).collect()
    };
    let bias = ("leaky1.bias".to_string(), vec![2, 3, 3]);
    assert_eq!(declared("type = \"leaky\", decay = 0.7"), *std::slice::from_ref(&bias));
    assert_eq!(
        declared("type = \"leaky\", learn = [\"threshold\", \"decay\"]"),
        [bias.clone(), ("leaky1.decay_logit".to_string(), vec![1]), ("leaky1.threshold".to_string(), vec![1])]
    );
    assert_eq!(
        declared("type = \"leaky\", learn = [\"threshold\"], learn_per = \"neuron\""),
        [bias, ("leaky1.threshold".to_string(), vec![2, 3, 3])]
    );
    let spec_text =
        toml::to_string(&spec("type = \"synaptic\", learn = [\"current_decay\"], learn_per = \"neuron\"").unwrap());
    let again: NetworkSpec = toml::from_str(&spec_text.unwrap()).unwrap();
    assert_eq!(Graph::new(&again).unwrap().parameters().count(), 2);

    for (neurons, expected) in [
        ("type = \"leaky\", learn = [\"tau\"]", "has no parameter \"tau\" to train; available: decay, threshold"),
        ("type = \"lif\", learn = [\"tau_rc\"]", "available: none"),
        ("type = \"leaky\", learn = [\"decay\", \"decay\"]", "named twice"),
        (
            "type = \"leaky\", decay = 1.0, learn = [\"decay\"]",
            "decay = 1 is not valid: expected a number above 0 and below 1",
        ),
        (
            "type = \"leaky\", tau = 0.0005, integration = \"euler\"",
            "decay = -1 is not valid: expected a number from 0 to 1",
        ),
        ("type = \"leaky\", decay = 1.5", "decay = 1.5 is not valid"),
        ("type = \"leaky\", decay = 0.5, tau = 0.01", "decay = 0.5 and tau = 0.01 are both given"),
        ("type = \"leaky\", threshold = nan", "threshold = NaN"),
        ("type = \"synaptic\", tau_syn = -1.0", "tau_syn = -1 is not valid: expected a time above 0 s"),
        ("type = \"adaptive_lif\", tau_n = 0.0", "adaptive_lif: tau_n = 0 is not valid"),
        ("type = \"adaptive_lif\", tau_rc = -1.0", "adaptive_lif: tau_rc = -1 is not valid"),
        ("type = \"leaky_integrator\", amplitude = 0.0", "amplitude = 0 is not valid"),
        ("type = \"izhikevich\", c = 40.0", "c = 40 is not valid: expected a voltage below 30 mV"),
        ("type = \"regular_spiking\", rate = \"cosine\"", "unknown variant `cosine`"),
        ("type = \"poisson_spiking\", rate = \"tanh\", tau_ref = 0.0", "tau_ref = 0 is not valid"),
        (
            "type = \"stochastic_spiking\", negative_slope = 2.0",
            "negative_slope = 2 is not valid: expected a number from 0 to 1",
        ),
        ("type = \"leaky\", max_rate = 100.0", "leaky has no rate"),
    ] {
        let error = match spec(neurons) {
            Err(error) => error.to_string(),
            Ok(spec) => Graph::new(&spec).map_or_else(
                |error| error.to_string(),
                |_| {
                    let values = match &spec.layers[0].kind {
                        tch_spiking_core::spec::LayerKind::Neuron(neurons) => {
                            neurons.values(1, 0, 0, spec.initial_voltage)
                        }
                        _ => panic!("neurons"),
                    };
                    values.map_or_else(|error| error, |_| "no error".to_string())
                },
            ),
        };
        assert!(error.contains(expected), "{neurons}: {error}");
    }
}

#[test]
fn every_model_goes_through_toml() {
    assert!(neuron_names().len() >= 11);
    for name in neuron_names() {
        let model = neuron_from_parameters(name, toml::Table::new()).unwrap();
        let again = neuron_from_parameters(name, toml::from_str(&model.parameters().to_string()).unwrap()).unwrap();
        assert_eq!(model, again);
        let halved = model.with_amplitude(model.amplitude() / 2.0).unwrap();
        assert_eq!(halved.amplitude(), model.amplitude() / 2.0);
    }
    let learning = NeuronSpec::new(neuron_from_parameters("leaky", toml::Table::new()).unwrap())
        .learning(["decay"], LearnPer::Neuron);
    assert_eq!(learning.learn, ["decay"]);
}
