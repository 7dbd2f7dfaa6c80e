//! The parameters that a layer declares: the single source for building, loading, matching, export and inspection.

use super::{Initializer, LayerKind, LearnPer, SynapseSpec};

/// A parameter: a saved tensor of a layer that is trained, or updated during training.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Name within the layer, such as `weight`.
    pub name: String,
    /// Shape of the tensor.
    pub shape: Vec<i64>,
    /// Initial values.
    pub start: Start,
    /// Whether the optimiser updates it.
    pub trainable: bool,
}

/// The initial values of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// The same number for all elements.
    Constant(f64),
    /// These numbers, in row-major order.
    Given(Vec<f64>),
    /// Drawn by an initialiser.
    Drawn {
        /// The distribution.
        initializer: Initializer,
        /// Number of inputs of a unit.
        fan_in: f64,
        /// Number of outputs of a unit.
        fan_out: f64,
    },
    /// The bias of a layer of neurons, from its [`Tuning`](super::Tuning).
    Tuning,
}

impl ParameterSpec {
    /// Creates a trainable parameter that starts at one number.
    pub fn constant(name: impl Into<String>, shape: &[i64], value: f64) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), start: Start::Constant(value), trainable: true }
    }

    fn buffer(name: &str, shape: &[i64], value: f64) -> Self {
        Self { trainable: false, ..Self::constant(name, shape, value) }
    }

    fn weight(shape: &[i64], initializer: Initializer) -> Self {
        let area: i64 = shape[2..].iter().product();
        let (fan_in, fan_out) = ((shape[1] * area) as f64, (shape[0] * area) as f64);
        let start = Start::Drawn { initializer, fan_in, fan_out };
        Self { name: "weight".to_string(), shape: shape.to_vec(), start, trainable: true }
    }
}

/// Returns the parameters of a layer of this type, given the (validated) shapes of its inputs and its output, and the timestep.
pub(super) fn parameters(kind: &LayerKind, inputs: &[&[i64]], output: &[i64], dt: f64) -> Vec<ParameterSpec> {
    let channels = inputs.first().and_then(|input| input.first()).copied().unwrap_or(0);
    let with_bias = |weight: ParameterSpec, bias: bool, outputs: i64| {
        let bias = bias.then(|| ParameterSpec::constant("bias", &[outputs], 0.0));
        std::iter::once(weight).chain(bias).collect()
    };
    match kind {
        LayerKind::Conv2d(conv) => {
            let shape = [conv.out_channels, channels / conv.groups, conv.kernel.0, conv.kernel.1];
            with_bias(ParameterSpec::weight(&shape, conv.init), conv.bias, conv.out_channels)
        }
        LayerKind::Linear(linear) => {
            let shape = [linear.out_features, channels];
            with_bias(ParameterSpec::weight(&shape, linear.init), linear.bias, linear.out_features)
        }
        LayerKind::Scale(scale) => {
            let shape = if scale.shared { &[1] } else { output };
            vec![ParameterSpec { trainable: scale.trainable, ..ParameterSpec::constant("weight", shape, scale.weight) }]
        }
        LayerKind::BatchNorm(norm) => {
            let affine = [("weight", 1.0), ("bias", 0.0)].map(|(name, value)| (name, value, true));
            let running = [("running_mean", 0.0), ("running_var", 1.0)].map(|(name, value)| (name, value, false));
            let all = affine.into_iter().filter(|_| norm.affine).chain(running);
            all.map(|(name, value, trainable)| match trainable {
                true => ParameterSpec::constant(name, &[channels], value),
                false => ParameterSpec::buffer(name, &[channels], value),
            })
            .collect()
        }
        LayerKind::Standardize(standardize) => standardize.parameters(channels),
        LayerKind::Neuron(neurons) => {
            let bias = ParameterSpec {
                name: "bias".to_string(),
                shape: output.to_vec(),
                start: Start::Tuning,
                trainable: neurons.trainable_bias,
            };
            let shape = match neurons.learn_per {
                LearnPer::Layer => &[1],
                LearnPer::Neuron => output,
            };
            let values = neurons.model.learned().iter().zip(neurons.model.learned_values(dt));
            let trained = values.filter(|(learned, _)| neurons.learns(learned));
            let trained = trained
                .map(|(learned, value)| ParameterSpec::constant(learned.tensor_name(), shape, learned.stored(value)));
            std::iter::once(bias).chain(trained).collect()
        }
        LayerKind::Synapse(synapse) if synapse.learn => {
            vec![ParameterSpec::constant(SynapseSpec::LOG_TAU, &[1], synapse.synapse.tau().ln())]
        }
        LayerKind::Custom(custom) => custom.parameters(inputs),
        LayerKind::AvgPool(_)
        | LayerKind::MaxPool(_)
        | LayerKind::Flatten
        | LayerKind::Dropout(_)
        | LayerKind::Relu
        | LayerKind::LeakyRelu(_)
        | LayerKind::Synapse(_)
        | LayerKind::Add
        | LayerKind::Concat => Vec::new(),
    }
}
