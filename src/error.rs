//! The library's error type: one variant per cause; messages say what was expected, what was found and what to do.

use std::path::{Path, PathBuf};

/// The result type of the library's fallible functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error type of the library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The operation: "read", "write", "create the folder" ..
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// A dataset is missing or damaged.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// A device is not available.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// A neuron's parameters or inputs are not valid.
    #[error(transparent)]
    Neuron(#[from] crate::neuron::NeuronError),
    /// A network cannot be built, or an input or state does not match it.
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
    /// The event engine does not support a network or a request.
    #[error(transparent)]
    Event(#[from] crate::engine::EventError),
    /// A figure cannot be drawn or read.
    #[cfg(feature = "figures")]
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// An experiment file is not valid.
    #[error(transparent)]
    Experiment(#[from] crate::experiment::ExperimentError),
    /// A pretrained network is not available.
    #[error(transparent)]
    Pretrained(#[from] crate::pretrained::NotFound),
    /// A network cannot be converted.
    #[error(transparent)]
    Convert(#[from] crate::convert::ConvertError),
    /// A network cannot be written as TorchScript.
    #[error(transparent)]
    TorchScript(#[from] crate::formats::torchscript::TorchScriptError),
    /// Training cannot start or continue.
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    /// A weights file cannot be used, or does not match the network.
    #[error(transparent)]
    Weights(#[from] crate::formats::weights::WeightsError),
    /// A libtorch operation failed.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// Creates an [`Error::Io`] for `action` on `path`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }
}

/// Returns libtorch's message without the C++ backtrace that follows it.
fn first_line(error: &tch::TchError) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(&text);
    text.lines().next().unwrap_or_default().to_string()
}
