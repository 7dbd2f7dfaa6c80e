//! The network itself.

use tch::nn::Path;
use tch::{Device, Kind, Tensor};
use tch_spiking_core::spec::shape::show;
use tch_spiking_core::spec::{Graph, LayerKind, NetworkError, NetworkSpec, Origin};

use super::parameters::{Context, Filling};
use super::{Layer, Parameters, State};
use crate::error::Result;

/// Layers with their parameters, in the order in which they are computed; most read the one before, some several others.
///
/// | call | computes |
/// |---|---|
/// | [`forward_training`](Self::forward_training) | rates, with dropout and the statistics of the batch; differentiable |
/// | [`forward_rates`](Self::forward_rates) | rates, without dropout, with running statistics |
/// | [`simulate`](Self::simulate) | spikes, `T` timesteps from a fresh state, what is probed recorded |
/// | [`step`](Self::step) | spikes, one timestep, for input that streams in |
/// | [`forward`](crate::engine::forward) | what all of these do, in any mode, observed layer by layer |
#[derive(Debug)]
pub struct Network {
    spec: NetworkSpec,
    seed: u64,
    layers: Vec<Layer>,
    kind: Kind,
    /// For each layer, the last one that reads it.
    last_reader: Vec<usize>,
    recurrent: bool,
}

impl Network {
    /// Builds `spec` with parameters under `path` (of its kind, on its device): weights, tunings and initial voltages drawn
    /// from `seed`.
    ///
    /// # Errors
    /// Naming the first layer that does not fit, and why.
    pub fn new(path: &Path, spec: &NetworkSpec, seed: u64) -> Result<Self> {
        Self::build(path, spec, seed, Filling::Declared)
    }

    /// The same without random weights, which are about to be overwritten.
    pub(crate) fn undrawn(path: &Path, spec: &NetworkSpec, seed: u64) -> Result<Self> {
        Self::build(path, spec, seed, Filling::Undrawn)
    }

    fn build(path: &Path, spec: &NetworkSpec, seed: u64, filling: Filling) -> Result<Self> {
        let kind = path.kind();
        if !matches!(kind, Kind::Float | Kind::Double) {
            return Err(NetworkError::Specification(format!("parameters of {kind:?}: expected Float or Double")).into());
        }
        let graph = Graph::new(spec)?;
        let last_reader = graph.readers().iter().map(|readers| readers.last().copied().unwrap_or(usize::MAX)).collect();
        let recurrent = graph.is_recurrent();
        let context = |index| Context { path, index, seed, filling };
        let layers = graph.nodes.into_iter().enumerate().map(|(index, node)| Layer::new(node, spec, &context(index)));
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self { spec: spec.clone(), seed, layers, kind, last_reader, recurrent })
    }

    /// What it was built from.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// The seed that it was built with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The layers in the order in which they are computed.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The layer of this name.
    pub fn layer(&self, name: &str) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.name() == name)
    }

    /// The last layer that reads the one at `index`; the largest number for the output.
    pub(crate) fn last_reader(&self, index: usize) -> usize {
        self.last_reader[index]
    }

    /// Whether a layer reads another's output of the timestep before.
    pub fn is_recurrent(&self) -> bool {
        self.recurrent
    }

    /// The shape of one sample of output.
    pub fn output_shape(&self) -> &[i64] {
        self.layers.last().map_or(&[], Layer::output_shape)
    }

    /// The shape of one sample of what comes from `origin`.
    pub fn shape_of(&self, origin: Origin) -> &[i64] {
        match origin {
            Origin::Input => &self.spec.input,
            Origin::Node(index) => self.layers[index].output_shape(),
        }
    }

    /// All parameters by name (`conv1.weight`), in the order of the layers; trainable ones require a gradient.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        let named = |layer: &Layer| -> Vec<_> {
            let of_layer = layer.named_parameters().into_iter();
            of_layer.map(|(name, tensor)| (format!("{}.{name}", layer.name()), tensor.shallow_clone())).collect()
        };
        self.layers.iter().flat_map(named).collect()
    }

    /// The parameter called `name` (`conv1.weight`), to read or to set with `copy_` without gradients.
    pub fn parameter(&self, name: &str) -> Option<Tensor> {
        let (layer, parameter) = name.rsplit_once('.')?;
        let tensors = self.layer(layer)?.named_parameters();
        tensors.into_iter().find(|(name, _)| *name == parameter).map(|(_, tensor)| tensor.shallow_clone())
    }

    fn any_parameter(&self) -> Option<&Tensor> {
        self.layers.iter().find_map(|layer| layer.parameters.tensors().into_iter().next())
    }

    /// The device that the parameters are on.
    pub fn device(&self) -> Device {
        self.any_parameter().map_or(Device::Cpu, Tensor::device)
    }

    /// The kind of the parameters, and so of inputs.
    pub fn kind(&self) -> Kind {
        self.any_parameter().map_or(self.kind, Tensor::kind)
    }

    /// A fresh state for `batch` samples: initial voltages, no refractory times, empty filters.
    ///
    /// # Errors
    /// If `batch` is below 1 or memory runs out.
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
                    (0..synapse.state_len()).map(|_| zeros()).collect::<Result<_, _>>()?
                }
                _ => vec![],
            })
        };
        let layers = self.layers.iter().map(of_layer).collect::<Result<_>>()?;
        Ok(State { batch, step: 0, first_sample: 0, layers })
    }

    /// Checks that `input` is `[.., input]` with `leading` dimensions before the sample, of this kind and on the network's device.
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
