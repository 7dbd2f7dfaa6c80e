//! Why a network cannot be written as TorchScript.

/// A network cannot be written as TorchScript.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TorchScriptError {
    /// A layer that is code.
    #[error(
        "layer {layer} ({label}) cannot be written as TorchScript: it is a closure, whose operations are not known; expected \
         layers that a specification can name"
    )]
    Custom {
        /// The layer's name.
        layer: String,
        /// What the closure is called.
        label: String,
    },
    /// More than the archive can hold.
    #[error("the archive cannot be written: {0}")]
    Archive(String),
}
