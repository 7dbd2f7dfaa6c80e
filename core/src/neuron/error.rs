//! What can be wrong with a neuron.

/// A neuron's parameter, specification or input is not valid.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NeuronError {
    /// A parameter out of its range.
    #[error("{neuron}: {parameter} = {value} is not valid: expected {expected}")]
    Parameter {
        /// The model's name.
        neuron: &'static str,
        /// The parameter's name.
        parameter: &'static str,
        /// The value given.
        value: f64,
        /// What is valid.
        expected: String,
    },
    /// A specification that no model can be made of.
    #[error("neuron {neuron:?}: {cause}")]
    Specification {
        /// The model's name as given.
        neuron: String,
        /// What is wrong.
        cause: String,
    },
    /// A rate was asked of a model that has none.
    #[error("{neuron} has no rate: it cannot be trained or evaluated as rates; run it as spikes")]
    NoRate {
        /// The model's name.
        neuron: &'static str,
    },
    /// Tensors that do not belong together.
    #[error("{neuron}: {cause}")]
    Input {
        /// The model's name.
        neuron: &'static str,
        /// What was expected and what came.
        cause: String,
    },
}

impl NeuronError {
    /// `Ok` if `valid`, else an error about `parameter`. (Written so that NaN, for which no comparison holds, is invalid.)
    ///
    /// # Errors
    /// [`NeuronError::Parameter`].
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
