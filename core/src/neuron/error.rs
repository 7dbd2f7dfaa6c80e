//! Errors of neuron models.

/// The error of a neuron model: an invalid parameter, specification or input.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NeuronError {
    /// A parameter is out of range.
    #[error("{neuron}: {parameter} = {value} is not valid: expected {expected}")]
    Parameter {
        /// The model's name.
        neuron: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// The value given.
        value: f64,
        /// The valid range.
        expected: String,
    },
    /// A specification does not describe a known model.
    #[error("neuron {neuron:?}: {cause}")]
    Specification {
        /// The model's name as given.
        neuron: String,
        /// The reason.
        cause: String,
    },
    /// A firing rate was requested from a model that has none.
    #[error("{neuron} has no rate: it cannot be trained or evaluated as rates; run it as spikes")]
    NoRate {
        /// The model's name.
        neuron: &'static str,
    },
    /// Tensors do not match the model or each other.
    #[error("{neuron}: {cause}")]
    Input {
        /// The model's name.
        neuron: &'static str,
        /// What was expected and what was found.
        cause: String,
    },
}

impl NeuronError {
    /// Returns `Ok` if `valid`, otherwise an error about `parameter`. (Pass a condition that is false for NaN.)
    ///
    /// # Errors
    /// Returns [`NeuronError::Parameter`] if `valid` is false.
    pub fn require(
        neuron: &'static str,
        parameter: &'static str,
        value: f64,
        valid: bool,
        expected: &str,
    ) -> Result<(), Self> {
        if valid { Ok(()) } else { Err(Self::Parameter { neuron, parameter, value, expected: expected.to_string() }) }
    }
}
