//! Weights files: tensors by name, and networks that describe themselves.
//!
//! | file | holds |
//! |---|---|
//! | `format.rs` | what a file is, told by its content |
//! | `safetensors.rs` | the format that is read and written |
//! | `assign.rs` | tensors into a network: everything checked, then copied |
//! | `matching/`, `tensor_map.rs` | which tensor is which parameter, where the names are another program's |
//! | `nengodl.rs`, `channels_last.rs` | arrays without names and with channels last |
//! | `network_file.rs`, `provenance.rs` | a network with its specification and where it comes from, in one file |
//! | `plan.rs` | what parameters a specification asks for |
//!
//! Another format is a reader of its own, called from [`read`]; all else sees only a [`TensorFile`].

mod assign;
mod channels_last;
mod error;
mod format;
mod matching;
mod nengodl;
mod network_file;
mod plan;
mod provenance;
mod safetensors;
mod tensor_map;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use tch::Tensor;

use crate::error::{Error, Result};

pub use assign::load_into;
pub use error::{Misfit, WeightsError};
pub use format::Format;
pub use matching::{Match, Matching};
pub use nengodl::nengodl_arrays;
pub use network_file::{
    LoadedNetwork, load_network, load_network_as, load_network_mapped, network_from, save_network, save_network_with,
};
pub use provenance::Provenance;
pub use tensor_map::{Source, TensorMap};

/// What tensors are called that are no parameters but the state of an optimiser: checkpoints hold them.
pub const OPTIMIZER_PREFIX: &str = "optimizer.";

/// A weights file in memory.
#[derive(Debug)]
pub struct TensorFile {
    /// The tensors by name, on the CPU, of the kinds that the file has them in.
    pub tensors: BTreeMap<String, Tensor>,
    /// Their names in the order of the file, which for a PyTorch or NumPy file is that of the layers.
    pub order: Vec<String>,
    /// What the file says beside them.
    pub metadata: BTreeMap<String, String>,
}

/// Reads the weights file `path`. What it is is told by its content, not by its name.
///
/// The file need not be trusted: nothing is believed before it is checked against the file's size, and little more memory
/// is taken than the tensors need.
///
/// # Errors
/// If there is no such file or it is not one of a known format (saying what it looks like), cut off, or damaged.
///
/// ```
/// use std::collections::BTreeMap;
/// use tch::Tensor;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights.safetensors");
/// let tensors = [("fc.weight".to_string(), Tensor::from_slice(&[1.5f32, -2.0]))];
/// tch_spiking::weights::write(&path, &tensors, &BTreeMap::new())?;
/// assert_eq!(tch_spiking::weights::read(&path)?.tensors["fc.weight"], tensors[0].1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: &Path) -> Result<TensorFile> {
    read_any(path).map_err(|error| in_file("read", path, error))
}

fn read_any(path: &Path) -> Result<TensorFile, WeightsError> {
    // Asked before opening, which waits forever on a pipe that nobody writes to.
    let about = std::fs::metadata(path)?;
    if !about.is_file() {
        return Err(if about.is_dir() { WeightsError::Folder } else { WeightsError::NotAFile });
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if length == 0 {
        return Err(WeightsError::Empty);
    }
    let mut head = Vec::new();
    file.by_ref().take(format::HEAD_LENGTH).read_to_end(&mut head)?;
    file.rewind()?;
    match Format::of(&head) {
        Format::Safetensors => safetensors::read(file, length),
        found => Err(WeightsError::NotWeights { found }),
    }
}

/// Writes `tensors`, from any device and of any memory layout, and `metadata` to a safetensors file: wholly or not at all.
///
/// Each tensor is written bit for bit in the order of its shape. The same input gives the same bytes.
///
/// # Errors
/// If two tensors share a name, one is of a kind that the format lacks, or the file cannot be written.
pub fn write(path: &Path, tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let layout = safetensors::Layout::new(tensors, metadata).map_err(|error| in_file("write", path, error))?;
    crate::write_atomically(path, |file| layout.write(file))
}

/// `error` as one of the file `path`.
fn in_file(action: &'static str, path: &Path, error: WeightsError) -> Error {
    match error {
        WeightsError::Io(source) => Error::io(action, path, source),
        WeightsError::Torch(error) => Error::Torch(error),
        cause => WeightsError::File { path: path.to_path_buf(), cause: Box::new(cause) }.into(),
    }
}
