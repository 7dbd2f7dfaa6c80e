//! What each layer computes and how it is stored, whatever its input is over time.

use std::sync::Arc;

use super::EventError;
use super::aligned::Aligned;
use super::lif::LifConstants;
use super::plan::{Operation, Shape, Sink, Tuning};
use super::weights::operation;
use crate::file::{Array, Parameters};
use crate::kernels::{NoiseKey, Number};
use crate::neuron::{Lif, Neuron};
use crate::spec::{Graph, LayerKind, NetworkSpec, NeuronSpec, Node, Origin, SynapseSpec};

/// What a plan is made of.
pub(super) struct Source<'a> {
    pub spec: &'a NetworkSpec,
    pub graph: &'a Graph,
    pub seed: u64,
    pub parameters: &'a Parameters,
}

impl Source<'_> {
    /// A parameter that the node declares.
    pub(super) fn parameter(&self, node: &Node, name: &str) -> Result<&Array, EventError> {
        let declared = node.parameters.iter().find(|parameter| parameter.name == name);
        let expected = declared.map_or(0, |parameter| parameter.shape.iter().product::<i64>()) as usize;
        let name = format!("{}.{name}", node.name);
        let array = self.parameters.get(&name);
        match array {
            Some(array) if array.values.len() == expected => Ok(array),
            _ => Err(EventError::Parameter { name, expected, found: array.map_or(0, |array| array.values.len()) }),
        }
    }

    pub(super) fn bias(&self, node: &Node, has_bias: bool) -> Result<Option<&Array>, EventError> {
        has_bias.then(|| self.parameter(node, "bias")).transpose()
    }
}

/// A layer laid out.
#[derive(Debug)]
pub(super) struct Laid<R> {
    /// How its output is stored.
    pub shape: Shape,
    /// The height of a spike, if its output is spikes of one height.
    pub height: Option<R>,
    pub does: Does<R>,
}

/// What a layer does with its inputs.
#[derive(Debug)]
pub(super) enum Does<R> {
    /// Nothing: a flatten changes how neurons are counted, not how they are stored.
    PassOn,
    Operation(Arc<Operation<R>>),
    /// Neurons and synapses.
    Advance(Sink<R>, Arc<Tuning<R>>),
    Add,
    Concat,
}

/// Lays out the layers one by one.
pub(super) fn layers<R: Number>(source: &Source) -> Result<Vec<Laid<R>>, EventError> {
    let input = Laid { shape: Shape::of(&source.graph.input), height: None, does: Does::PassOn };
    let mut layers: Vec<Laid<R>> = Vec::with_capacity(source.graph.nodes.len());
    for (index, node) in source.graph.nodes.iter().enumerate() {
        let read = |origin: Origin| match origin {
            Origin::Input => &input,
            Origin::Node(from) => &layers[from],
        };
        // Those of the timestep before may not be laid out yet; a sum has the shape of the others.
        let inputs = node.inputs.iter().filter(|edge| !edge.delayed).map(|edge| read(edge.from));
        let inputs: Vec<&Laid<R>> = inputs.collect();
        let laid = layer(source, index, node, &inputs)?;
        layers.push(laid);
    }
    Ok(layers)
}

fn layer<R: Number>(source: &Source, index: usize, node: &Node, inputs: &[&Laid<R>]) -> Result<Laid<R>, EventError> {
    // A graph that was checked has one at least.
    let (before, height) = inputs.first().map_or((Shape::of(&[]), None), |input| (input.shape, input.height));
    Ok(match &node.kind {
        LayerKind::Flatten | LayerKind::Dropout(_) => Laid { shape: before, height, does: Does::PassOn },
        LayerKind::Add => Laid { shape: before, height: None, does: Does::Add },
        LayerKind::Concat => {
            let same = inputs.iter().all(|input| input.height == height);
            Laid { shape: Shape::of(&node.shape), height: height.filter(|_| same), does: Does::Concat }
        }
        LayerKind::Neuron(neurons) => {
            let (sink, tuning) = neurons_of(source, index, node, neurons, before)?;
            let height = sink.height(source.spec.dt);
            Laid { shape: before, height, does: Does::Advance(sink, Arc::new(tuning)) }
        }
        LayerKind::Synapse(synapse) => {
            let log_tau = synapse.learn.then(|| source.parameter(node, SynapseSpec::LOG_TAU)).transpose()?;
            let synapse = synapse.with_log_tau(log_tau.map_or(0.0, |log_tau| log_tau.values[0]));
            let coefficients = synapse.coefficients(source.spec.dt);
            let transition = coefficients.transition.map(|row| row.map(R::constant));
            let input = coefficients.input.map(R::constant);
            let sink = Sink::Synapse { transition, input, variables: synapse.state_len() };
            Laid { shape: before, height: None, does: Does::Advance(sink, Arc::default()) }
        }
        LayerKind::Standardize(_) => {
            let each = before.len() / node.shape.first().map_or(1, |&channels| channels.unsigned_abs() as usize).max(1);
            let numbers = |name: &str| -> Result<Aligned<R>, EventError> {
                let values = source.parameter(node, name)?.values.iter();
                Ok(stored(values.flat_map(|&value| std::iter::repeat_n(R::constant(value), each)), before))
            };
            let (mean, mut std) = (numbers("mean")?, numbers("std")?);
            // Padding, which stays 0.
            std.iter_mut().filter(|number| **number == R::default()).for_each(|number| *number = R::constant(1.0));
            let operation = Operation::Standardize { mean, std };
            Laid { shape: before, height: None, does: Does::Operation(Arc::new(operation)) }
        }
        LayerKind::Conv2d(_)
        | LayerKind::Linear(_)
        | LayerKind::AvgPool(_)
        | LayerKind::MaxPool(_)
        | LayerKind::Scale(_)
        | LayerKind::Relu
        | LayerKind::LeakyRelu(_)
        | LayerKind::BatchNorm(_)
        | LayerKind::Custom(_) => {
            // A weight for each element changes nothing about how the elements are stored.
            let shape = if let LayerKind::Scale(_) = node.kind { before } else { Shape::of(&node.shape) };
            let operation = operation(source, node, before, shape, height.unwrap_or(R::constant(1.0)))?;
            Laid { shape, height: None, does: Does::Operation(Arc::new(operation)) }
        }
    })
}

fn neurons_of<R: Number>(
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
    let learned = learned(source, node, neurons, shape)?;
    let tuning =
        Tuning { gain: numbers(&values.gain), bias: stored(bias, shape), voltage: numbers(&values.voltage), learned };
    let key = values.model.is_noisy().then(|| NoiseKey::new(source.seed, index));
    Ok((neuron_sink(values.model, source.spec.dt, key), tuning))
}

/// The values of the parameters that training can change, trained or not, of each block of neurons.
fn learned<R: Number>(
    source: &Source,
    node: &Node,
    neurons: &NeuronSpec,
    shape: Shape,
) -> Result<Aligned<R>, EventError> {
    let model = &neurons.model;
    let mut parameters = Vec::new();
    for (learned, value) in model.learned().iter().zip(model.learned_values(source.spec.dt)) {
        let values = if neurons.learns(learned) {
            let stored = &source.parameter(node, &learned.tensor_name())?.values;
            let one_each = stored.len() == shape.len();
            (0..shape.len()).map(|neuron| learned.value(stored[if one_each { neuron } else { 0 }])).collect()
        } else {
            vec![value; shape.len()]
        };
        parameters.push(stored(values.into_iter().map(R::constant), shape));
    }
    let (lanes, blocks) = (shape.lanes(), shape.positions() * shape.blocks());
    let blocks = (0..blocks).flat_map(|block| parameters.iter().map(move |values| &values[block * lanes..][..lanes]));
    Ok(blocks.flatten().copied().collect::<Vec<R>>().into())
}

fn neuron_sink<R: Number>(neuron: Neuron, dt: f64, noise: Option<NoiseKey>) -> Sink<R> {
    match neuron.downcast_ref::<Lif>().and_then(|lif| LifConstants::new(lif, dt)) {
        Some(constants) => Sink::Lif { constants, neuron },
        None => Sink::Neurons { neuron, noise },
    }
}

/// A layer's constants in the order in which its neurons are stored.
pub(super) fn stored<R: Number>(values: impl IntoIterator<Item = R>, shape: Shape) -> Aligned<R> {
    let mut stored = Aligned::new(shape.storage());
    for (index, value) in values.into_iter().enumerate() {
        stored[shape.stored_at(index)] = value;
    }
    stored
}
