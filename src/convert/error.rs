//! Why a network cannot be converted.

/// A network cannot be converted as asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A layer that spikes cannot do the work of.
    #[error("cannot convert layer {layer} ({kind}): {cause}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// Its type.
        kind: String,
        /// Why, and what to use instead.
        cause: String,
    },
    /// A swap that cannot be understood.
    #[error("swap {text:?}: {cause}")]
    Swap {
        /// As given.
        text: String,
        /// What is wrong with it, and what is expected.
        cause: String,
    },
    /// A swap or scale for something that the network does not have.
    #[error("{what} of {name}: {cause}")]
    Unused {
        /// `swap` or `firing rate scale`.
        what: &'static str,
        /// What was named.
        name: String,
        /// What there is.
        cause: String,
    },
    /// Nothing that could become neurons.
    #[error("there is nothing to convert: the network has no activations such as relu, and no neurons; it has {0}")]
    NoActivations(String),
    /// Scales cannot be chosen from images.
    #[error("calibration: {0}")]
    Calibration(String),
}
