//! The state of a network in inference: a plain value.

use tch::Tensor;

/// Voltages, refractory times and filter states of one batch, as of one moment.
///
/// Made by [`zero_state`](super::SpikingSequential::zero_state), moved on by [`step`](super::SpikingSequential::step).
/// Nothing of it is hidden in the network, so nothing can be forgotten to reset.
#[derive(Debug)]
pub struct State {
    pub(crate) batch: i64,
    /// For each layer its state variables, `[B, S]` each; none for layers without state.
    pub(crate) layers: Vec<Vec<Tensor>>,
}

impl State {
    /// How many images it is of.
    pub fn batch(&self) -> i64 {
        self.batch
    }

    /// The state tensors of the layer at `index`: for neurons in the order of
    /// [`state_names`](crate::neuron::Neuron::state_names), for synapses those of the filter.
    pub fn layer(&self, index: usize) -> &[Tensor] {
        self.layers.get(index).map_or(&[], Vec::as_slice)
    }

    /// An independent copy, to go on from one moment in several ways.
    pub fn copy(&self) -> Self {
        let copy = |tensors: &Vec<Tensor>| tensors.iter().map(Tensor::copy).collect();
        Self { batch: self.batch, layers: self.layers.iter().map(copy).collect() }
    }
}
