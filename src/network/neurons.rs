//! A layer of neurons with its tensors.

use tch::nn::Path;
use tch::{Kind, TchError, Tensor};
use tch_spiking_core::neuron::{Initial, Neuron, Trained};
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
    /// Of each parameter of the model that training can change: its trained tensor, or its value.
    learned: Vec<LearnedParameter>,
    pub initial_voltage: Tensor,
    gain: Tensor,
    scale: f64,
}

/// A parameter that training can change.
#[derive(Debug)]
enum LearnedParameter {
    /// It is trained: the variable, `[1]` or of the layer's shape.
    Trained { stored: Tensor, trained: Trained },
    /// It keeps its value.
    Fixed(f64),
}

impl Neurons {
    /// `trained` gives the variable of each parameter that the specification trains, by the tensor's name.
    pub(super) fn new(
        spec: &NeuronSpec,
        values: NeuronValues,
        bias: Tensor,
        mut trained: impl FnMut(&str) -> Option<Tensor>,
        dt: f64,
        path: &Path,
    ) -> Result<Self, TchError> {
        let shape = bias.size();
        let make = |values: &[f64]| tensor(values, &shape, path);
        let parameters = values.model.learned().iter().zip(values.model.learned_values(dt));
        let learned = parameters.map(|(learned, value)| match trained(&learned.tensor_name()) {
            Some(stored) => LearnedParameter::Trained { stored, trained: learned.trained },
            None => LearnedParameter::Fixed(value),
        });
        let learned = learned.collect();
        let (gain, initial_voltage) = (make(&values.gain)?, make(&values.voltage)?);
        Ok(Self { model: values.model, bias, learned, initial_voltage, gain, scale: spec.firing_rate_scale })
    }

    /// Returns the gain in the dtype and on the device of `like` (it is not a variable, so the variable store
    /// does not move it).
    pub(crate) fn gain_like(&self, like: &Tensor) -> Result<Tensor, TchError> {
        self.gain.f_to_device(like.device())?.f_to_kind(like.kind())
    }

    /// Computes the values of the parameters that training can change, `[1]` or of the layer's shape, in the dtype and on the
    /// device of `like`; differentiable with respect to those that are trained.
    pub(crate) fn learned_like(&self, like: &Tensor) -> Result<Vec<Tensor>, TchError> {
        let options = (like.kind(), like.device());
        let value = |parameter: &LearnedParameter| match parameter {
            LearnedParameter::Trained { stored, trained: Trained::Value } => {
                stored.f_to_device(options.1)?.f_to_kind(options.0)
            }
            // In double precision, so that all engines get the same value.
            LearnedParameter::Trained { stored, trained: Trained::Logit } => {
                stored.f_to_device(options.1)?.f_to_kind(Kind::Double)?.f_sigmoid()?.f_to_kind(options.0)
            }
            LearnedParameter::Fixed(value) => Tensor::f_full([1], *value, options),
        };
        self.learned.iter().map(value).collect()
    }

    /// Returns, of each parameter that training can change, its value if it is not trained.
    pub(crate) fn fixed_values(&self) -> impl Iterator<Item = Option<f64>> {
        self.learned.iter().map(|parameter| match parameter {
            LearnedParameter::Trained { .. } => None,
            LearnedParameter::Fixed(value) => Some(*value),
        })
    }

    /// Returns the variables of the parameters that are trained.
    pub(super) fn trained(&self) -> impl Iterator<Item = &Tensor> {
        self.learned.iter().filter_map(|parameter| match parameter {
            LearnedParameter::Trained { stored, .. } => Some(stored),
            LearnedParameter::Fixed(_) => None,
        })
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
