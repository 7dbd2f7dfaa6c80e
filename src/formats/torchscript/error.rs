//! Errors of the TorchScript export.

/// The error of exporting a network to TorchScript.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TorchScriptError {
    /// A layer is a Rust closure.
    #[error(
        "layer {layer} ({label}) cannot be written as TorchScript: it is a closure, whose operations are not known; expected \
         layers that a specification can name"
    )]
    Custom {
        /// The layer's name.
        layer: String,
        /// The closure's label.
        label: String,
    },
    /// A layer is not supported by the export.
    #[error("layer {layer} cannot be written as TorchScript: {cause}; run the network with this library")]
    Layer {
        /// The layer's name.
        layer: String,
        /// The reason.
        cause: String,
    },
    /// The network exceeds the limits of the archive.
    #[error("the archive cannot be written: {0}")]
    Archive(String),
}
