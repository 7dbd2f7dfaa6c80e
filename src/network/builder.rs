//! Builds network specifications in code.

use tch::nn::Path;
use tch::{TchError, Tensor};

use tch_spiking_core::spec::{
    BatchNorm, Dropout, EdgeSpec, InitialVoltage, LayerKind, LayerSpec, Layers, Linear, NetworkSpec, Pool,
};

use super::custom::Closure;
use super::{Network, custom};
use crate::error::Result;

/// Builds a [`Network`] layer by layer; shapes are inferred.
///
/// ```
/// use tch::{Device, nn};
/// use tch_spiking::neuron::Lif;
/// use tch_spiking::network::{Builder, Conv2d, NeuronSpec};
///
/// let vs = nn::VarStore::new(Device::Cpu);
/// let net = Builder::new([1, 28, 28])
///     .layer(Conv2d::new(8, 5).stride(2))
///     .layer(NeuronSpec::new(Lif::default()).tuned(100.0, 0.0))
///     .flatten()
///     .linear(10)
///     .lowpass(0.1)
///     .build(&vs.root(), 0)?;
/// assert_eq!(net.layers()[0].output_shape(), [8, 12, 12]);
/// # Ok::<(), tch_spiking::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    /// All but the layers.
    spec: NetworkSpec,
    layers: Layers,
}

impl Builder {
    /// Starts a network for samples of this shape: `[C, H, W]`, or `[features]`.
    pub fn new(input: impl Into<Vec<i64>>) -> Self {
        Self { spec: NetworkSpec::new(input), layers: Layers::default() }
    }

    /// Adds any layer: a [`Conv2d`](super::Conv2d), [`Linear`], [`NeuronSpec`](super::NeuronSpec),
    /// [`Synapse`](crate::Synapse), [`LayerKind`] ..
    pub fn layer(mut self, layer: impl Into<LayerSpec>) -> Self {
        self.layers.push(layer.into());
        self
    }

    /// Adds a layer with a custom name, which is part of its parameters' names (`name.weight`).
    pub fn named_layer(self, name: impl Into<String>, layer: impl Into<LayerSpec>) -> Self {
        self.layer(layer.into().named(name))
    }

    /// Adds neurons whose output comes back to their input a timestep later, through the layer `back`, which keeps its shape:
    /// for all-to-all connections a [`Linear`] of as many features as there are neurons.
    ///
    /// ```
    /// use tch::{Device, nn};
    /// use tch_spiking::network::{Builder, Linear, NeuronSpec};
    /// use tch_spiking::neuron::Lif;
    ///
    /// let vs = nn::VarStore::new(Device::Cpu);
    /// let hidden = NeuronSpec::new(Lif::default());
    /// let net = Builder::new([28]).linear(128).recurrent(hidden, Linear::new(128)).linear(10).build(&vs.root(), 0)?;
    /// assert!(net.is_recurrent());
    /// assert_eq!(net.parameter("lif1_back.weight").map(|weight| weight.size()), Some(vec![128, 128]));
    /// # Ok::<(), tch_spiking::Error>(())
    /// ```
    pub fn recurrent(mut self, neurons: impl Into<LayerSpec>, back: impl Into<LayerSpec>) -> Self {
        self.layers.push_recurrent(neurons.into(), Some(back.into()));
        self
    }

    /// Adds neurons whose output is added to their input a timestep later: one to one, with the weight 1.
    pub fn recurrent_one_to_one(mut self, neurons: impl Into<LayerSpec>) -> Self {
        self.layers.push_recurrent(neurons.into(), None);
        self
    }

    /// Adds a linear layer with a bias.
    pub fn linear(self, out_features: i64) -> Self {
        self.layer(Linear::new(out_features))
    }

    /// Adds a flatten layer, from images to features.
    pub fn flatten(self) -> Self {
        self.layer(LayerKind::Flatten)
    }

    /// Adds average pooling over `kernel` x `kernel` windows.
    pub fn avg_pool(self, kernel: i64) -> Self {
        self.layer(LayerKind::AvgPool(Pool::new(kernel)))
    }

    /// Adds max pooling over `kernel` x `kernel` windows.
    pub fn max_pool(self, kernel: i64) -> Self {
        self.layer(LayerKind::MaxPool(Pool::new(kernel)))
    }

    /// Adds a ReLU, `max(x, 0)` of analog values, not of spikes.
    pub fn relu(self) -> Self {
        self.layer(LayerKind::Relu)
    }

    /// Adds the sum of nodes of one shape, by their names.
    pub fn add_layers(self, nodes: impl IntoIterator<Item = impl Into<EdgeSpec>>) -> Self {
        self.layer(LayerSpec::from(LayerKind::Add).reading(nodes))
    }

    /// Adds nodes one after the other along the first dimension (channels or features), by their names.
    pub fn concat_layers(self, nodes: impl IntoIterator<Item = impl Into<EdgeSpec>>) -> Self {
        self.layer(LayerSpec::from(LayerKind::Concat).reading(nodes))
    }

    /// Adds batch normalisation with PyTorch's defaults.
    pub fn batch_norm(self) -> Self {
        self.layer(BatchNorm::default())
    }

    /// Adds dropout with probability `p`.
    pub fn dropout(self, p: f64) -> Self {
        self.layer(Dropout::new(p))
    }

    /// Adds a lowpass filter of time constant `tau` (s).
    pub fn lowpass(self, tau: f64) -> Self {
        self.layer(crate::Synapse::Lowpass { tau })
    }

    /// Adds a custom tensor operation on a batch, `[B, ..]` to `[B, ..]`; its output shape is found by calling it.
    pub fn custom(
        self,
        label: impl Into<String>,
        operation: impl Fn(&Tensor) -> Result<Tensor, TchError> + Send + Sync + 'static,
    ) -> Self {
        self.layer(custom(Closure::new(label.into(), Box::new(operation))))
    }

    /// Sets the timestep (s); the default is 0.001.
    pub fn dt(mut self, dt: f64) -> Self {
        self.spec.dt = dt;
        self
    }

    /// Sets the default number of timesteps of an inference; 30 unless set.
    pub fn steps(mut self, steps: i64) -> Self {
        self.spec.steps = steps;
        self
    }

    /// Sets the initial membrane voltage; the default is uniform between 0 and 1.
    pub fn initial_voltage(mut self, initial_voltage: InitialVoltage) -> Self {
        self.spec.initial_voltage = initial_voltage;
        self
    }

    /// Returns the specification.
    pub fn into_spec(self) -> NetworkSpec {
        NetworkSpec { layers: self.layers.finish(), ..self.spec }
    }

    /// Builds the network with its parameters under `path`; all random values are drawn from `seed`.
    ///
    /// # Errors
    /// Returns an error that names the first layer that does not fit.
    pub fn build(self, path: &Path, seed: u64) -> Result<Network> {
        Network::new(path, &self.into_spec(), seed)
    }
}
