//! The network graph: a validated specification with the shape and the parameters of every layer.

use super::parameters::parameters;
use super::shape::{output_shape, show};
use super::{EdgeSpec, LayerKind, LayerSpec, NetworkError, NetworkSpec, ParameterSpec};

/// A network's layers as a graph. Nothing is allocated: a file may describe a network far larger than itself.
///
/// ```
/// use tch_spiking_core::spec::{Graph, NetworkSpec, Origin};
///
/// let spec: NetworkSpec = toml::from_str(r#"
///     input = [8, 6, 6]
///     layers = [
///         { type = "conv2d", name = "a", out_channels = 8, kernel = 3, padding = 1 },
///         { type = "lif" },
///         { type = "conv2d", name = "b", out_channels = 8, kernel = 3, padding = 1 },
///         { type = "add", from = ["b", "a"] },
///     ]
/// "#).unwrap();
/// let graph = Graph::new(&spec)?;
/// let sum = &graph.nodes[3];
/// assert_eq!((sum.name.as_str(), sum.shape.as_slice()), ("add1", [8, 6, 6].as_slice()));
/// assert_eq!(sum.inputs[1].from, Origin::Node(0));
/// # Ok::<(), tch_spiking_core::spec::NetworkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Graph {
    /// Input shape of one sample.
    pub input: Vec<i64>,
    /// Layers in evaluation order; the output of the last one is the network's output.
    pub nodes: Vec<Node>,
}

/// A layer in the graph.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name of the layer.
    pub name: String,
    /// Type and settings of the layer.
    pub kind: LayerKind,
    /// Inputs of the layer, at least one.
    pub inputs: Vec<Edge>,
    /// Output shape of one sample.
    pub shape: Vec<i64>,
    /// Parameters that the layer declares.
    pub parameters: Vec<ParameterSpec>,
}

/// An input of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Source of the input.
    pub from: Origin,
    /// Whether the value of the previous timestep is read.
    pub delayed: bool,
}

/// The source of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The network's input.
    Input,
    /// The output of the node at this index.
    Node(usize),
}

/// A larger tensor is assumed to be a mistake, which must not exhaust the memory of the process.
const MOST_ELEMENTS: usize = 1 << 28;

/// More for one timestep of one sample are assumed to be a mistake, which must not occupy a machine: some minutes on a
/// processor.
const MOST_MULTIPLICATIONS: u128 = 1_000_000_000_000;

impl Graph {
    /// Validates `spec`: every layer fits its inputs, every cycle has a delayed edge, and every output is used.
    ///
    /// # Errors
    /// Returns an error that names the first layer that does not fit, and why.
    pub fn new(spec: &NetworkSpec) -> Result<Self, NetworkError> {
        spec.validate()?;
        let names = spec.layer_names();
        let mut graph = Self { input: spec.input.clone(), nodes: Vec::with_capacity(names.len()) };
        let mut delayed = Vec::new();
        for (index, (layer, name)) in spec.layers.iter().zip(&names).enumerate() {
            let fail = |cause: String| layer_error(index, layer, cause);
            check_name(name, &names[..index]).map_err(fail)?;
            let inputs = edges(layer, index, &names).map_err(fail)?;
            delayed.extend(inputs.iter().filter(|edge| edge.delayed).map(|edge| (index, *edge)));
            let node = graph.node(name, layer, inputs, spec).map_err(fail)?;
            graph.nodes.push(node);
        }
        for (index, edge) in delayed {
            let (found, expected) = (graph.shape_of(edge.from), graph.nodes[index].shape.as_slice());
            if found != expected {
                let cause = format!("its delayed input is {}, expected {}", show(found), show(expected));
                return Err(layer_error(index, &spec.layers[index], cause));
            }
        }
        graph.check_use(spec)?;
        match graph.demand().multiplications {
            needed if needed > MOST_MULTIPLICATIONS => Err(NetworkError::Specification(format!(
                "a timestep of one sample needs {needed} multiplications: expected at most {MOST_MULTIPLICATIONS}; choose \
                 smaller layers"
            ))),
            _ => Ok(graph),
        }
    }

    fn node(&self, name: &str, layer: &LayerSpec, inputs: Vec<Edge>, spec: &NetworkSpec) -> Result<Node, String> {
        // The shape of a delayed input may not be known yet; a sum has the shape of its other inputs.
        let shapes: Vec<&[i64]> =
            inputs.iter().filter(|edge| !edge.delayed).map(|edge| self.shape_of(edge.from)).collect();
        if shapes.len() < inputs.len() && (shapes.is_empty() || !matches!(layer.kind, LayerKind::Add)) {
            return Err(
                "a delayed input is supported by add layers only, next to an input that is not delayed".to_string()
            );
        }
        if shapes.len() > 1 && !layer.kind.takes_several() {
            return Err(format!("it accepts one input, got {}: add or concatenate them first", shapes.len()));
        }
        for shape in &shapes {
            elements("input", shape)?;
        }
        let shape = output_shape(&layer.kind, &shapes)?;
        elements("output", &shape)?;
        if let LayerKind::Neuron(neurons) = &layer.kind {
            neurons.check(spec.dt)?;
        }
        let parameters = parameters(&layer.kind, &shapes, &shape, spec.dt);
        for parameter in &parameters {
            elements(&parameter.name, &parameter.shape)?;
        }
        Ok(Node { name: name.to_string(), kind: layer.kind.clone(), inputs, shape, parameters })
    }

    /// Checks that every node but the last is read by another.
    fn check_use(&self, spec: &NetworkSpec) -> Result<(), NetworkError> {
        let mut used = vec![false; self.nodes.len()];
        for edge in self.nodes.iter().flat_map(|node| &node.inputs) {
            if let Origin::Node(index) = edge.from {
                used[index] = true;
            }
        }
        used.pop();
        match used.iter().position(|used| !used) {
            Some(index) => {
                let cause = format!(
                    "no layer reads {:?}, and it is not the last: remove it, or name it in another layer's `from`",
                    self.nodes[index].name
                );
                Err(layer_error(index, &spec.layers[index], cause))
            }
            None => Ok(()),
        }
    }

    /// Returns the shape of one sample of the data from `origin`.
    pub fn shape_of(&self, origin: Origin) -> &[i64] {
        match origin {
            Origin::Input => &self.input,
            Origin::Node(index) => &self.nodes[index].shape,
        }
    }

    /// Returns the output shape of one sample.
    pub fn output_shape(&self) -> &[i64] {
        self.nodes.last().map_or(&self.input, |node| &node.shape)
    }

    /// Returns the index of the node named `name`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// Returns all parameters with their full names (`conv1.weight`), in layer order.
    pub fn parameters(&self) -> impl Iterator<Item = (String, &ParameterSpec)> {
        self.nodes.iter().flat_map(|node| {
            node.parameters.iter().map(|parameter| (format!("{}.{}", node.name, parameter.name), parameter))
        })
    }

    /// Returns, for every node, the nodes that read its output, in order.
    pub fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            for edge in &node.inputs {
                if let Origin::Node(from) = edge.from {
                    readers[from].push(index);
                }
            }
        }
        readers
    }

    /// Returns whether there is a delayed edge, which rules out running time layer by layer.
    pub fn is_recurrent(&self) -> bool {
        self.nodes.iter().flat_map(|node| &node.inputs).any(|edge| edge.delayed)
    }
}

fn check_name(name: &str, before: &[String]) -> Result<(), String> {
    if name.is_empty() || name.contains(['.', '/']) || name == EdgeSpec::INPUT {
        return Err(format!(
            "the name {name:?} is not valid: expected a string without `.` and `/`, other than \"input\""
        ));
    }
    match before.iter().any(|other| other == name) {
        true => Err(format!("there is already a layer named {name:?}")),
        false => Ok(()),
    }
}

/// Resolves the inputs of the layer at `index`; later layers can be read by delayed edges only.
fn edges(layer: &LayerSpec, index: usize, names: &[String]) -> Result<Vec<Edge>, String> {
    let before = match index {
        0 => Origin::Input,
        _ => Origin::Node(index - 1),
    };
    if layer.from.is_empty() {
        return Ok(vec![Edge { from: before, delayed: false }]);
    }
    let edge = |edge: &EdgeSpec| {
        let EdgeSpec { node, delayed } = edge;
        let position = names.iter().position(|name| name == node);
        match position {
            None if node == EdgeSpec::INPUT => Ok(Edge { from: Origin::Input, delayed: *delayed }),
            Some(from) if *delayed || from < index => Ok(Edge { from: Origin::Node(from), delayed: *delayed }),
            Some(_) => Err(format!(
                "it reads {node:?}, which comes later: put that layer first, or read it one timestep later with {{ node = \
                 {node:?}, delayed = true }}"
            )),
            None => Err(format!(
                "it reads {node:?}, but there is no layer with this name; available: input, {}",
                names.join(", ")
            )),
        }
    };
    layer.from.iter().map(edge).collect()
}

fn layer_error(index: usize, layer: &LayerSpec, cause: String) -> NetworkError {
    NetworkError::Layer { number: index + 1, kind: layer.kind.type_name().to_string(), cause }
}

/// Counts the elements of a tensor; an error if there are implausibly many.
fn elements(tensor: &str, shape: &[i64]) -> Result<usize, String> {
    let count = shape.iter().try_fold(1, |count: i64, &size| count.checked_mul(size));
    match count.map(usize::try_from) {
        Some(Ok(count)) if count <= MOST_ELEMENTS => Ok(count),
        _ => Err(format!("{tensor} {} has more than {MOST_ELEMENTS} elements: choose smaller sizes", show(shape))),
    }
}
