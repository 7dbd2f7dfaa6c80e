//! What can go wrong, one variant a cause, each saying what was expected, what came and what to do.

use std::path::{Path, PathBuf};

/// The result of everything in this library that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any failure of this library.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "write", "create the folder" ..
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A data set is missing or damaged.
    #[error(transparent)]
    Data(#[from] crate::data::DataError),
    /// A device that cannot be had.
    #[error(transparent)]
    Device(#[from] crate::device::DeviceError),
    /// A neuron's parameters or inputs are not valid.
    #[error(transparent)]
    Neuron(#[from] crate::neuron::NeuronError),
    /// A network cannot be built, or was given something that does not fit.
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
    /// Something that the event engine cannot do.
    #[error(transparent)]
    Event(#[from] crate::engine::EventError),
    /// A picture cannot be drawn or read.
    #[cfg(feature = "figures")]
    #[error(transparent)]
    Report(#[from] crate::report::ReportError),
    /// An experiment cannot be understood.
    #[error(transparent)]
    Experiment(#[from] crate::experiment::ExperimentError),
    /// A pretrained network is not there.
    #[error(transparent)]
    Pretrained(#[from] crate::pretrained::NotFound),
    /// A network cannot be converted.
    #[error(transparent)]
    Convert(#[from] crate::convert::ConvertError),
    /// A network cannot be written as TorchScript.
    #[error(transparent)]
    TorchScript(#[from] crate::formats::torchscript::TorchScriptError),
    /// Training cannot start or go on.
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    /// A weights file cannot be used, or does not fit the network.
    #[error(transparent)]
    Weights(#[from] crate::formats::weights::WeightsError),
    /// libtorch refused an operation.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
}

impl Error {
    /// An [`Error::Io`] for `action` on `path`.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }
}

/// libtorch's message without the C++ backtrace that follows it.
fn first_line(error: &tch::TchError) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("Internal torch error: ").unwrap_or(&text);
    text.lines().next().unwrap_or_default().to_string()
}
