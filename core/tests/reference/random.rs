//! Random networks.

use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch_spiking_core::NetworkSpec;
use tch_spiking_core::file::{Array, Parameters};
use tch_spiking_core::neuron::{
    AdaptiveLif, BaseRate, Leaky, LeakyIntegrator, LeakyRectifiedLinear, Lif, PoissonSpiking, RectifiedLinear,
    RegularSpiking, Reset, ResetTime, StochasticSpiking, Synaptic,
};
use tch_spiking_core::spec::{
    Conv2d, Distribution, Dropout, EdgeSpec, Graph, InitialVoltage, LayerKind, LayerSpec, LearnPer, Linear, NeuronSpec,
    Pool, Scale, SynapseSpec,
};
use tch_spiking_core::synapse::Synapse;

use super::{Noisy, sizes};

/// A network with its parameters, and what to run it on.
#[derive(Clone, Debug)]
pub struct Case {
    pub spec: NetworkSpec,
    pub parameters: Parameters,
    pub seed: u64,
    pub steps: usize,
    /// `[steps, input]`.
    pub sequence: Vec<f64>,
}

/// One layer, by numbers that say which and on what.
type Choice = (u8, u8, u8, u8);

pub fn cases() -> impl Strategy<Value = Case> {
    let input = prop_oneof![
        4 => (1..=3_i64, 3..=7_i64, 3..=6_i64).prop_map(|(c, h, w)| vec![c, h, w]),
        1 => (2..=30_i64).prop_map(|features| vec![features])
    ];
    let choices = proptest::collection::vec(any::<Choice>(), 2..14);
    // Beyond the stretch of time that is simulated at once.
    let steps = prop_oneof![Just(1_usize), Just(7), Just(33), Just(70)];
    (input, choices, any::<u64>(), steps).prop_map(|(input, choices, seed, steps)| case(input, &choices, seed, steps))
}

fn case(input: Vec<i64>, choices: &[Choice], seed: u64, steps: usize) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut growing = Growing::new(input, &mut rng);
    for choice in choices {
        growing.layer(*choice, &mut rng);
    }
    let mut spec = growing.close(&mut rng);
    if rng.random_bool(0.6) {
        delay(&mut spec, &mut rng);
    }
    let parameters = fill(&spec, &mut rng);
    let size = sizes(&spec.input).iter().product::<usize>() * steps;
    let sparse = rng.random_bool(0.3);
    let value = |_| if sparse && rng.random_bool(0.8) { 0.0 } else { rng.random_range(-1.0..3.0) };
    let sequence = (0..size).map(value).collect();
    Case { spec, parameters, seed, steps, sequence }
}

/// Adds delayed inputs to sums, from anywhere: they close cycles, through one another too, or do not.
fn delay(spec: &mut NetworkSpec, rng: &mut ChaCha8Rng) {
    let graph = Graph::new(spec).unwrap();
    let mut sources: Vec<(String, Vec<i64>)> = vec![(EdgeSpec::INPUT.to_string(), spec.input.clone())];
    sources.extend(graph.nodes.iter().map(|node| (node.name.clone(), node.shape.clone())));
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        if !matches!(layer.kind, LayerKind::Add) {
            continue;
        }
        let alike: Vec<_> = sources.iter().filter(|(_, shape)| *shape == graph.nodes[index].shape).collect();
        for _ in 0..rng.random_range(0..3) {
            // Itself included.
            let (name, _) = alike[rng.random_range(0..alike.len())];
            let at = rng.random_range(0..=layer.from.len());
            layer.from.insert(at, EdgeSpec::delayed(name));
        }
    }
}

/// Parameters with which many neurons spike.
pub fn fill(spec: &NetworkSpec, rng: &mut ChaCha8Rng) -> Parameters {
    let graph = Graph::new(spec).unwrap_or_else(|error| panic!("{error}\n{spec:#?}"));
    let parameters = graph.parameters().map(|(name, parameter)| {
        let count = parameter.shape.iter().product::<i64>() as usize;
        let learned = match parameter.name.as_str() {
            "decay" => Some((0.8, 0.95)),
            "decay_logit" | "current_decay_logit" => Some((-1.0, 3.0)),
            "threshold" => Some((0.5, 1.0)),
            _ => None,
        };
        let (low, high) = match parameter.shape.len() {
            _ if learned.is_some() => learned.unwrap(),
            2 | 4 => (-0.5, 0.9),
            _ => (-0.2, 1.3),
        };
        let fan_in = parameter.shape[1..].iter().product::<i64>() as f64;
        let scale = if matches!(parameter.shape.len(), 2 | 4) && learned.is_none() { 2.0 / fan_in.sqrt() } else { 1.0 };
        let values = (0..count).map(|_| scale * rng.random_range(low..high)).collect();
        (name, Array { shape: parameter.shape.clone(), values })
    });
    parameters.collect()
}

/// A network to which layers are added.
struct Growing {
    spec: NetworkSpec,
    /// The nodes so far, by name and shape.
    nodes: Vec<(String, Vec<i64>)>,
    unused: Vec<String>,
    /// The largest layer.
    most: i64,
}

impl Growing {
    fn new(input: Vec<i64>, rng: &mut ChaCha8Rng) -> Self {
        let mut spec = NetworkSpec::new(input.clone());
        spec.initial_voltage = match rng.random_range(0..4) {
            0 => InitialVoltage::Zero,
            1 => InitialVoltage::Value(-0.25),
            _ => InitialVoltage::Uniform,
        };
        Self { spec, nodes: vec![(EdgeSpec::INPUT.to_string(), input)], unused: Vec::new(), most: 1500 }
    }

    /// Adds a layer that reads these nodes, if it fits.
    fn add(&mut self, kind: LayerKind, from: &[usize]) -> Option<usize> {
        let name = format!("n{}", self.nodes.len());
        let from: Vec<String> = from.iter().map(|&index| self.nodes[index].0.clone()).collect();
        let mut spec = self.spec.clone();
        spec.layers.push(LayerSpec::from(kind).named(&name).reading(from.clone()));
        // What is left over is read at the end; until then the check would complain.
        let mut probe = spec.clone();
        let rest = self.unused.iter().filter(|name| !from.contains(name)).chain([&name]);
        for (index, name) in rest.enumerate() {
            let flat = LayerSpec::from(LayerKind::Flatten).named(format!("flat{index}")).reading([name.clone()]);
            probe.layers.push(flat);
        }
        let count = probe.layers.len() - spec.layers.len();
        let flats: Vec<String> = (0..count).map(|index| format!("flat{index}")).collect();
        probe.layers.push(LayerSpec::from(LayerKind::Concat).named("end").reading(flats));
        let graph = Graph::new(&probe).ok()?;
        let shape = graph.nodes[graph.position(&name)?].shape.clone();
        if shape.iter().product::<i64>() > self.most {
            return None;
        }
        self.spec = spec;
        self.unused.retain(|name| !from.contains(name));
        self.unused.push(name.clone());
        self.nodes.push((name, shape));
        Some(self.nodes.len() - 1)
    }

    fn layer(&mut self, (kind, a, b, c): Choice, rng: &mut ChaCha8Rng) {
        // The latest nodes more often than the earlier ones.
        let pick =
            |number: u8| self.nodes.len() - 1 - (usize::from(number) % self.nodes.len()).min(usize::from(number) % 4);
        let from = pick(a);
        let shape = self.nodes[from].1.clone();
        let alike = |test: &dyn Fn(&[i64]) -> bool| -> Vec<usize> {
            let fitting: Vec<usize> = (0..self.nodes.len()).filter(|&index| test(&self.nodes[index].1)).collect();
            vec![from, fitting[usize::from(b) % fitting.len()], fitting[usize::from(c) % fitting.len()]]
        };
        match kind % 16 {
            0 | 1 => {
                let groups = if shape[0] % 2 == 0 && b % 3 == 0 { 2 } else { 1 };
                let channels = [2, 4, 6, 18, 40, 68][usize::from(c) % 6];
                let conv = Conv2d {
                    groups,
                    stride: [1 + i64::from(b % 5 == 1), 1 + i64::from(c % 5 == 1)].into(),
                    padding: [i64::from(b % 2), i64::from(c % 3)].into(),
                    dilation: (1 + i64::from(a % 7 == 0)).into(),
                    bias: c % 4 != 0,
                    ..Conv2d::new(channels, [1 + i64::from(b % 3), 1 + i64::from(c % 2)])
                };
                self.add(LayerKind::Conv2d(conv), &[from]);
            }
            // Keeps the shape: something to add to.
            2 => {
                let conv = Conv2d::new(shape[0], 3).padding(1);
                if let Some(after) = self.add(LayerKind::Conv2d(conv), &[from]) {
                    self.add(LayerKind::Add, &if b % 2 == 0 { [after, from] } else { [from, after] });
                }
            }
            3 | 4 | 12 | 13 => {
                let neurons = neurons(b, rng);
                self.add(LayerKind::Neuron(neurons), &[from]);
            }
            5 => {
                let all = alike(&|other| other == shape);
                self.add(LayerKind::Add, &all[..1 + usize::from(c % 3)]);
            }
            6 => {
                let all = alike(&|other| other.len() == shape.len() && other[1..] == shape[1..]);
                self.add(LayerKind::Concat, &all[..1 + usize::from(c % 3)]);
            }
            7 | 14 => {
                let pool = Pool { stride: Some(1.into()), padding: i64::from(b % 2).into(), ..Pool::new(2) };
                let kind = if c % 2 == 0 { LayerKind::AvgPool(pool) } else { LayerKind::MaxPool(pool) };
                self.add(kind, &[from]);
            }
            8 => {
                let tau = [0.0, 0.003, 0.02][usize::from(c) % 3];
                let synapse = if b % 2 == 0 { Synapse::Lowpass { tau } } else { Synapse::Alpha { tau } };
                let learn = b % 4 < 2 && tau > 0.0;
                self.add(LayerKind::Synapse(SynapseSpec { synapse, learn }), &[from]);
            }
            15 => {
                let scale = if b % 2 == 0 { Scale::new(1.0) } else { Scale::new(1.0).shared() };
                self.add(LayerKind::Scale(scale), &[from]);
            }
            9 => {
                self.add(LayerKind::Flatten, &[from]);
            }
            10 => {
                self.add(LayerKind::Dropout(Dropout::new(0.3)), &[from]);
            }
            _ => {
                let flat = if shape.len() == 1 { Some(from) } else { self.add(LayerKind::Flatten, &[from]) };
                let features = match b % 3 {
                    // As many as there were: it can be added to what it read, which is stored otherwise.
                    0 => shape.iter().product(),
                    1 => 17,
                    _ => 3,
                };
                let linear = LayerKind::Linear(Linear { bias: c % 3 != 0, ..Linear::new(features) });
                let after = flat.and_then(|flat| Some((flat, self.add(linear, &[flat])?)));
                if let Some((flat, after)) = after
                    && b % 3 == 0
                {
                    self.add(LayerKind::Add, &if c % 2 == 0 { [flat, after] } else { [after, flat] });
                }
            }
        }
    }

    /// Everything that nothing reads yet comes together in the output.
    fn close(mut self, rng: &mut ChaCha8Rng) -> NetworkSpec {
        self.most = i64::MAX;
        if self.unused.len() > 1 || self.spec.layers.is_empty() {
            let unused = self.unused.clone();
            let flat = |growing: &mut Self, index| growing.add(LayerKind::Flatten, &[index]).unwrap();
            let position = |name: &String| self.nodes.iter().position(|(other, _)| other == name).unwrap();
            let all: Vec<usize> = unused.iter().map(position).collect();
            let all = if all.is_empty() { vec![0] } else { all };
            let flats: Vec<usize> = all.into_iter().map(|index| flat(&mut self, index)).collect();
            self.add(LayerKind::Concat, &flats).unwrap();
        }
        if rng.random_bool(0.5) {
            let last = self.nodes.len() - 1;
            let flat = self.add(LayerKind::Flatten, &[last]).unwrap();
            let linear = self.add(LayerKind::Linear(Linear::new(rng.random_range(1..=5))), &[flat]).unwrap();
            self.add(LayerKind::Synapse(Synapse::Lowpass { tau: 0.01 }.into()), &[linear]);
        }
        self.spec
    }
}

/// Neurons of any kind, many of which spike.
fn neurons(number: u8, rng: &mut ChaCha8Rng) -> NeuronSpec {
    let uniform = |low: f64, high: f64| Distribution::Uniform { uniform: [low, high] };
    let scale = [1.0, 1.0, 2.5][usize::from(number / 16) % 3];
    match number % 8 {
        0 => NeuronSpec::new(RectifiedLinear { amplitude: 0.02 }).with_gain_bias(uniform(20.0, 200.0), 0.0),
        1 => NeuronSpec::new(Noisy { amplitude: 0.01 })
            .with_gain_bias(uniform(0.5, 2.0), 0.0)
            .learning(["decay"], LearnPer::Layer),
        2 | 3 => in_discrete_time(rng).with_gain_bias(uniform(0.2, 1.0), 0.0),
        4 => over_rates(rng),
        _ => {
            let lif = Lif {
                tau_rc: rng.random_range(0.002..0.05),
                // Below a timestep, several of them, and more than the shortcut takes.
                tau_ref: [0.0, 0.0004, 0.001, 0.002, 0.0037, 0.05][rng.random_range(0..6)],
                amplitude: rng.random_range(0.002..0.02),
                min_voltage: [0.0, -0.5, f64::NEG_INFINITY][rng.random_range(0..3)],
                smoothing: 0.0,
            };
            NeuronSpec::new(lif).with_gain_bias(uniform(0.5, 2.0), 0.0).with_firing_rate_scale(scale)
        }
    }
}

fn in_discrete_time(rng: &mut ChaCha8Rng) -> NeuronSpec {
    let learn_per = [LearnPer::Layer, LearnPer::Neuron][rng.random_range(0..2)];
    let reset = [Reset::Subtract, Reset::Zero, Reset::None][rng.random_range(0..3)];
    let reset_time = [ResetTime::SameStep, ResetTime::NextStep, ResetTime::SameStepCorrected][rng.random_range(0..3)];
    let fire_at_threshold = rng.random_bool(0.5);
    match rng.random_range(0..5) {
        0 => NeuronSpec::new(AdaptiveLif { tau_n: 0.02, inc_n: 0.1, amplitude: 0.01, ..AdaptiveLif::default() }),
        1 => NeuronSpec::new(LeakyIntegrator { tau: Some(0.005), scale_input: true, ..LeakyIntegrator::default() })
            .learning(["decay"], learn_per),
        2 => {
            let synaptic = Synaptic { reset, reset_time, scale_input: true, threshold: 0.5, ..Synaptic::default() };
            NeuronSpec::new(synaptic).learning(["current_decay", "decay"], learn_per)
        }
        _ => {
            let leaky = Leaky { decay: Some(0.8), reset, reset_time, fire_at_threshold, ..Leaky::default() };
            let learn: &[&str] = [&["decay", "threshold"][..], &["threshold"], &[]][rng.random_range(0..3)];
            NeuronSpec::new(leaky).learning(learn.iter().copied(), learn_per)
        }
    }
}

fn over_rates(rng: &mut ChaCha8Rng) -> NeuronSpec {
    let rate = [BaseRate::Relu, BaseRate::LeakyRelu, BaseRate::Sigmoid, BaseRate::Tanh][rng.random_range(0..4)];
    let neurons = match rng.random_range(0..4) {
        0 => NeuronSpec::new(RegularSpiking { rate, amplitude: 0.02, ..RegularSpiking::default() }),
        1 => NeuronSpec::new(StochasticSpiking { rate, amplitude: 0.02, ..StochasticSpiking::default() }),
        2 => NeuronSpec::new(PoissonSpiking { rate, amplitude: 0.02, ..PoissonSpiking::default() }),
        _ => NeuronSpec::new(LeakyRectifiedLinear { amplitude: 0.02, ..LeakyRectifiedLinear::default() }),
    };
    let gain = if matches!(rate, BaseRate::Sigmoid | BaseRate::Tanh) { 2.0 } else { 300.0 };
    neurons.with_gain_bias(gain, 0.0)
}
