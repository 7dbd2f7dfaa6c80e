//! A layer of neurons with its tensors.

use tch::nn::Path;
use tch::{TchError, Tensor};
use tch_spiking_core::neuron::{Initial, Neuron};
use tch_spiking_core::spec::{NeuronSpec, NeuronValues};

use super::parameters::tensor;

/// A layer of neurons: the model and its tensors, of the layer's shape.
///
/// The firing rate scale is applied here: the gain is multiplied by it and the model's amplitude divided. The bias,
/// which is trained and saved unscaled, is multiplied at every use.
#[derive(Debug)]
pub(crate) struct Neurons {
    /// The specification's model with its amplitude divided by the firing rate scale.
    pub model: Neuron,
    /// The bias, unscaled, as trained and saved.
    pub bias: Tensor,
    /// Learned parameters of the model, `[1]` each.
    pub learned: Vec<Tensor>,
    pub initial_voltage: Tensor,
    gain: Tensor,
    scale: f64,
}

impl Neurons {
    pub(super) fn new(
        spec: &NeuronSpec,
        values: NeuronValues,
        bias: Tensor,
        learned: Vec<Tensor>,
        shape: &[i64],
        path: &Path,
    ) -> Result<Self, TchError> {
        let make = |values: &[f64]| tensor(values, shape, path);
        let (gain, initial_voltage) = (make(&values.gain)?, make(&values.voltage)?);
        Ok(Self { model: values.model, bias, learned, initial_voltage, gain, scale: spec.firing_rate_scale })
    }

    /// Returns the gain in the dtype and on the device of `like` (it is not a variable, so the variable store
    /// does not move it).
    pub(crate) fn gain_like(&self, like: &Tensor) -> Result<Tensor, TchError> {
        self.gain.f_to_device(like.device())?.f_to_kind(like.kind())
    }

    /// Computes the current without input; differentiable with respect to the bias.
    pub(crate) fn resting_current(&self) -> Result<Tensor, TchError> {
        if self.scale == 1.0 { Ok(self.bias.shallow_clone()) } else { self.bias.f_mul_scalar(self.scale) }
    }

    /// Creates the initial state variables of `batch` samples, `[B, S]` each.
    pub(super) fn start(&self, batch: i64) -> Result<Vec<Tensor>, TchError> {
        let options = (self.bias.kind(), self.bias.device());
        let shape = [&[batch], self.bias.size().as_slice()].concat();
        let variable = |initial: Initial| match initial {
            Initial::Voltage => {
                let voltage = self.initial_voltage.f_to_device(options.1)?.f_to_kind(options.0)?;
                // A copy: a batch of one would otherwise share memory with the network.
                voltage.f_expand(&shape, false)?.f_detach_copy()?.f_contiguous()
            }
            Initial::Value(value) => Tensor::f_full(&shape, value, options),
        };
        self.model.state().iter().map(|state| variable(state.initial)).collect()
    }
}
