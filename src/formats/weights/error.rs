//! What can be wrong with a weights file, or with its fit to a network.

use std::fmt::Write;
use std::path::PathBuf;

use tch::Kind;

use super::Format;
use super::safetensors::MAX_HEADER;
use crate::network::shape::show;

/// A weights file that cannot be used, or tensors that do not fit a network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// Something is wrong with this file.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: Box<WeightsError>,
    },
    /// The path of a folder.
    #[error("this is a folder: name the weights file in it")]
    Folder,
    /// The path of a pipe, a terminal or another device.
    #[error("this is not a file but a device: copy its content to a file first")]
    NotAFile,
    /// Nothing in it.
    #[error("the file is empty: write or download it again")]
    Empty,
    /// Less in it than its header says.
    #[error("the file is cut off: expected {expected} bytes, found {found}; write or download it again")]
    Truncated {
        /// Its size by its header (at least).
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// More in it than its header says.
    #[error("the file is damaged: expected {expected} bytes, found {found}; write or download it again")]
    Overlong {
        /// Its size by its header.
        expected: u64,
        /// Its size.
        found: u64,
    },
    /// Another format.
    #[error("expected weights (safetensors, PyTorch, TorchScript or .npz), found {found}{}", .found.hint())]
    NotWeights {
        /// What it looks like.
        found: Format,
    },
    /// A header that is larger than any network needs.
    #[error(
        "the header is said to take {size} bytes, more than the {MAX_HEADER} that are read: the file is damaged, or holds no network of ours"
    )]
    HeaderTooLarge {
        /// Its size (bytes) by the file.
        size: u64,
    },
    /// A header that makes no sense.
    #[error("the header is damaged ({0}); write or download the file again")]
    Header(String),
    /// Something in it contradicts something else.
    #[error("the file is damaged ({0}); write or download it again")]
    Damaged(String),
    /// More memory than a file of its size is worth.
    #[error(
        "reading the file takes more than {allowed} bytes of memory, twice its size and 40 MiB: it is damaged, or compressed so well that it must be stored without (numpy.savez)"
    )]
    Memory {
        /// What may be taken (bytes).
        allowed: u64,
    },
    /// A Python object that is no dictionary, list or tensor.
    #[error("expected tensors by name{}, found {class}, which is not looked into{}", at(name), what_instead(class))]
    NotTensors {
        /// Where in the file, as the name of a tensor would be; empty for all of it.
        name: String,
        /// Its class, or the function that makes it.
        class: String,
    },
    /// Two tensors, or two files in an archive, of the same name.
    #[error("{name} is there twice: which one is meant?")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A tensor that has more elements than there are in the file.
    #[error("tensor {tensor} repeats its elements (`expand`); save a copy of it (`.contiguous()`)")]
    Expanded {
        /// Its name.
        tensor: String,
    },
    /// The name of a file that is to be written says nothing known.
    #[error("expected a name that ends with .safetensors or .npz; rename it, or choose a format")]
    UnknownExtension,
    /// A file that would be written over what it is made of.
    #[error("this is the file that is read: give the result another name")]
    SameFile,
    /// A tensor of a type that libtorch or this library cannot compute with.
    #[error(
        "tensor {tensor} is of type {dtype}: expected F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL; convert it"
    )]
    Dtype {
        /// Its name.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// A tensor that cannot be written.
    #[error("cannot save tensor {tensor}: {cause}")]
    Unwritable {
        /// Its name.
        tensor: String,
        /// Why not.
        cause: String,
    },
    /// Tensors that are not those of the network: all that is wrong with them.
    #[error("the weights do not fit the network; nothing was loaded{}", list(.0))]
    Misfits(Vec<Misfit>),
    /// Tensors of equal shapes, whose order and names do not tell which is which.
    #[error("{} are of equal shapes, and neither names nor order tell which is which: {}. Say it in a file for --map:\n[map]{}",
        .candidates.join(", "), .parameters.join(", "), map_lines(.parameters, .candidates))]
    Ambiguous {
        /// The parameters.
        parameters: Vec<String>,
        /// The tensors that fit each of them.
        candidates: Vec<String>,
    },
    /// A map that makes no sense, or does not fit the network or the file.
    #[error("map: {0}")]
    Map(String),
    /// A network with a layer that NengoDL's files have no place for.
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
        /// What the file says about that, if anything.
        reason: Option<String>,
        /// Names, shapes and kinds of what it holds.
        tensors: Vec<String>,
    },
    /// A file of a later version of this library.
    #[error("the file is of format version {found}, and this program knows {known}: use a newer tch-spiking")]
    Version {
        /// As the file has it.
        found: String,
        /// The newest that is known.
        known: u32,
    },
    /// A part of the metadata that is missing or makes no sense.
    #[error("metadata `{key}`: {cause}")]
    Metadata {
        /// Which.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The operating system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// libtorch refused.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

/// One way in which tensors do not fit a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misfit {
    /// A parameter without a tensor.
    #[error("{name}: missing, expected {}", show(expected))]
    Missing {
        /// The parameter.
        name: String,
        /// Its shape.
        expected: Vec<i64>,
    },
    /// A tensor without a parameter.
    #[error("{name}: unexpected, of {}", show(found))]
    Unexpected {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<i64>,
    },
    /// A tensor of another shape than the parameter.
    #[error("{name}: expected {}, found {}", show(expected), show(found))]
    Shape {
        /// Of both.
        name: String,
        /// The parameter's shape.
        expected: Vec<i64>,
        /// The tensor's shape.
        found: Vec<i64>,
    },
    /// A tensor of a type that is not floating-point.
    #[error("{name}: expected floating-point numbers, found {found:?}")]
    Kind {
        /// The tensor.
        name: String,
        /// What it is of.
        found: Kind,
    },
}

/// How many lines of a list a message shows.
const SHOWN: usize = 40;

/// What a map looks like, with the tensors in the order in which they came.
fn map_lines(parameters: &[String], candidates: &[String]) -> String {
    parameters.iter().zip(candidates).map(|(parameter, tensor)| format!("\n\"{parameter}\" = \"{tensor}\"")).collect()
}

fn at(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" at {name}") }
}

fn what_instead(class: &str) -> &'static str {
    // Functions of PyTorch's own make tensors of other layouts; the rest are modules of a user.
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
