//! Custom layers over tensors.

use std::fmt;
use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};
use tch_spiking_core::spec::shape::show;
use tch_spiking_core::spec::{Custom, CustomLayer, ParameterSpec};

/// A custom layer: its specification ([`CustomLayer`]) and its computation.
///
/// Wrap one with [`custom`] to add it to a network; [register](register_layer) its type to use it in TOML and weights
/// files.
pub trait TensorLayer: CustomLayer {
    /// Computes the output `[B, ..]` from inputs `[B, ..]` and the tensors of [`parameters`](CustomLayer::parameters).
    ///
    /// It must treat the samples of a batch identically and independently: timesteps are folded into the batch.
    /// `training` is true in a training step.
    ///
    /// # Errors
    /// Returns the errors of its operations.
    fn forward(&self, inputs: &[&Tensor], parameters: &[&Tensor], training: bool) -> Result<Tensor, TchError>;
}

/// Wraps `layer` for a specification.
pub fn custom(layer: impl TensorLayer) -> Custom {
    Custom::of(Erased(Arc::new(layer)))
}

/// Registers the layer type `name` for specifications and weights files, for the rest of the process.
///
/// `parse` creates the layer from its table.
///
/// # Errors
/// Returns an error if a layer type or neuron model has that name.
///
/// `tests/own_parts.rs` registers a layer with parameters and loads a network that has it from a weights file.
pub fn register_layer(name: &str, parse: fn(toml::Table) -> Result<Custom, String>) -> Result<(), String> {
    tch_spiking_core::spec::register_layer(name, parse)
}

/// A tensor layer as a [`CustomLayer`] of the core.
#[derive(Clone, Debug)]
struct Erased(Arc<dyn TensorLayer>);

impl CustomLayer for Erased {
    fn type_name(&self) -> &str {
        self.0.type_name()
    }
    fn output_shape(&self, inputs: &[&[i64]]) -> Result<Vec<i64>, String> {
        self.0.output_shape(inputs)
    }
    fn parameters(&self, inputs: &[&[i64]]) -> Vec<ParameterSpec> {
        self.0.parameters(inputs)
    }
    fn takes_several(&self) -> bool {
        self.0.takes_several()
    }
    fn to_table(&self) -> Option<toml::Table> {
        self.0.to_table()
    }
}

/// Computes the output of `custom`.
pub(super) fn forward(
    custom: &Custom,
    inputs: &[&Tensor],
    parameters: &[&Tensor],
    training: bool,
) -> Result<Tensor, TchError> {
    match custom.downcast_ref::<Erased>() {
        Some(layer) => layer.0.forward(inputs, parameters, training),
        None => Err(TchError::Shape(format!(
            "layer type {} computes nothing on tensors: wrap a TensorLayer with network::custom",
            custom.type_name()
        ))),
    }
}

/// A stateless tensor operation on a batch, given as a closure.
pub(super) struct Closure {
    label: String,
    operation: Box<Operation>,
}

type Operation = dyn Fn(&Tensor) -> Result<Tensor, TchError> + Send + Sync;

impl Closure {
    pub(super) fn new(label: String, operation: Box<Operation>) -> Self {
        Self { label, operation }
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Closure").field("label", &self.label).finish_non_exhaustive()
    }
}

impl CustomLayer for Closure {
    fn type_name(&self) -> &str {
        &self.label
    }

    /// Determines the output shape by calling the operation.
    fn output_shape(&self, inputs: &[&[i64]]) -> Result<Vec<i64>, String> {
        let input = inputs.first().copied().unwrap_or_default();
        let _without_gradient = tch::no_grad_guard();
        // Two samples, to detect an operation that mixes up the batch dimension.
        let of_kind = |kind: Kind| {
            let samples = Tensor::f_zeros([&[2], input].concat(), (kind, Device::Cpu))?;
            (self.operation)(&samples)
        };
        // It may support double precision only.
        let output = of_kind(Kind::Float).or_else(|error| of_kind(Kind::Double).map_err(|_| error));
        let output = output.map_err(|error| crate::Error::from(error).to_string())?;
        match output.size().as_slice() {
            [2, shape @ ..] => Ok(shape.to_vec()),
            other => Err(format!(
                "given two samples of {} it returned {}, which does not begin with the 2 of the batch",
                show(input),
                show(other)
            )),
        }
    }
}

impl TensorLayer for Closure {
    fn forward(&self, inputs: &[&Tensor], _parameters: &[&Tensor], _training: bool) -> Result<Tensor, TchError> {
        (self.operation)(inputs[0])
    }
}
