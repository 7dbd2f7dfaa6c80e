//! The network itself.

use tch::nn::Path;
use tch::{Device, Kind, Tensor};
use tch_spiking_core::spec::shape::show;
use tch_spiking_core::spec::{Demand, Graph, LayerKind, NetworkError, NetworkSpec, Origin, Section};

use super::parameters::{Context, Filling};
use super::{Layer, Parameters, State};
use crate::device::check_memory;
use crate::error::Result;

/// A network: layers with their parameters, in evaluation order. Most layers read the previous one, some read several
/// others.
///
/// | call | computes |
/// |---|---|
/// | [`forward_training`](Self::forward_training) | rates, with dropout and the statistics of the batch; differentiable |
/// | [`forward_rates`](Self::forward_rates) | rates, without dropout, with running statistics |
/// | [`simulate`](Self::simulate) | spikes, `T` timesteps from a fresh state, with probes recorded |
/// | [`step`](Self::step) | spikes, one timestep, for input that streams in |
/// | [`forward`](crate::engine::forward) | all of these: any mode, with an observer called for every layer |
#[derive(Debug)]
pub struct Network {
    spec: NetworkSpec,
    seed: u64,
    layers: Vec<Layer>,
    kind: Kind,
    /// All layers in the order of computation.
    sections: Vec<Section>,
    /// For each layer, the index of the last section that reads it.
    last_reader: Vec<usize>,
    /// What is read a timestep later, each once.
    delayed: Vec<Origin>,
    demand: Demand,
}

impl Network {
    /// Builds `spec` with parameters under `path` (of its dtype, on its device). Weights, tunings and initial voltages
    /// are drawn from `seed`.
    ///
    /// Returns an error that names the first layer that does not fit, and why. Naming the first layer that does not
    /// fit, and why.
    pub fn new(path: &Path, spec: &NetworkSpec, seed: u64) -> Result<Self> {
        Self::build(path, spec, seed, Filling::Declared)
    }

    /// Builds the network without drawing weights, which are about to be overwritten.
    pub(crate) fn undrawn(path: &Path, spec: &NetworkSpec, seed: u64) -> Result<Self> {
        Self::build(path, spec, seed, Filling::Undrawn)
    }

    fn build(path: &Path, spec: &NetworkSpec, seed: u64, filling: Filling) -> Result<Self> {
        let kind = path.kind();
        if !matches!(kind, Kind::Float | Kind::Double) {
            return Err(NetworkError::Specification(format!("parameters of {kind:?}: expected Float or Double")).into());
        }
        let graph = Graph::new(spec)?;
        let (sections, demand) = (graph.sections(), graph.demand());
        check_memory("the network", &[("parameters", demand.parameters * element_size(kind))])?;
        let (last_reader, delayed) = (last_readers(&graph, &sections), delayed(&graph));
        let context = |index| Context { path, index, seed, dt: spec.dt, filling };
        let layers = graph.nodes.into_iter().enumerate().map(|(index, node)| Layer::new(node, spec, &context(index)));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { spec: spec.clone(), seed, layers, kind, sections, last_reader, delayed, demand })
    }

    /// Returns the specification.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the layers in evaluation order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Returns the layer named `name`.
    pub fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name() == name)
    }

    /// Returns all layers in the order of computation.
    pub(crate) fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Returns the index of the last section that reads the layer at `index`; `usize::MAX` for the output.
    pub(crate) fn last_reader(&self, index: usize) -> usize {
        self.last_reader[index]
    }

    /// Returns what is read a timestep later, each once, in the order of a state's delayed activities.
    pub(crate) fn delayed(&self) -> &[Origin] {
        &self.delayed
    }

    /// Returns whether a layer reads another layer's output of the previous timestep.
    pub fn is_recurrent(&self) -> bool {
        !self.delayed.is_empty()
    }

    /// Returns what running the network needs.
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// The parts of the memory (bytes) that a pass of so many samples and timesteps needs at a time: with a gradient all
    /// activities and their gradients, otherwise the widest place of the network.
    ///
    /// # Errors
    /// If they are more than the limit. Memory of other devices than the CPU is not limited.
    pub(crate) fn check_pass(&self, samples: i64, steps: i64, gradient: bool) -> Result<()> {
        if self.device() != Device::Cpu {
            return Ok(());
        }
        let (Demand { parameters, activations, widest, state, .. }, element) = (self.demand, element_size(self.kind()));
        let samples = u128::from(samples.unsigned_abs()) * element;
        let (what, alive) = if gradient { ("training", 2 * activations) } else { ("running", widest) };
        let parts = [
            ("parameters", parameters * element),
            ("activations", alive * samples * u128::from(steps.unsigned_abs())),
            ("state", state * samples),
        ];
        Ok(check_memory(&format!("{what} the network on a batch of {} samples", samples / element), &parts)?)
    }

    /// Returns the output shape of one sample.
    pub fn output_shape(&self) -> &[i64] {
        self.layers.last().map_or(&[], Layer::output_shape)
    }

    /// Returns the shape of one sample of the data from `origin`.
    pub fn shape_of(&self, origin: Origin) -> &[i64] {
        match origin {
            Origin::Input => &self.spec.input,
            Origin::Node(index) => self.layers[index].output_shape(),
        }
    }

    /// Returns all parameters by name (`conv1.weight`), in layer order; trainable ones require a gradient.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let named = |layer: &Layer| -> Vec<_> {
            let of_layer = layer.named_parameters().into_iter();
            of_layer.map(|(name, tensor)| (format!("{}.{name}", layer.name()), tensor.shallow_clone())).collect()
        };
        self.layers.iter().flat_map(named).collect()
    }

    /// Returns the parameter named `name` (`conv1.weight`), for reading or for setting with `copy_` under `no_grad`.
    pub fn parameter(&self, name: &str) -> Option<Tensor> {
        let (layer, parameter) = name.rsplit_once('.')?;
        let tensors = self.layer(layer)?.named_parameters();
        tensors.into_iter().find(|(name, _)| *name == parameter).map(|(_, tensor)| tensor.shallow_clone())
    }

    /// Bytes of a number of the network.
    pub(crate) fn element_size(&self) -> u128 {
        element_size(self.kind())
    }

    fn any_parameter(&self) -> Option<&Tensor> {
        self.layers.iter().find_map(|layer| layer.parameters.tensors().into_iter().next())
    }

    /// Returns the device of the parameters.
    pub fn device(&self) -> Device {
        self.any_parameter().map_or(Device::Cpu, Tensor::device)
    }

    /// Returns the dtype of the parameters, which is the dtype of inputs.
    pub fn kind(&self) -> Kind {
        self.any_parameter().map_or(self.kind, Tensor::kind)
    }

    /// Creates a fresh state for `batch` samples: initial voltages, no refractory periods, empty filters, and nothing that
    /// delayed connections remember.
    ///
    /// # Errors
    /// Returns an error if `batch` is below 1 or memory runs out.
    pub fn zero_state(&self, batch: i64) -> Result<State> {
        if batch < 1 {
            return Err(NetworkError::State(format!("a batch of {batch} samples")).into());
        }
        let _without_gradient = tch::no_grad_guard();
        let options = (self.kind(), self.device());
        let of_layer = |layer: &Layer| -> Result<Vec<Tensor>> {
            let zeros = || Tensor::f_zeros([&[batch], layer.output_shape()].concat(), options);
            Ok(match (&layer.parameters, layer.kind()) {
                (Parameters::Neurons(neurons), _) => neurons.start(batch)?,
                (_, LayerKind::Synapse(synapse)) => {
                    (0..synapse.synapse.state_len()).map(|_| zeros()).collect::<Result<_, _>>()?
                }
                _ => vec![],
            })
        };
        let layers = self.layers.iter().map(of_layer).collect::<Result<_>>()?;
        let zeros = |origin: &Origin| Tensor::f_zeros([&[batch], self.shape_of(*origin)].concat(), options);
        let delayed = self.delayed.iter().map(zeros).collect::<Result<_, _>>()?;
        Ok(State { batch, step: 0, first_sample: 0, layers, delayed })
    }

    /// Checks that `input` is `[.., input]` with `leading` dimensions before the sample, of this dtype and on the
    /// network's device.
    pub(crate) fn check_input(&self, input: &Tensor, leading: usize, kind: Kind) -> Result<(), NetworkError> {
        let size = input.size();
        let fits = size.len() == leading + self.spec.input.len() && size.ends_with(&self.spec.input);
        let empty = size.iter().take(leading).any(|&size| size < 1);
        let device = self.device();
        if fits && !empty && input.kind() == kind && input.device() == device {
            return Ok(());
        }
        let dimensions = if leading == 1 { "batch" } else { "steps x batch" };
        Err(NetworkError::Input {
            expected: format!("{dimensions} x {} of {kind:?} on {device:?}", show(&self.spec.input)),
            found: format!("{} of {:?} on {:?}", show(&size), input.kind(), input.device()),
        })
    }
}

/// For each node, the index of the last section that reads it; the output is kept to the end.
fn last_readers(graph: &Graph, sections: &[Section]) -> Vec<usize> {
    let mut last: Vec<Option<usize>> = vec![None; graph.nodes.len()];
    for (position, section) in sections.iter().enumerate() {
        for edge in section.nodes().iter().flat_map(|&node| &graph.nodes[node].inputs) {
            if let Origin::Node(from) = edge.from {
                last[from] = Some(position);
            }
        }
    }
    if let Some(output) = last.last_mut() {
        *output = None;
    }
    last.into_iter().map(|last| last.unwrap_or(usize::MAX)).collect()
}

/// The sources of delayed edges, each once.
fn delayed(graph: &Graph) -> Vec<Origin> {
    let mut sources = Vec::new();
    for edge in graph.nodes.iter().flat_map(|node| &node.inputs).filter(|edge| edge.delayed) {
        if !sources.contains(&edge.from) {
            sources.push(edge.from);
        }
    }
    sources
}

/// Bytes of a number of this dtype, which is one of a network.
fn element_size(kind: Kind) -> u128 {
    if kind == Kind::Double { 8 } else { 4 }
}
