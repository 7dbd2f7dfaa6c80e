//! What can be wrong with a network or with what it is given.

/// A network cannot be built, or was given something that does not fit it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A layer that cannot be built after those before it.
    #[error("layer {number} ({kind}): {cause}")]
    Layer {
        /// Counted from 1.
        number: usize,
        /// The layer's type: `conv2d`.
        kind: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The specification as a whole is not valid.
    #[error("network: {0}")]
    Specification(String),
    /// An input that is not what the network takes.
    #[error("the network takes {expected}, got {found}")]
    Input {
        /// What it takes.
        expected: String,
        /// What came.
        found: String,
    },
    /// A state that belongs to another network or batch size.
    #[error("this state does not fit the network: {0}; make one with zero_state(batch)")]
    State(String),
    /// A probe of something that is not there.
    #[error("cannot probe {layer}/{quantity}: {cause}")]
    Probe {
        /// The layer's name as given.
        layer: String,
        /// What was to be recorded.
        quantity: String,
        /// Why that is not possible.
        cause: String,
    },
}
