//! One layer, built: its parameters and what it computes on a batch.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tch::nn::Path;
use tch::{Kind, TchError, Tensor};

use super::batch_norm::Normalization;
use super::layer_spec::{Custom, LayerKind, Pool};
use super::neurons::Neurons;
use super::shape::{output_shape, show};
use super::{InitialVoltage, Initializer, streams};
use crate::error::Result;

/// A layer of a [`SpikingSequential`](super::SpikingSequential).
#[derive(Debug)]
pub struct Layer {
    name: String,
    kind: LayerKind,
    output_shape: Vec<i64>,
    pub(crate) parameters: Parameters,
}

/// The tensors of a layer.
#[derive(Debug)]
pub(crate) enum Parameters {
    None,
    /// Of a convolution or a linear layer.
    Affine {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    /// Of a batch normalisation.
    Normalization(Normalization),
    /// Of a layer of neurons.
    Neurons(Neurons),
}

/// What a layer is built from beside its specification.
pub(super) struct Context<'a> {
    pub path: &'a Path<'a>,
    pub index: usize,
    pub seed: u64,
    pub initial_voltage: InitialVoltage,
}

impl Layer {
    pub(super) fn new(name: String, kind: LayerKind, input: &[i64], context: &Context) -> Result<Self, String> {
        elements("input", input)?;
        let shape = match &kind {
            LayerKind::Custom(custom) => custom_shape(custom, input, context.path)?,
            kind => output_shape(kind, input)?,
        };
        elements("output", &shape)?;
        let parameters = match &kind {
            LayerKind::Conv2d(layer) => {
                let weight = [layer.out_channels, input[0] / layer.groups, layer.kernel.0, layer.kernel.1];
                affine(&name, &weight, layer.bias, layer.init, context)
            }
            LayerKind::Linear(layer) => affine(&name, &[layer.out_features, input[0]], layer.bias, layer.init, context),
            LayerKind::BatchNorm(layer) => {
                let made = Normalization::new(*layer, input[0], &(context.path / &name));
                made.map(Parameters::Normalization).map_err(|error| error.to_string())
            }
            LayerKind::Neuron(neurons) => Neurons::new(&name, neurons, &shape, context).map(Parameters::Neurons),
            _ => Ok(Parameters::None),
        }?;
        Ok(Self { name, kind, output_shape: shape, parameters })
    }

    /// The layer's name: `conv1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it does.
    pub fn kind(&self) -> &LayerKind {
        &self.kind
    }

    /// The shape of one image behind it.
    pub fn output_shape(&self) -> &[i64] {
        &self.output_shape
    }

    /// How many neurons it has; 0 if it is no layer of neurons.
    pub fn neurons(&self) -> i64 {
        match self.kind {
            LayerKind::Neuron(_) => self.output_shape.iter().product(),
            _ => 0,
        }
    }

    /// Its parameters by name within the layer, trainable or not.
    pub fn named_parameters(&self) -> Vec<(&'static str, &Tensor)> {
        match &self.parameters {
            Parameters::None => vec![],
            Parameters::Affine { weight, bias } => {
                std::iter::once(("weight", weight)).chain(bias.iter().map(|bias| ("bias", bias))).collect()
            }
            Parameters::Normalization(tensors) => tensors.named(),
            Parameters::Neurons(neurons) => vec![("bias", &neurons.bias)],
        }
    }

    /// The layer as rates: differentiable, without time. `kind` is that of the parameters, `dropout` a random stream if this
    /// is a training step.
    pub(crate) fn rates(&self, input: &Tensor, kind: Kind, dropout: Option<ChaCha8Rng>) -> Result<Tensor> {
        match (&self.kind, &self.parameters, dropout) {
            (_, Parameters::Neurons(neurons), _) => neurons.rates(input),
            (LayerKind::BatchNorm(layer), Parameters::Normalization(tensors), Some(_)) => {
                tensors.train(*layer, input, &self.name)
            }
            (LayerKind::Dropout(dropout), _, Some(rng)) if dropout.p > 0.0 => {
                Ok(input.f_mul(&dropout_mask(input, dropout.p, rng)?)?)
            }
            // Written for the network's own kind.
            (LayerKind::Custom(_), ..) => Ok(self.apply(&input.f_to_kind(kind)?)?.f_to_kind(input.kind())?),
            _ => Ok(self.apply(input)?),
        }
    }

    /// A layer without state (any but neurons and synapses, which pass through here) on `[B, ..]`.
    pub(crate) fn apply(&self, input: &Tensor) -> Result<Tensor, TchError> {
        match (&self.kind, &self.parameters) {
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
                input.f_linear(&in_kind(weight, input)?, bias)
            }
            (LayerKind::AvgPool(Pool { kernel, stride, padding }), _) => {
                let stride = stride.unwrap_or(*kernel).to_array();
                input.f_avg_pool2d(kernel.to_array(), stride, padding.to_array(), false, true, None)
            }
            (LayerKind::MaxPool(Pool { kernel, stride, padding }), _) => {
                let stride = stride.unwrap_or(*kernel).to_array();
                input.f_max_pool2d(kernel.to_array(), stride, padding.to_array(), [1, 1], false)
            }
            (LayerKind::Flatten, _) => input.f_flatten(1, -1),
            (LayerKind::Relu, _) => input.f_relu(),
            (LayerKind::LeakyRelu(layer), _) => layer.apply(input),
            (LayerKind::BatchNorm(layer), Parameters::Normalization(tensors)) => tensors.apply(*layer, input),
            (LayerKind::Custom(custom), _) => {
                let output = custom.apply(input)?;
                let expected = [&input.size()[..1], &self.output_shape].concat();
                if output.size() != expected {
                    return Err(TchError::Shape(format!(
                        "custom layer {} gave {:?}, where it gave {expected:?} when the network was built",
                        self.name,
                        output.size()
                    )));
                }
                Ok(output)
            }
            _ => Ok(input.shallow_clone()),
        }
    }
}

/// A parameter in the kind of `input`, which differs from its own in mixed precision.
fn in_kind(parameter: &Tensor, input: &Tensor) -> Result<Tensor, TchError> {
    parameter.f_to_kind(input.kind())
}

fn affine(
    name: &str,
    weight_shape: &[i64],
    with_bias: bool,
    init: Initializer,
    context: &Context,
) -> Result<Parameters, String> {
    let count = elements("weight", weight_shape)?;
    let area: i64 = weight_shape[2..].iter().product();
    let (fan_in, fan_out) = ((weight_shape[1] * area) as f64, (weight_shape[0] * area) as f64);
    let values = init.sample(count, fan_in, fan_out, &mut streams::weights(context.seed, context.index));
    let path = context.path / name;
    let weight = tensor(&values, weight_shape, &path).and_then(|weight| match *weight_shape {
        [out, channels, height, width] => {
            // Channels last in memory: what libtorch's CPU convolutions are fastest with. The strides are spelt out since
            // with one channel both orders are the same, and libtorch would take it for channels first.
            let strides = [height * width * channels, 1, width * channels, channels];
            let options = (weight.kind(), weight.device());
            let mut channels_last = Tensor::f_empty_strided([out, channels, height, width], strides, options)?;
            channels_last.f_copy_(&weight)?;
            Ok(channels_last)
        }
        _ => Ok(weight),
    });
    let weight = path.add("weight", weight.map_err(|error| error.to_string())?, true);
    let bias = match with_bias {
        true => Some(path.f_zeros("bias", &weight_shape[..1]).map_err(|error| error.to_string())?),
        false => None,
    };
    Ok(Parameters::Affine { weight, bias })
}

/// More than this in one tensor is a mistake in the sizes, which must not end in the process running out of memory.
const MOST_ELEMENTS: usize = 1 << 28;

/// How many elements a tensor of a layer has.
pub(super) fn elements(tensor: &str, shape: &[i64]) -> Result<usize, String> {
    let count = shape.iter().try_fold(1, |count: i64, &size| count.checked_mul(size));
    match count.map(usize::try_from) {
        Some(Ok(count)) if count <= MOST_ELEMENTS => Ok(count),
        _ => Err(format!("{tensor} {} has more than {MOST_ELEMENTS} elements: choose smaller sizes", show(shape))),
    }
}

pub(super) fn tensor(values: &[f64], shape: &[i64], path: &Path) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(values)?.f_reshape(shape)?.f_to_kind(path.kind())?.f_to_device(path.device())
}

/// 0 with probability `p`, else `1 / (1 - p)`.
fn dropout_mask(like: &Tensor, p: f64, mut rng: ChaCha8Rng) -> Result<Tensor, TchError> {
    let limit = (p * f64::from(u32::MAX)) as u32;
    let kept = (1.0 / (1.0 - p)) as f32;
    let mask: Vec<f32> = (0..like.numel()).map(|_| if rng.next_u32() < limit { 0.0 } else { kept }).collect();
    Tensor::f_from_slice(&mask)?.f_reshape(like.size())?.f_to_kind(like.kind())?.f_to_device(like.device())
}

fn custom_shape(custom: &Custom, input: &[i64], path: &Path) -> Result<Vec<i64>, String> {
    let _without_gradient = tch::no_grad_guard();
    // Two images, so that an operation that mixes up the batch dimension is found out.
    let images = Tensor::f_zeros([&[2], input].concat(), (path.kind(), path.device())).map_err(|e| e.to_string())?;
    let output = custom.apply(&images).map_err(|error| crate::Error::from(error).to_string())?;
    match output.size().as_slice() {
        [2, shape @ ..] => Ok(shape.to_vec()),
        other => Err(format!(
            "given two images of {} it returned {}, which does not begin with the 2 of the batch",
            show(input),
            show(other)
        )),
    }
}
