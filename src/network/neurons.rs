//! A layer of neurons, built.

use std::sync::Arc;

use rand::Rng;
use tch::nn::Path;
use tch::{TchError, Tensor};

use super::layer::{Context, elements, tensor};
use super::{InitialVoltage, NeuronSpec, streams};
use crate::error::Result;
use crate::neuron::Neuron;

/// A layer of neurons: the model and the tensors, of the layer's shape.
///
/// The firing rate scale is applied here and nowhere else: the model's amplitude is divided by it, the gain multiplied; the
/// bias, which is trained and saved, is not, but multiplied whenever it is used.
#[derive(Debug)]
pub(crate) struct Neurons {
    /// The specification's model with its amplitude divided by the firing rate scale.
    pub model: Arc<dyn Neuron>,
    /// As trained and saved.
    pub bias: Tensor,
    pub initial_voltage: Tensor,
    gain: Tensor,
    scale: f64,
}

impl Neurons {
    pub(super) fn new(name: &str, spec: &NeuronSpec, shape: &[i64], context: &Context) -> Result<Self, String> {
        let model = spec.scaled_model()?;
        let count = elements("output", shape)?;
        let (mut gain, bias) = spec.gain_bias(count, &mut streams::tuning(context.seed, context.index))?;
        gain.iter_mut().for_each(|gain| *gain *= spec.firing_rate_scale);
        let voltage: Vec<f64> = match context.initial_voltage {
            InitialVoltage::Zero => vec![0.0; count],
            InitialVoltage::Value(value) => vec![value; count],
            InitialVoltage::Uniform => {
                let mut rng = streams::voltage(context.seed, context.index);
                // 53 random bits, as many as an f64 holds.
                (0..count).map(|_| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64).collect()
            }
        };
        let path: &Path = &(context.path / name);
        let make = |values: &[f64]| tensor(values, shape, path).map_err(|error| error.to_string());
        let bias = path.add("bias", make(&bias)?, spec.trainable_bias);
        Ok(Self { model, gain: make(&gain)?, bias, initial_voltage: make(&voltage)?, scale: spec.firing_rate_scale })
    }

    /// What the input is multiplied by, in the kind and on the device of `like` (it is no variable, so the variable store
    /// does not move it).
    pub(crate) fn gain_like(&self, like: &Tensor) -> Result<Tensor, TchError> {
        self.gain.f_to_device(like.device())?.f_to_kind(like.kind())
    }

    /// The current without input; differentiable with respect to the bias.
    pub(crate) fn resting_current(&self) -> Result<Tensor, TchError> {
        if self.scale == 1.0 { Ok(self.bias.shallow_clone()) } else { self.bias.f_mul_scalar(self.scale) }
    }

    /// The stationary output, differentiable.
    pub(super) fn rates(&self, input: &Tensor) -> Result<Tensor> {
        self.model.rate(input, &self.gain_like(&self.bias)?, &self.resting_current()?)
    }
}
