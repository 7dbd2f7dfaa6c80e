//! Errors of networks and their inputs.

/// The error of building a network, or of an input or state that does not match it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A layer does not fit the layers before it, or is not valid.
    #[error("layer {number} ({kind}): {cause}")]
    Layer {
        /// Position of the layer, counted from 1.
        number: usize,
        /// The layer's type: `conv2d`.
        kind: String,
        /// The reason.
        cause: String,
    },
    /// The specification as a whole is not valid.
    #[error("network: {0}")]
    Specification(String),
    /// The input does not have the shape, dtype or device that the network expects.
    #[error("the network expects {expected}, got {found}")]
    Input {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A state belongs to another network or batch size.
    #[error("this state does not fit the network: {0}; make one with zero_state(batch)")]
    State(String),
    /// A probe refers to a layer or quantity that does not exist.
    #[error("cannot probe {layer}/{quantity}: {cause}")]
    Probe {
        /// The layer's name.
        layer: String,
        /// The requested quantity.
        quantity: String,
        /// The reason.
        cause: String,
    },
}
