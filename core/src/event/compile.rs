//! From a specification and its parameters to a plan.

use super::EventError;
use super::aligned::Aligned;
use super::lif::LifConstants;
use super::plan::{Flow, Operation, Plan, Shape, Sink, Stage, Tap, Tuning, Weights, Windows};
use crate::file::{Array, Parameters};
use crate::kernels::Number;
use crate::neuron::{Lif, Neuron};
use crate::spec::{Conv2d, Graph, LayerKind, NetworkSpec, NeuronSpec, Node, Pool};

/// What a plan is made of.
struct Source<'a> {
    spec: &'a NetworkSpec,
    seed: u64,
    parameters: &'a Parameters,
}

impl Source<'_> {
    /// A parameter that the node declares.
    fn parameter(&self, node: &Node, name: &str) -> Result<&Array, EventError> {
        let declared = node.parameters.iter().find(|parameter| parameter.name == name);
        let expected = declared.map_or(0, |parameter| parameter.shape.iter().product::<i64>()) as usize;
        let name = format!("{}.{name}", node.name);
        let array = self.parameters.get(&name);
        match array {
            Some(array) if array.values.len() == expected => Ok(array),
            _ => Err(EventError::Parameter { name, expected, found: array.map_or(0, |array| array.values.len()) }),
        }
    }

    fn bias(&self, node: &Node, has_bias: bool) -> Result<Option<&Array>, EventError> {
        has_bias.then(|| self.parameter(node, "bias")).transpose()
    }
}

/// Lays the network out.
pub(super) fn compile<R: Number>(
    spec: &NetworkSpec,
    seed: u64,
    parameters: &Parameters,
) -> Result<Plan<R>, EventError> {
    let graph = Graph::new(spec)?;
    let source = Source { spec, seed, parameters };
    let input = Shape::of(&spec.input);
    let dt = spec.dt;
    let mut plan = Plan { input, stages: Vec::new(), dt };
    let mut waiting: Option<(usize, Operation<R>, Shape)> = None;
    let mut flow = Flow::Constant;
    let mut shape = input;
    for (index, layer) in graph.nodes.iter().enumerate() {
        let output = Shape::of(&layer.shape);
        // A flatten changes how neurons are counted, not how they are stored.
        let output = if let LayerKind::Flatten | LayerKind::Dropout(_) = layer.kind { shape } else { output };
        let output = if elementwise(layer) && output.len() == shape.len() { shape } else { output };
        let (sink, tuning) = match &layer.kind {
            LayerKind::Flatten | LayerKind::Dropout(_) => continue,
            LayerKind::Neuron(neurons) => neuron_stage(&source, index, layer, neurons, output)?,
            LayerKind::Synapse(synapse) => {
                let coefficients = synapse.coefficients(dt);
                let transition = coefficients.transition.map(|row| row.map(R::constant));
                let input = coefficients.input.map(R::constant);
                (Sink::Synapse { transition, input, variables: synapse.state_len() }, no_tuning())
            }
            _ => {
                // A layer without state waits to be fused with what follows, unless it is computed once for all time.
                if let Some((layer, operation, shape_before)) = waiting.take() {
                    flow = push(&mut plan, layer, operation, Sink::Values, no_tuning(), (shape_before, shape), flow);
                }
                let operation = operation(&source, layer, shape, output, flow)?;
                if flow == Flow::Constant {
                    flow = push(&mut plan, index, operation, Sink::Values, no_tuning(), (shape, output), flow);
                } else {
                    waiting = Some((index, operation, shape));
                }
                shape = output;
                continue;
            }
        };
        let (operation, before) =
            waiting.take().map_or((Operation::Identity, shape), |(_, operation, before)| (operation, before));
        flow = push(&mut plan, index, operation, sink, tuning, (before, output), flow);
        shape = output;
    }
    if let Some((layer, operation, before)) = waiting {
        push(&mut plan, layer, operation, Sink::Values, no_tuning(), (before, shape), flow);
    }
    Ok(plan)
}

/// Whether the layer leaves every neuron where it is stored.
fn elementwise(layer: &Node) -> bool {
    matches!(layer.kind, LayerKind::Neuron(_) | LayerKind::Synapse(_))
}

/// Adds a stage and returns what flows out of it.
fn push<R: Number>(
    plan: &mut Plan<R>,
    layer: usize,
    operation: Operation<R>,
    sink: Sink<R>,
    tuning: Tuning<R>,
    (input, output): (Shape, Shape),
    input_flow: Flow<R>,
) -> Flow<R> {
    let output_flow = match &sink {
        Sink::Values if input_flow == Flow::Constant => Flow::Constant,
        Sink::Lif(constants) => Flow::Spikes(constants.height),
        _ => Flow::Values,
    };
    plan.stages.push(Stage { layer, operation, sink, tuning, input, input_flow, output, output_flow });
    output_flow
}

fn no_tuning<R: Number>() -> Tuning<R> {
    Tuning { gain: Aligned::new(0), bias: Aligned::new(0), voltage: Aligned::new(0), learned: Aligned::new(0) }
}

fn neuron_stage<R: Number>(
    source: &Source,
    index: usize,
    node: &Node,
    neurons: &NeuronSpec,
    shape: Shape,
) -> Result<(Sink<R>, Tuning<R>), EventError> {
    let unsupported = |cause: String| EventError::Layer { layer: node.name.clone(), kind: cause };
    let values = neurons.values(shape.len(), index, source.seed, source.spec.initial_voltage).map_err(unsupported)?;
    let scale = R::constant(neurons.firing_rate_scale);
    let bias = source.parameter(node, "bias")?.values.iter().map(|&bias| R::constant(bias) * scale);
    let numbers = |values: &[f64]| stored(values.iter().map(|&value| R::constant(value)), shape);
    let parameters = values.model.learned().iter();
    let learned = parameters.map(|learned| Ok(R::constant(source.parameter(node, learned.name)?.values[0])));
    let learned: Vec<R> = learned.collect::<Result<_, EventError>>()?;
    let (lanes, blocks) = (shape.lanes(), shape.positions() * shape.blocks());
    let of_block = learned.iter().flat_map(|&value| std::iter::repeat_n(value, lanes));
    let learned: Vec<R> = std::iter::repeat_n((), blocks).flat_map(|()| of_block.clone()).collect();
    let tuning = Tuning {
        gain: numbers(&values.gain),
        bias: stored(bias, shape),
        voltage: numbers(&values.voltage),
        learned: learned.into(),
    };
    Ok((neuron_sink(values.model, source.spec.dt), tuning))
}

fn neuron_sink<R: Number>(model: Neuron, dt: f64) -> Sink<R> {
    match model.downcast_ref::<Lif>().and_then(|lif| LifConstants::new(lif, dt)) {
        Some(constants) => Sink::Lif(constants),
        None => Sink::Neurons(model),
    }
}

fn operation<R: Number>(
    source: &Source,
    node: &Node,
    input: Shape,
    output: Shape,
    flow: Flow<R>,
) -> Result<Operation<R>, EventError> {
    let height = if let Flow::Spikes(height) = flow { height } else { R::constant(1.0) };
    Ok(match &node.kind {
        LayerKind::Conv2d(conv) => {
            let window = Window {
                kernel: conv.kernel.to_array(),
                stride: conv.stride.to_array(),
                padding: conv.padding.to_array(),
                dilation: conv.dilation.to_array(),
            };
            let (weight, bias) = (source.parameter(node, "weight")?, source.bias(node, conv.bias)?);
            let weights = affine(weight, bias, &conv_weight(conv, input), input, output, conv.groups, height);
            Operation::Affine { windows: window.taps(input, output), weights }
        }
        LayerKind::Linear(linear) => {
            let whole = (0..input.positions()).map(|position| Tap { input: position as u32, kernel: position as u32 });
            let positions = input.positions();
            let at = move |element: usize, channel: usize| channel * positions + element;
            let layout = WeightLayout { elements: positions, inputs: input.channels, at: Box::new(at) };
            let (weight, bias) = (source.parameter(node, "weight")?, source.bias(node, linear.bias)?);
            let weights = affine(weight, bias, &layout, input, output, 1, height);
            Operation::Affine { windows: Windows::new(std::iter::once(whole.collect())), weights }
        }
        LayerKind::AvgPool(pool) => {
            let area = (pool.kernel.0 * pool.kernel.1) as f64;
            Operation::AveragePool { windows: pool_windows(pool, input, output), area: R::constant(area) }
        }
        LayerKind::MaxPool(pool) => Operation::MaxPool { windows: pool_windows(pool, input, output) },
        kind => {
            let kind = kind.type_name().to_string();
            return Err(EventError::Layer { layer: node.name.clone(), kind });
        }
    })
}

fn pool_windows(pool: &Pool, input: Shape, output: Shape) -> Windows {
    let window = Window {
        kernel: pool.kernel.to_array(),
        stride: pool.step().to_array(),
        padding: pool.padding.to_array(),
        dilation: [1, 1],
    };
    window.taps(input, output)
}

struct Window {
    kernel: [i64; 2],
    stride: [i64; 2],
    padding: [i64; 2],
    dilation: [i64; 2],
}

impl Window {
    /// Of every output position the kernel's elements that lie inside the input.
    fn taps(&self, input: Shape, output: Shape) -> Windows {
        let sizes = [input.height as i64, input.width as i64];
        let positions = (0..output.positions()).map(|position| [position / output.width, position % output.width]);
        Windows::new(positions.map(|at| {
            let elements = (0..self.kernel[0]).flat_map(|y| (0..self.kernel[1]).map(move |x| [y, x]));
            let inside = elements.filter_map(|element| {
                let [y, x]: [i64; 2] = std::array::from_fn(|i| {
                    at[i] as i64 * self.stride[i] + element[i] * self.dilation[i] - self.padding[i]
                });
                let kernel = (element[0] * self.kernel[1] + element[1]) as u32;
                let inside = (0..sizes[0]).contains(&y) && (0..sizes[1]).contains(&x);
                inside.then_some(Tap { input: (y * sizes[1] + x) as u32, kernel })
            });
            inside.collect()
        }))
    }
}

/// Where a weight tensor has the weight of a kernel element and an input channel (of its group) to output 0.
struct WeightLayout {
    elements: usize,
    /// Input channels of a group.
    inputs: usize,
    at: Box<dyn Fn(usize, usize) -> usize>,
}

fn conv_weight(conv: &Conv2d, input: Shape) -> WeightLayout {
    let elements = (conv.kernel.0 * conv.kernel.1) as usize;
    let at = move |element: usize, channel: usize| channel * elements + element;
    WeightLayout { elements, inputs: input.channels / conv.groups as usize, at: Box::new(at) }
}

fn affine<R: Number>(
    weight: &Array,
    bias: Option<&Array>,
    layout: &WeightLayout,
    input: Shape,
    output: Shape,
    groups: i64,
    height: R,
) -> Vec<Weights<R>> {
    let weight = &weight.values;
    let lanes = output.lanes();
    let outputs_of_group = output.channels / groups as usize;
    let per_output = layout.elements * layout.inputs;
    let block = |block: usize| {
        let outputs = block * lanes..((block + 1) * lanes).min(output.channels);
        let group_of = |output: usize| output / outputs_of_group;
        let channels = group_of(outputs.start) * layout.inputs..(group_of(outputs.end - 1) + 1) * layout.inputs;
        let mut rows = vec![R::default(); layout.elements * channels.len() * lanes];
        for output in outputs.clone() {
            let first = group_of(output) * layout.inputs;
            for element in 0..layout.elements {
                for channel in 0..layout.inputs {
                    let row = element * channels.len() + first + channel - channels.start;
                    let value = weight[output * per_output + (layout.at)(element, channel)];
                    rows[row * lanes + output - outputs.start] = R::constant(value) * height;
                }
            }
        }
        let mut block_bias = vec![R::default(); lanes];
        for (to, output) in block_bias.iter_mut().zip(outputs) {
            *to = R::constant(bias.map_or(0.0, |bias| bias.values[output]));
        }
        let mut mask = vec![0u64; input.blocks()];
        channels.clone().for_each(|channel| mask[channel / 64] |= 1 << (channel % 64));
        Weights { rows: rows.into(), bias: block_bias, channels, mask }
    };
    (0..output.blocks()).map(block).collect()
}

/// A layer's constants in the order in which its neurons are stored.
fn stored<R: Number>(values: impl IntoIterator<Item = R>, shape: Shape) -> Aligned<R> {
    let mut stored = Aligned::new(shape.storage());
    for (index, value) in values.into_iter().enumerate() {
        stored[shape.stored_at(index)] = value;
    }
    stored
}
