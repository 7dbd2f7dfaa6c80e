//! Errors of weights files and of matching them to a network.

use std::fmt::Write;
use std::path::PathBuf;

use tch::Kind;

use super::Format;
use super::safetensors::MAX_HEADER;
use crate::network::shape::show;

/// The error of a weights file that cannot be used, or of tensors that do not match a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// An error of a given file.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: Box<WeightsError>,
    },
    /// The path is a folder.
    #[error("this is a folder: name the weights file in it")]
    Folder,
    /// The path is a pipe, a terminal or another device.
    #[error("this is not a file but a device: copy its content to a file first")]
    NotAFile,
    /// The file is empty.
    #[error("the file is empty: write or download it again")]
    Empty,
    /// The file is shorter than its header says.
    #[error("the file is cut off: expected {expected} bytes, found {found}; write or download it again")]
    Truncated {
        /// The size according to its header (at least).
        expected: u64,
        /// The actual size.
        found: u64,
    },
    /// The file is longer than its header says.
    #[error("the file is damaged: expected {expected} bytes, found {found}; write or download it again")]
    Overlong {
        /// The size according to its header.
        expected: u64,
        /// The actual size.
        found: u64,
    },
    /// The file has another format.
    #[error("expected weights (safetensors, PyTorch, TorchScript or .npz), found {found}{}", .found.hint())]
    NotWeights {
        /// The detected format.
        found: Format,
    },
    /// The header is larger than any network needs.
    #[error(
        "the header claims {size} bytes, expected at most {MAX_HEADER}: the file is damaged, or not a network file of tch-spiking"
    )]
    HeaderTooLarge {
        /// The size (bytes) according to the file.
        size: u64,
    },
    /// The header is not valid.
    #[error("the header is damaged ({0}); write or download the file again")]
    Header(String),
    /// The content of the file is inconsistent.
    #[error("the file is damaged ({0}); write or download it again")]
    Damaged(String),
    /// The tensors are not those that were saved.
    #[error(
        "the file is damaged (its tensors are not those that were saved: their checksum differs); restore it from a copy. \
         If another program changed them on purpose, remove {} from its metadata",
        super::checksum::KEY
    )]
    Checksum,
    /// Reading takes more memory than is plausible for the size of the file.
    #[error(
        "reading the file takes more than {allowed} bytes of memory, twice its size and 40 MiB: it is damaged, or strongly compressed; save it uncompressed (numpy.savez)"
    )]
    Memory {
        /// The limit (bytes).
        allowed: u64,
    },
    /// The file contains a Python object that is not a dictionary, list or tensor.
    #[error("expected tensors by name{}, found {class}, which is not read{}", at(name), what_instead(class))]
    NotTensors {
        /// Its position, in the form of a tensor name; empty for the whole file.
        name: String,
        /// Its class, or the function that creates it.
        class: String,
    },
    /// Two tensors, or two files in an archive, have the same name.
    #[error("{name} occurs twice: expected unique names; rename or remove one")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A tensor has more elements than the file stores.
    #[error("tensor {tensor} repeats its elements (`expand`); save a copy of it (`.contiguous()`)")]
    Expanded {
        /// The tensor's name.
        tensor: String,
    },
    /// The extension of the output file is not a known format.
    #[error("expected a name that ends with .safetensors or .npz; rename it, or choose a format")]
    UnknownExtension,
    /// The output would overwrite the input.
    #[error("the output is the input file: choose another output name")]
    SameFile,
    /// A tensor's dtype is not supported by libtorch or this library.
    #[error(
        "tensor {tensor} is of type {dtype}: expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL; convert it"
    )]
    Dtype {
        /// The tensor's name.
        tensor: String,
        /// The dtype.
        dtype: String,
    },
    /// A tensor has numbers that are not finite.
    #[error(
        "tensor {tensor}: {count} of its {of} numbers are NaN or infinite, so results would mean nothing; use weights from \
         before they became so (commands that do not train go on with --allow-non-finite)"
    )]
    NonFinite {
        /// The tensor's name.
        tensor: String,
        /// How many numbers are not finite.
        count: i64,
        /// How many numbers it has.
        of: i64,
    },
    /// A tensor cannot be written.
    #[error("cannot save tensor {tensor}: {cause}")]
    Unwritable {
        /// The tensor's name.
        tensor: String,
        /// The reason.
        cause: String,
    },
    /// Tensors do not match the network; all mismatches are listed.
    #[error("the weights do not fit the network; nothing was loaded{}", list(.0))]
    Misfits(Vec<Misfit>),
    /// Tensors of equal shape cannot be assigned by name or order.
    #[error("{} are of equal shapes, and neither names nor order identify them: {}. Assign them in a file for --map:\n[map]{}",
        .candidates.join(", "), .parameters.join(", "), map_lines(.parameters, .candidates))]
    Ambiguous {
        /// The parameters.
        parameters: Vec<String>,
        /// The tensors that could be any of them.
        candidates: Vec<String>,
    },
    /// A map is not valid, or does not match the network or the file.
    #[error("map: {0}")]
    Map(String),
    /// The network has a layer that NengoDL's format does not support.
    #[error("layer {layer}: NengoDL's files hold convolutions, linear layers and neurons only; use another format")]
    NotInNengoDl {
        /// The layer.
        layer: String,
    },
    /// A network whose layers are not in a row, which NengoDL's arrays without names cannot tell apart.
    #[error(
        "layer {layer} takes more, or other, than the output of the layer before it: NengoDL's files have an order for layers \
         in a row only; use another format"
    )]
    NotARow {
        /// The layer.
        layer: String,
    },
    /// A linear layer, or neurons, behind features that another program keeps in an order that is not known.
    #[error(
        "layer {layer}: its features come from several layers, which are not one flattened image, so that their order with \
         channels last is not known; bring the tensor into the order of this library, and leave channels_last out"
    )]
    MixedFeatures {
        /// The layer.
        layer: String,
    },
    /// A file that says nothing about its network.
    #[error("the file does not say what network its {} tensors belong to{}: give the network's configuration with it (--config experiment.toml){}",
        .tensors.len(), .reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default(), list(.tensors))]
    NoSpecification {
        /// The reason given in the file, if any.
        reason: Option<String>,
        /// Names, shapes and dtypes of the tensors.
        tensors: Vec<String>,
    },
    /// The file was written by a later version of this library.
    #[error("the file has format version {found}, expected {known} or lower: use a newer tch-spiking")]
    Version {
        /// The version of the file.
        found: String,
        /// The newest supported version.
        known: u32,
    },
    /// A metadata entry is missing or not valid.
    #[error("metadata `{key}`: {cause}")]
    Metadata {
        /// The entry's key.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An error of the operating system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An error of libtorch.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

/// A mismatch between tensors and a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// A parameter has no tensor.
    #[error("{name}: missing, expected {}", show(expected))]
    Missing {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<i64>,
    },
    /// A tensor has no parameter.
    #[error("{name}: unexpected, of {}", show(found))]
    Unexpected {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
    },
    /// A tensor has another shape than the parameter.
    #[error("{name}: expected {}, found {}", show(expected), show(found))]
    Shape {
        /// The name of both.
        name: String,
        /// The parameter's shape.
        expected: Vec<i64>,
        /// The tensor's shape.
        found: Vec<i64>,
    },
    /// A tensor is not floating-point.
    #[error("{name}: expected floating-point numbers, found {found:?}")]
    Kind {
        /// The tensor.
        name: String,
        /// Its dtype.
        found: Kind,
    },
}

/// The largest number of list lines in a message.
const SHOWN: usize = 40;

/// Prints an example map, with the tensors in file order.
fn map_lines(parameters: &[String], candidates: &[String]) -> String {
    parameters.iter().zip(candidates).map(|(parameter, tensor)| format!("\n\"{parameter}\" = \"{tensor}\"")).collect()
}

fn at(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" at {name}") }
}

fn what_instead(class: &str) -> &'static str {
    // PyTorch's own functions create tensors of other layouts; all others are a user's modules.
    if class.starts_with("torch._") || class.starts_with("torch.sparse") || class.starts_with("torch storage") {
        "; convert it to a dense tensor of numbers"
    } else {
        "; if it is a module, save its weights alone: torch.save(model.state_dict(), path)"
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let mut text = String::new();
    for item in items.iter().take(SHOWN) {
        let _ = write!(text, "\n  {item}");
    }
    if items.len() > SHOWN {
        let _ = write!(text, "\n  and {} more", items.len() - SHOWN);
    }
    text
}
