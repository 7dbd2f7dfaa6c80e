//! A network in plain loops: every layer at every timestep, in `f64`, neurons by their models' own formulas.
#![allow(dead_code)]

pub mod random;

use tch_spiking_core::NetworkSpec;
use tch_spiking_core::file::{Array, Parameters};
use tch_spiking_core::kernels::NoiseKey;
use tch_spiking_core::neuron::{
    AdaptiveLif, Fire, Heaviside, Initial, Izhikevich, Leaky, LeakyIntegrator, LeakyRectifiedLinear, Lif, Neuron,
    NeuronError, NeuronModel, PoissonSpiking, Real, RectifiedLinear, RegularSpiking, StateArray, StateVariable,
    StepInput, StochasticSpiking, Synaptic, WithoutRate,
};
use tch_spiking_core::spec::{Conv2d, Edge, Graph, LayerKind, NeuronSpec, NeuronValues, Node, Origin, Pool};

/// What every layer did.
pub struct Trace {
    /// `[layer][step][neuron]`.
    pub outputs: Vec<Vec<Vec<f64>>>,
    /// The same of the current into neurons; empty for other layers.
    pub currents: Vec<Vec<Vec<f64>>>,
    /// `[layer][step][variable][neuron]`.
    pub states: Vec<Vec<Vec<Vec<f64>>>>,
}

/// A network to be run.
pub struct Reference<'a> {
    pub spec: &'a NetworkSpec,
    pub graph: Graph,
    pub parameters: &'a Parameters,
    pub seed: u64,
}

/// The state of a layer.
struct State {
    values: Option<NeuronValues>,
    variables: Vec<Vec<f64>>,
}

impl Reference<'_> {
    /// Runs `inputs`, one for each timestep, as the sample of this number.
    pub fn run(&self, inputs: &[&[f64]], sample: u64) -> Trace {
        let count = self.graph.nodes.len();
        let mut states: Vec<State> = (0..count).map(|index| self.start(index)).collect();
        let mut trace =
            Trace { outputs: vec![vec![]; count], currents: vec![vec![]; count], states: vec![vec![]; count] };
        for (step, input) in inputs.iter().enumerate() {
            let mut now: Vec<Vec<f64>> = Vec::new();
            for (index, node) in self.graph.nodes.iter().enumerate() {
                let read = |edge: &Edge| match (edge.from, step.checked_sub(1)) {
                    (from, None) if edge.delayed => vec![0.0; sizes(self.graph.shape_of(from)).iter().product()],
                    (Origin::Input, Some(before)) if edge.delayed => inputs[before].to_vec(),
                    (Origin::Node(from), Some(before)) if edge.delayed => trace.outputs[from][before].clone(),
                    (Origin::Input, _) => input.to_vec(),
                    (Origin::Node(from), _) => now[from].clone(),
                };
                let inputs: Vec<Vec<f64>> = node.inputs.iter().map(read).collect();
                let output = match &node.kind {
                    LayerKind::Neuron(spec) => {
                        let current = self.current(spec, node, &states[index], &inputs[0]);
                        let output = self.neurons(index, node, &mut states[index], &current, sample, step as u64);
                        trace.currents[index].push(current);
                        output
                    }
                    LayerKind::Synapse(synapse) => {
                        let log_tau = if synapse.learn { self.parameter(node, "log_tau").values[0] } else { 0.0 };
                        let coefficients = synapse.with_log_tau(log_tau).coefficients(self.spec.dt);
                        let variables = &mut states[index].variables;
                        let filtered = inputs[0].iter().enumerate().map(|(i, &u)| {
                            let x: Vec<f64> = variables.iter().map(|variable| variable[i]).collect();
                            for (to, variable) in variables.iter_mut().enumerate() {
                                let sum: f64 = x.iter().zip(coefficients.transition[to]).map(|(x, a)| x * a).sum();
                                variable[i] = sum + coefficients.input[to] * u;
                            }
                            variables.last().unwrap()[i]
                        });
                        filtered.collect()
                    }
                    _ => self.stateless(node, &inputs),
                };
                trace.states[index].push(states[index].variables.clone());
                trace.outputs[index].push(output.clone());
                now.push(output);
            }
        }
        trace
    }

    fn start(&self, index: usize) -> State {
        let node = &self.graph.nodes[index];
        let count = node.shape.iter().product::<i64>() as usize;
        match &node.kind {
            LayerKind::Neuron(neurons) => {
                let values = neurons.values(count, index, self.seed, self.spec.initial_voltage).unwrap();
                let variable = |variable: &StateVariable| match variable.initial {
                    Initial::Voltage => values.voltage.clone(),
                    Initial::Value(value) => vec![value; count],
                };
                let variables = values.model.state().iter().map(variable).collect();
                State { values: Some(values), variables }
            }
            LayerKind::Synapse(synapse) => {
                State { values: None, variables: vec![vec![0.0; count]; synapse.synapse.state_len()] }
            }
            _ => State { values: None, variables: Vec::new() },
        }
    }

    fn current(&self, spec: &NeuronSpec, node: &Node, state: &State, input: &[f64]) -> Vec<f64> {
        let values = state.values.as_ref().unwrap();
        let bias = &self.parameter(node, "bias").values;
        let current = input.iter().zip(&values.gain).zip(bias);
        current.map(|((input, gain), bias)| gain * input + bias * spec.firing_rate_scale).collect()
    }

    fn neurons(
        &self,
        index: usize,
        node: &Node,
        state: &mut State,
        current: &[f64],
        sample: u64,
        step: u64,
    ) -> Vec<f64> {
        let model = &state.values.as_ref().unwrap().model;
        let learned = |neuron: usize| -> Vec<f64> {
            let values = model.learned().iter().zip(model.learned_values(self.spec.dt));
            let values = values.map(|(learned, value)| {
                let name = format!("{}.{}", node.name, learned.tensor_name());
                let stored = self.parameters.get(&name).map(|array| &array.values);
                stored.map_or(value, |stored| learned.value(*stored.get(neuron).unwrap_or(&stored[0])))
            });
            values.collect()
        };
        let noise = NoiseKey::new(self.seed, index).sample(sample);
        let outputs = current.iter().enumerate().map(|(neuron, &current)| {
            let mut now: Vec<f64> = state.variables.iter().map(|variable| variable[neuron]).collect();
            let uniform = noise.uniform(neuron as u32, step);
            let output = one_step(model, current, &mut now, &learned(neuron), uniform, self.spec.dt);
            state.variables.iter_mut().zip(now).for_each(|(variable, now)| variable[neuron] = now);
            output
        });
        outputs.collect()
    }

    fn parameter(&self, node: &Node, name: &str) -> &Array {
        &self.parameters[&format!("{}.{name}", node.name)]
    }

    fn stateless(&self, node: &Node, inputs: &[Vec<f64>]) -> Vec<f64> {
        let input = &inputs[0];
        let image = |origin: Origin| <[usize; 3]>::try_from(sizes(self.graph.shape_of(origin))).unwrap();
        let output = || <[usize; 3]>::try_from(sizes(&node.shape)).unwrap();
        match &node.kind {
            LayerKind::Conv2d(conv) => self.convolve(node, conv, input, image(node.inputs[0].from), output()),
            LayerKind::Linear(linear) => {
                let weight = &self.parameter(node, "weight").values;
                let rows = weight.chunks_exact(input.len()).enumerate();
                let bias = |output: usize| match linear.bias {
                    true => self.parameter(node, "bias").values[output],
                    false => 0.0,
                };
                rows.map(|(output, row)| row.iter().zip(input).fold(bias(output), |sum, (w, x)| sum + w * x)).collect()
            }
            LayerKind::AvgPool(pool) => {
                let area = (pool.kernel.0 * pool.kernel.1) as f64;
                let sums = fold(pool, input, image(node.inputs[0].from), output(), 0.0, |sum, x| sum + x);
                sums.into_iter().map(|sum| sum / area).collect()
            }
            LayerKind::MaxPool(pool) => {
                fold(pool, input, image(node.inputs[0].from), output(), f64::NEG_INFINITY, f64::max)
            }
            LayerKind::Flatten | LayerKind::Dropout(_) => input.clone(),
            LayerKind::Add => {
                let add = |sum: Vec<f64>, other: &Vec<f64>| sum.iter().zip(other).map(|(a, b)| a + b).collect();
                inputs[1..].iter().fold(input.clone(), add)
            }
            LayerKind::Concat => inputs.concat(),
            LayerKind::Scale(_) => {
                let weights = self.parameter(node, "weight").values.iter().cycle();
                input.iter().zip(weights).map(|(x, w)| x * w).collect()
            }
            other => panic!("{}", other.type_name()),
        }
    }

    fn convolve(
        &self,
        node: &Node,
        conv: &Conv2d,
        input: &[f64],
        [channels, height, width]: [usize; 3],
        [filters, rows, columns]: [usize; 3],
    ) -> Vec<f64> {
        let weight = &self.parameter(node, "weight").values;
        let (inputs, outputs) = (channels / conv.groups as usize, filters / conv.groups as usize);
        let [tall, wide] = conv.kernel.to_array().map(|size| size as usize);
        let mut output = Vec::new();
        for filter in 0..filters {
            let bias = if conv.bias { self.parameter(node, "bias").values[filter] } else { 0.0 };
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let mut sum = bias;
                for (y, x) in (0..tall).flat_map(|y| (0..wide).map(move |x| (y, x))) {
                    let at = |place: usize, element: usize, stride: i64, dilation: i64, padding: i64| {
                        place as i64 * stride + element as i64 * dilation - padding
                    };
                    let source_y = at(row, y, conv.stride.0, conv.dilation.0, conv.padding.0);
                    let source_x = at(column, x, conv.stride.1, conv.dilation.1, conv.padding.1);
                    if (0..height as i64).contains(&source_y) && (0..width as i64).contains(&source_x) {
                        for channel in 0..inputs {
                            let source = filter / outputs * inputs + channel;
                            let value = input[(source * height + source_y as usize) * width + source_x as usize];
                            sum += weight[((filter * inputs + channel) * tall + y) * wide + x] * value;
                        }
                    }
                }
                output.push(sum);
            }
        }
        output
    }
}

pub fn sizes(shape: &[i64]) -> Vec<usize> {
    shape.iter().map(|&size| size as usize).collect()
}

fn fold(
    pool: &Pool,
    input: &[f64],
    [_, height, width]: [usize; 3],
    [channels, rows, columns]: [usize; 3],
    start: f64,
    fold: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let mut output = Vec::new();
    for channel in 0..channels {
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let mut folded = start;
            for (y, x) in (0..pool.kernel.0).flat_map(|y| (0..pool.kernel.1).map(move |x| (y, x))) {
                let y = row as i64 * pool.step().0 + y - pool.padding.0;
                let x = column as i64 * pool.step().1 + x - pool.padding.1;
                if (0..height as i64).contains(&y) && (0..width as i64).contains(&x) {
                    folded = fold(folded, input[(channel * height + y as usize) * width + x as usize]);
                }
            }
            output.push(folded);
        }
    }
    output
}

fn one_step(model: &Neuron, current: f64, state: &mut [f64], learned: &[f64], uniform: f64, dt: f64) -> f64 {
    let known = [
        step_of::<Lif>,
        step_of::<RectifiedLinear>,
        step_of::<LeakyRectifiedLinear>,
        step_of::<RegularSpiking>,
        step_of::<StochasticSpiking>,
        step_of::<PoissonSpiking>,
        step_of::<Leaky>,
        step_of::<Synaptic>,
        step_of::<AdaptiveLif>,
        step_of::<LeakyIntegrator>,
        step_of::<Izhikevich>,
        step_of::<Noisy>,
    ];
    known.iter().find_map(|step| step(model, current, state, learned, uniform, dt)).expect("a known model")
}

/// A step, if the model is an `M`.
fn step_of<M: NeuronModel>(
    model: &Neuron,
    current: f64,
    state: &mut [f64],
    learned: &[f64],
    uniform: f64,
    dt: f64,
) -> Option<f64> {
    let model = model.downcast_ref::<M>()?;
    let input = StepInput { current, learned: M::Learned::<f64>::from_fn(|index| learned[index]), uniform, dt };
    let mut now = M::State::<f64>::from_fn(|variable| state[variable]);
    let output = model.step(input, &mut now, &Heaviside);
    state.copy_from_slice(now.as_ref());
    Some(output)
}

/// A leaky integrator that spikes by chance above half its threshold, its leak learned: a model with everything.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noisy {
    pub amplitude: f64,
}

impl NeuronModel for Noisy {
    const NAME: &'static str = "noisy";
    const STATE: &'static [StateVariable] =
        &[StateVariable::new("voltage", Initial::Voltage), StateVariable::new("trace", Initial::Value(0.25))];
    const LEARNED: &'static [tch_spiking_core::neuron::Learned] =
        &[tch_spiking_core::neuron::Learned::new("decay", 0.9, (0.0, 1.0))];
    const NOISY: bool = true;
    type State<R: Real> = [R; 2];
    type Learned<R: Real> = [R; 1];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        Ok(())
    }
    fn amplitude(&self) -> f64 {
        self.amplitude
    }
    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 1]>, state: &mut [R; 2], fire: &F) -> R {
        let voltage = state[0] * input.learned[0] + input.current * R::constant(input.dt * 50.0);
        let spikes = fire.once(voltage - R::constant(0.5) - input.uniform);
        *state = [voltage - spikes, state[1] * R::constant(0.5) + spikes];
        spikes * R::constant(self.amplitude / input.dt)
    }
}
