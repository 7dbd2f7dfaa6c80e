//! What running a network needs: memory and multiplications, known before anything is allocated.

use super::{Edge, Graph, LayerKind, Node, Origin, Section};

/// What running a network needs. Memory is counted in numbers, all but the parameters per sample.
///
/// ```
/// use tch_spiking_core::spec::{Graph, NetworkSpec};
///
/// let demand = Graph::new(&NetworkSpec::reference())?.demand();
/// assert!(demand.parameters > 100_000 && demand.multiplications > 1_000_000);
/// # Ok::<(), tch_spiking_core::spec::NetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Parameters, and the gains and initial voltages of neurons.
    pub parameters: u128,
    /// Outputs of all layers at one timestep; a training step keeps them.
    pub activations: u128,
    /// The most outputs at one timestep that are alive at a time: a layer's own and all that is still to be read.
    pub widest: u128,
    /// State of neurons and synapses.
    pub state: u128,
    /// Multiplications of one timestep.
    pub multiplications: u128,
}

impl Graph {
    /// Returns what running the network needs.
    pub fn demand(&self) -> Demand {
        let mut demand = Demand { widest: count(&self.input), ..Demand::default() };
        for node in &self.nodes {
            let output = count(&node.shape);
            let (own, state) = neurons(node, output);
            demand.parameters += own + node.parameters.iter().map(|parameter| count(&parameter.shape)).sum::<u128>();
            demand.activations += output;
            demand.state += state;
            demand.multiplications += multiplications(node, output);
        }
        let sections = self.sections();
        // For each node the last section that reads it; the output is kept to the end.
        let mut last = vec![None; self.nodes.len()];
        for (position, section) in sections.iter().enumerate() {
            for edge in self.edges(section) {
                if let Origin::Node(from) = edge.from {
                    last[from] = Some(position);
                }
            }
        }
        if let Some(output) = last.last_mut() {
            *output = None;
        }
        // Outputs of earlier sections that are still to be read, and those that a section is the last to read.
        let (mut kept, mut released) = (0, vec![0; sections.len()]);
        for (position, section) in sections.iter().enumerate() {
            let input = if self.edges(section).any(|edge| edge.from == Origin::Input) { count(&self.input) } else { 0 };
            let output: u128 = section.nodes().iter().map(|&node| count(&self.nodes[node].shape)).sum();
            demand.widest = demand.widest.max(output + kept + input);
            kept -= released[position];
            for &node in section.nodes() {
                let output = count(&self.nodes[node].shape);
                match last[node] {
                    Some(last) if last <= position => {}
                    Some(last) => {
                        kept += output;
                        released[last] += output;
                    }
                    None => kept += output,
                }
            }
        }
        demand
    }

    /// The inputs of a section's nodes.
    fn edges<'a>(&'a self, section: &'a Section) -> impl Iterator<Item = &'a Edge> {
        section.nodes().iter().flat_map(|&node| &self.nodes[node].inputs)
    }
}

fn count(shape: &[i64]) -> u128 {
    shape.iter().map(|size| u128::from(size.unsigned_abs())).product()
}

/// The numbers that a layer keeps beside its parameters, and those of its state for a sample.
fn neurons(node: &Node, output: u128) -> (u128, u128) {
    match &node.kind {
        LayerKind::Neuron(neurons) => (2 * output, output * neurons.model.state().len() as u128),
        LayerKind::Synapse(synapse) => (0, output * synapse.synapse.state_len() as u128),
        LayerKind::Conv2d(_)
        | LayerKind::Linear(_)
        | LayerKind::AvgPool(_)
        | LayerKind::MaxPool(_)
        | LayerKind::Flatten
        | LayerKind::Dropout(_)
        | LayerKind::Relu
        | LayerKind::LeakyRelu(_)
        | LayerKind::Scale(_)
        | LayerKind::BatchNorm(_)
        | LayerKind::Standardize(_)
        | LayerKind::Add
        | LayerKind::Concat
        | LayerKind::Custom(_) => (0, 0),
    }
}

fn multiplications(node: &Node, output: u128) -> u128 {
    let weights = node.parameters.first().map_or(0, |parameter| count(&parameter.shape));
    match &node.kind {
        // Every position has each weight once.
        LayerKind::Conv2d(_) => weights * count(node.shape.get(1..).unwrap_or(&[])),
        LayerKind::Linear(_) => weights,
        LayerKind::AvgPool(pool) | LayerKind::MaxPool(pool) => output * count(&[pool.kernel.0, pool.kernel.1]),
        LayerKind::Flatten
        | LayerKind::Dropout(_)
        | LayerKind::Relu
        | LayerKind::LeakyRelu(_)
        | LayerKind::Scale(_)
        | LayerKind::BatchNorm(_)
        | LayerKind::Standardize(_)
        | LayerKind::Neuron(_)
        | LayerKind::Synapse(_)
        | LayerKind::Add
        | LayerKind::Concat
        | LayerKind::Custom(_) => output,
    }
}
