//! Errors of conversion.

/// A network cannot be converted as requested.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// A layer has no spiking equivalent.
    #[error("cannot convert layer {layer} ({kind}): {cause}")]
    Layer {
        /// The layer's name.
        layer: String,
        /// Its type.
        kind: String,
        /// The reason, and an alternative.
        cause: String,
    },
    /// A swap could not be parsed.
    #[error("swap {text:?}: {cause}")]
    Swap {
        /// The text of the swap.
        text: String,
        /// The problem, and the expected form.
        cause: String,
    },
    /// A swap or scale refers to something that the network does not have.
    #[error("{what} of {name}: {cause}")]
    Unused {
        /// `swap` or `firing rate scale`.
        what: &'static str,
        /// The name that was given.
        name: String,
        /// The existing names.
        cause: String,
    },
    /// The network has nothing to convert.
    #[error("nothing to convert: expected activations such as relu, or neurons; the network has only {0}")]
    NoActivations(String),
    /// The calibration failed.
    #[error("calibration: {0}")]
    Calibration(String),
}
