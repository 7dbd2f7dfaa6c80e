//! The state of a network in inference: a plain value.

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};
use tch_spiking_core::neuron::Initial;
use tch_spiking_core::spec::NetworkError;

use super::{Network, Parameters};
use crate::error::Result;

/// Membrane voltages, refractory times, filter states and delayed activities of one batch at one time.
///
/// Created by [`zero_state`](Network::zero_state), advanced by [`step`](Network::step). The network itself has no
/// hidden state, so there is nothing to reset.
#[derive(Debug)]
pub struct State {
    pub(crate) batch: i64,
    /// Number of timesteps so far.
    pub(crate) step: u64,
    /// Index of the batch's first sample among all simulated samples. Noise depends on it, so that batches get
    /// different noise.
    pub(crate) first_sample: u64,
    /// For each layer its state variables, `[B, S]` each; empty for layers without state.
    pub(crate) layers: Vec<Vec<Tensor>>,
    /// For each source of a delayed connection its output at the last timestep, `[B, S]`; zeros at the start.
    pub(crate) delayed: Vec<Tensor>,
}

/// An initial membrane voltage that is set after the network was built.
#[derive(Debug)]
pub enum Voltage<'a> {
    /// The same for all neurons.
    Value(f64),
    /// Uniform between 0 and 1, drawn from this seed for every neuron of every sample.
    Uniform {
        /// The seed.
        seed: u64,
    },
    /// Given explicitly: `S`, or `[B, S]`.
    Given(&'a Tensor),
}

impl State {
    /// Returns the batch size.
    pub fn batch(&self) -> i64 {
        self.batch
    }

    /// Returns the number of timesteps so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Returns the state tensors of the layer at `index`: for neurons in the order of
    /// [`Neuron::state`](crate::neuron::Neuron::state), for synapses the filter's.
    pub fn layer(&self, index: usize) -> &[Tensor] {
        self.layers.get(index).map_or(&[], Vec::as_slice)
    }

    /// Returns an independent copy, to continue from one time in several ways.
    pub fn copy(&self) -> Self {
        let copy = |tensors: &Vec<Tensor>| tensors.iter().map(Tensor::copy).collect();
        Self { layers: self.layers.iter().map(copy).collect(), delayed: copy(&self.delayed), ..*self }
    }

    /// Sets the index of the first sample (default 0), on which the noise of noisy neurons depends.
    pub fn set_first_sample(&mut self, first_sample: u64) {
        self.first_sample = first_sample;
    }

    /// Sets the membrane voltage of the neurons of the layer named `layer`, or of all layers.
    ///
    /// ```
    /// use tch::{Device, Kind, Tensor, nn};
    /// use tch_spiking::{Network, NetworkSpec, network::Voltage};
    ///
    /// let vs = nn::VarStore::new(Device::Cpu);
    /// let network = Network::new(&vs.root(), &NetworkSpec::reference(), 0)?;
    /// let mut state = network.zero_state(2)?;
    /// state.set_voltage(&network, None, &Voltage::Value(0.5))?;
    /// state.set_voltage(&network, Some("lif1"), &Voltage::Uniform { seed: 1 })?;
    /// # Ok::<(), tch_spiking::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if there is no such layer, it has no membrane voltage, or the values have another shape.
    pub fn set_voltage(&mut self, network: &Network, layer: Option<&str>, voltage: &Voltage) -> Result<()> {
        let _without_gradient = tch::no_grad_guard();
        let mut set = false;
        for (index, (layers, tensors)) in network.layers().iter().zip(&mut self.layers).enumerate() {
            let Parameters::Neurons(neurons) = &layers.parameters else { continue };
            if layer.is_some_and(|name| name != layers.name()) {
                continue;
            }
            for (variable, tensor) in neurons.model.state().iter().zip(tensors) {
                if variable.initial == Initial::Voltage {
                    *tensor = values(tensor, voltage, index)?;
                    set = true;
                }
            }
        }
        match layer {
            Some(name) if !set => {
                let cause = format!("{name} is not a layer of neurons with a voltage");
                Err(NetworkError::State(cause).into())
            }
            _ => Ok(()),
        }
    }
}

fn values(like: &Tensor, voltage: &Voltage, layer: usize) -> Result<Tensor> {
    let fits = |tensor: &Tensor| like.size().ends_with(&tensor.size()) && tensor.dim() + 1 >= like.dim();
    let expand = |tensor: &Tensor| -> Result<Tensor, TchError> {
        tensor.f_to_kind(like.kind())?.f_to_device(like.device())?.f_expand_as(like)?.f_detach_copy()?.f_contiguous()
    };
    Ok(match voltage {
        Voltage::Value(value) => like.f_full_like(*value)?,
        Voltage::Uniform { seed } => {
            let mut rng = ChaCha8Rng::seed_from_u64(*seed);
            rng.set_stream(layer as u64);
            let values: Vec<f64> = (0..like.numel()).map(|_| rng.random()).collect();
            expand(&Tensor::f_from_slice(&values)?.f_reshape(like.size())?)?
        }
        Voltage::Given(tensor) if fits(tensor) => expand(tensor)?,
        Voltage::Given(tensor) => {
            let cause = format!("voltages of {:?} for a state of {:?}", tensor.size(), like.size());
            return Err(NetworkError::State(cause).into());
        }
    })
}
