//! The parameter tensors of a layer.

use tch::nn::Path;
use tch::{TchError, Tensor};
use tch_spiking_core::spec::{LayerKind, NeuronValues, Node, ParameterSpec, Start, SynapseSpec, streams};

use super::{Neurons, Normalization, Standardization};

/// The tensors of a layer.
#[derive(Debug)]
pub(crate) enum Parameters {
    None,
    /// A convolution, a linear layer or a scale.
    Affine {
        weight: Tensor,
        bias: Option<Tensor>,
    },
    /// A batch normalisation.
    Normalization(Normalization),
    /// A standardisation.
    Standardization(Standardization),
    /// A layer of neurons.
    Neurons(Neurons),
    /// A synapse: the logarithm of its time constant (s), if that is learned.
    Synapse {
        log_tau: Option<Tensor>,
    },
    /// A custom layer.
    Custom(Vec<Tensor>),
}

/// How the parameters of a network are initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    /// As declared.
    Declared,
    /// As declared, but with zeros instead of random values, which are about to be overwritten.
    Undrawn,
}

/// The context in which the parameters of a layer are created.
pub(super) struct Context<'a> {
    pub path: &'a Path<'a>,
    pub index: usize,
    pub seed: u64,
    /// Timestep (s).
    pub dt: f64,
    pub filling: Filling,
}

impl Parameters {
    /// Creates the tensors that `node` declares, as variables under its name; `neurons` are the initial values of a
    /// layer of neurons.
    pub(super) fn new(node: &Node, neurons: Option<NeuronValues>, context: &Context) -> Result<Self, TchError> {
        let path = context.path / &node.name;
        let mut tensors = Vec::new();
        for parameter in &node.parameters {
            let values = values(parameter, neurons.as_ref(), context);
            let tensor = match values {
                Some(values) => tensor(&values, &parameter.shape, &path)?,
                None => Tensor::f_zeros(&parameter.shape, (path.kind(), path.device()))?,
            };
            tensors.push(path.add(&parameter.name, convolution_weight(tensor)?, parameter.trainable));
        }
        let mut named =
            node.parameters.iter().map(|parameter| parameter.name.as_str()).zip(tensors).collect::<Vec<_>>();
        let mut take = |name: &str| {
            let position = named.iter().position(|(other, _)| *other == name);
            position.map(|position| named.remove(position).1)
        };
        let missing = |name: &str| TchError::Shape(format!("{} declares no {name}", node.name));
        Ok(match (&node.kind, neurons) {
            (LayerKind::Neuron(spec), Some(values)) => {
                let bias = take("bias").ok_or_else(|| missing("bias"))?;
                Self::Neurons(Neurons::new(spec, values, bias, take, context.dt, &path)?)
            }
            (LayerKind::Conv2d(_) | LayerKind::Linear(_), _) => {
                Self::Affine { weight: take("weight").ok_or_else(|| missing("weight"))?, bias: take("bias") }
            }
            (LayerKind::Scale(_), _) => {
                Self::Affine { weight: take("weight").ok_or_else(|| missing("weight"))?, bias: None }
            }
            (LayerKind::BatchNorm(_), _) => Self::Normalization(Normalization {
                weight: take("weight"),
                bias: take("bias"),
                running_mean: take("running_mean").ok_or_else(|| missing("running_mean"))?,
                running_var: take("running_var").ok_or_else(|| missing("running_var"))?,
            }),
            (LayerKind::Standardize(_), _) => Self::Standardization(Standardization {
                mean: take("mean").ok_or_else(|| missing("mean"))?,
                std: take("std").ok_or_else(|| missing("std"))?,
            }),
            (LayerKind::Synapse(_), _) => Self::Synapse { log_tau: take(SynapseSpec::LOG_TAU) },
            (LayerKind::Custom(_), _) => Self::Custom(named.into_iter().map(|(_, tensor)| tensor).collect()),
            (
                LayerKind::Neuron(_)
                | LayerKind::AvgPool(_)
                | LayerKind::MaxPool(_)
                | LayerKind::Flatten
                | LayerKind::Dropout(_)
                | LayerKind::Relu
                | LayerKind::LeakyRelu(_)
                | LayerKind::Add
                | LayerKind::Concat,
                _,
            ) => Self::None,
        })
    }

    /// Returns all tensors, in the order in which the layer declares them.
    pub(super) fn tensors(&self) -> Vec<&Tensor> {
        match self {
            Self::None => vec![],
            Self::Affine { weight, bias } => std::iter::once(weight).chain(bias).collect(),
            Self::Normalization(Normalization { weight, bias, running_mean, running_var }) => {
                weight.iter().chain(bias).chain([running_mean, running_var]).collect()
            }
            Self::Standardization(Standardization { mean, std }) => vec![mean, std],
            Self::Neurons(neurons) => std::iter::once(&neurons.bias).chain(neurons.trained()).collect(),
            Self::Synapse { log_tau } => log_tau.iter().collect(),
            Self::Custom(tensors) => tensors.iter().collect(),
        }
    }
}

/// Returns the initial values of a parameter; `None` for zeros.
fn values(parameter: &ParameterSpec, neurons: Option<&NeuronValues>, context: &Context) -> Option<Vec<f64>> {
    let count = parameter.shape.iter().product::<i64>().unsigned_abs() as usize;
    match &parameter.start {
        Start::Constant(0.0) => None,
        Start::Constant(value) => Some(vec![*value; count]),
        Start::Given(values) => Some(values.clone()),
        Start::Drawn { .. } if context.filling == Filling::Undrawn => None,
        Start::Drawn { initializer, fan_in, fan_out } => {
            let mut rng = streams::weights(context.seed, context.index);
            Some(initializer.sample(count, *fan_in, *fan_out, &mut rng))
        }
        Start::Tuning => neurons.map(|neurons| neurons.bias.clone()),
    }
}

pub(super) fn tensor(values: &[f64], shape: &[i64], path: &Path) -> Result<Tensor, TchError> {
    Tensor::f_from_slice(values)?.f_reshape(shape)?.f_to_kind(path.kind())?.f_to_device(path.device())
}

/// Converts a four-dimensional weight to channels last in memory, the fastest layout for libtorch's CPU convolutions.
/// Others are unchanged.
fn convolution_weight(weight: Tensor) -> Result<Tensor, TchError> {
    let &[out, channels, height, width] = weight.size().as_slice() else { return Ok(weight) };
    // The strides are explicit: with one channel both orders are equal, and libtorch would choose channels first.
    let strides = [height * width * channels, 1, width * channels, channels];
    let options = (weight.kind(), weight.device());
    let mut channels_last = Tensor::f_empty_strided([out, channels, height, width], strides, options)?;
    channels_last.f_copy_(&weight)?;
    Ok(channels_last)
}
