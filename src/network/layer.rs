//! A layer with its tensors, and its computation on a batch.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tch::{TchError, Tensor};
use tch_spiking_core::neuron::Output;
use tch_spiking_core::spec::{Edge, LayerKind, NetworkError, Node};

use super::parameters::{Context, Parameters};
use super::{NetworkSpec, custom, linear};
use crate::error::Result;

/// A layer of a [`Network`](super::Network).
#[derive(Debug)]
pub struct Layer {
    node: Node,
    pub(crate) parameters: Parameters,
}

impl Layer {
    pub(super) fn new(node: Node, spec: &NetworkSpec, context: &Context) -> Result<Self> {
        let fail = |cause: String| NetworkError::Layer {
            number: context.index + 1,
            kind: node.kind.type_name().to_string(),
            cause,
        };
        let neurons = match &node.kind {
            LayerKind::Neuron(neurons) => {
                let count = node.shape.iter().product::<i64>().unsigned_abs() as usize;
                Some(neurons.values(count, context.index, context.seed, spec.initial_voltage).map_err(fail)?)
            }
            _ => None,
        };
        let parameters = Parameters::new(&node, neurons, context)?;
        Ok(Self { node, parameters })
    }

    /// Returns the layer's name, such as `conv1`.
    pub fn name(&self) -> &str {
        &self.node.name
    }

    /// Returns the layer's type and settings.
    pub fn kind(&self) -> &LayerKind {
        &self.node.kind
    }

    /// Returns the layer's inputs.
    pub fn inputs(&self) -> &[Edge] {
        &self.node.inputs
    }

    /// Returns the output shape of one sample.
    pub fn output_shape(&self) -> &[i64] {
        &self.node.shape
    }

    /// Returns the number of neurons; 0 if it is not a layer of neurons.
    pub fn neurons(&self) -> i64 {
        match self.kind() {
            LayerKind::Neuron(_) => self.output_shape().iter().product(),
            _ => 0,
        }
    }

    /// Returns the number of neurons that spike; 0 if it is not a layer of neurons, or one whose model has no spikes.
    pub fn spiking_neurons(&self) -> i64 {
        match self.kind() {
            LayerKind::Neuron(neurons) if neurons.model.output() == Output::Values => 0,
            _ => self.neurons(),
        }
    }

    /// Returns the parameters by name within the layer, trainable or not.
    pub fn named_parameters(&self) -> Vec<(&str, &Tensor)> {
        let names = self.node.parameters.iter().map(|parameter| parameter.name.as_str());
        names.zip(self.parameters.tensors()).collect()
    }

    /// Applies the layer to `[B, ..]` in inference mode; neurons and synapses pass their input through.
    pub(crate) fn apply(&self, inputs: &[&Tensor]) -> Result<Tensor, TchError> {
        self.apply_in(inputs, false)
    }

    /// Applies the layer in a training step or in inference; the caller handles dropout and batch statistics.
    pub(crate) fn apply_in(&self, inputs: &[&Tensor], training: bool) -> Result<Tensor, TchError> {
        let Some(&input) = inputs.first() else {
            return Err(TchError::Shape(format!("layer {} has no input", self.name())));
        };
        match (self.kind(), &self.parameters) {
            (LayerKind::Conv2d(layer), Parameters::Affine { weight, bias }) => input.f_conv2d(
                &in_kind(weight, input)?,
                bias.as_ref().map(|bias| in_kind(bias, input)).transpose()?,
                layer.stride.to_array(),
                layer.padding.to_array(),
                layer.dilation.to_array(),
                layer.groups,
            ),
            (LayerKind::Linear(_), Parameters::Affine { weight, bias }) => {
                let bias = bias.as_ref().map(|bias| in_kind(bias, input)).transpose()?;
                linear(input, &in_kind(weight, input)?, bias.as_ref())
            }
            (LayerKind::AvgPool(pool), _) => {
                let padding = pool.padding.to_array();
                input.f_avg_pool2d(pool.kernel.to_array(), pool.step().to_array(), padding, false, true, None)
            }
            (LayerKind::MaxPool(pool), _) => {
                let padding = pool.padding.to_array();
                input.f_max_pool2d(pool.kernel.to_array(), pool.step().to_array(), padding, [1, 1], false)
            }
            (LayerKind::Flatten, _) => input.f_flatten(1, -1),
            (LayerKind::Relu, _) => input.f_relu(),
            (LayerKind::Scale(_), Parameters::Affine { weight, .. }) => input.f_mul(&in_kind(weight, input)?),
            (LayerKind::LeakyRelu(layer), _) => leaky_relu(input, layer.negative_slope),
            (LayerKind::BatchNorm(layer), Parameters::Normalization(tensors)) => tensors.apply(*layer, input),
            (LayerKind::Standardize(_), Parameters::Standardization(tensors)) => tensors.apply(input),
            (LayerKind::Add, _) => inputs[1..].iter().try_fold(input.shallow_clone(), |sum, other| sum.f_add(other)),
            (LayerKind::Concat, _) => Tensor::f_cat(inputs, 1),
            (LayerKind::Custom(layer), Parameters::Custom(parameters)) => {
                let parameters: Vec<&Tensor> = parameters.iter().collect();
                let output = custom::forward(layer, inputs, &parameters, training)?;
                self.check_custom(input, &output)?;
                Ok(output)
            }
            (LayerKind::Dropout(_) | LayerKind::Neuron(_) | LayerKind::Synapse(_), _) => Ok(input.shallow_clone()),
            (
                LayerKind::Conv2d(_)
                | LayerKind::Linear(_)
                | LayerKind::Scale(_)
                | LayerKind::BatchNorm(_)
                | LayerKind::Standardize(_)
                | LayerKind::Custom(_),
                _,
            ) => Err(TchError::Shape(format!("layer {} has no parameters", self.name()))),
        }
    }

    fn check_custom(&self, input: &Tensor, output: &Tensor) -> Result<(), TchError> {
        let expected = [&input.size()[..1], self.output_shape()].concat();
        match output.size() == expected {
            true => Ok(()),
            false => Err(TchError::Shape(format!(
                "custom layer {} gave {:?}, where it gave {expected:?} when the network was built",
                self.name(),
                output.size()
            ))),
        }
    }
}

/// Converts a parameter to the dtype of `input`, which differs from its own in mixed precision.
fn in_kind(parameter: &Tensor, input: &Tensor) -> Result<Tensor, TchError> {
    parameter.f_to_kind(input.kind())
}

fn leaky_relu(input: &Tensor, negative_slope: f64) -> Result<Tensor, TchError> {
    // tch's own leaky ReLU has no slope argument; this is equivalent, including the gradient at 0.
    input.f_prelu(&Tensor::f_from_slice(&[negative_slope])?.f_to_device(input.device())?.f_to_kind(input.kind())?)
}

/// Draws a dropout mask of shape `shape`: 0 with probability `p`, otherwise `1 / (1 - p)`.
pub(crate) fn dropout_mask(like: &Tensor, shape: &[i64], p: f64, mut rng: ChaCha8Rng) -> Result<Tensor, TchError> {
    let limit = (p * f64::from(u32::MAX)) as u32;
    let kept = (1.0 / (1.0 - p)) as f32;
    let count = shape.iter().product::<i64>();
    let mask: Vec<f32> = (0..count).map(|_| if rng.next_u32() < limit { 0.0 } else { kept }).collect();
    Tensor::f_from_slice(&mask)?.f_reshape(shape)?.f_to_kind(like.kind())?.f_to_device(like.device())
}
