//! Weights files: tensors by name, and networks that describe themselves.
//!
//! What a file is is told by its content. Nothing in it is executed.
//!
//! | format | read | written | elements | what else |
//! |---|---|---|---|---|
//! | safetensors | [`read`] | [`write`](write()) | F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL | metadata |
//! | PyTorch `.pt`, `.pth` (`torch.save`, also before version 1.6) | [`read`] | | the same | nested checkpoints: `model.conv.weight`; numbers and texts become metadata |
//! | TorchScript (`torch.jit.save`), tch's own `.ot` | [`read`] | | the same | parameters and buffers |
//! | NumPy `.npz`, compressed or not | [`read`] | [`write_npz`] | the same without BF16 | C and Fortran order |
//!
//! | file | holds |
//! |---|---|
//! | `format.rs` | what a file is, told by its content |
//! | `safetensors.rs`, `pytorch.rs`, `npz.rs` | a format each |
//! | `pickle/`, `npy.rs`, `archive.rs`, `elements.rs` | what formats are made of |
//! | `convert.rs` | one format into another |
//! | `budget.rs` | how much memory reading may take |
//! | `assign.rs` | tensors into a network: everything checked, then copied |
//! | `matching/`, `tensor_map.rs` | which tensor is which parameter, where the names are another program's |
//! | `nengodl.rs`, `channels_last.rs` | arrays without names and with channels last |
//! | `network_file.rs`, `provenance.rs` | a network with its specification and where it comes from, in one file |
//! | `plan.rs` | what parameters a specification asks for |
//!
//! Another format is a reader of its own, called from [`read_from`]; all else sees only a [`TensorFile`].

mod archive;
mod assign;
mod budget;
mod channels_last;
mod convert;
mod elements;
mod error;
mod format;
mod matching;
mod nengodl;
mod network_file;
mod npy;
mod npz;
mod pickle;
mod plan;
mod provenance;
mod pytorch;
mod safetensors;
mod tensor_map;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use tch::Tensor;

use crate::error::{Error, Result};
use archive::Archive;
use budget::Budget;

pub(crate) use assign::check_fit;
pub use assign::load_into;
pub use convert::{Converted, OutputFormat, convert};
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
/// The file need not be trusted: nothing in it is executed, nothing is believed before it is checked against the file's size,
/// and no more memory is taken than twice that size and 64 MiB. Tensors that are parts of one storage in a PyTorch file
/// share it here too.
///
/// # Errors
/// If there is no such file or it is not one of a known format (saying what it looks like), cut off, or damaged; if it
/// holds Python objects other than tensors, or numbers that libtorch has no kind for.
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
    open(path).and_then(read_open).map_err(|error| in_file("read", path, error))
}

/// Reads a weights file from anything that can be read and sought, such as a [`Cursor`](std::io::Cursor).
///
/// # Errors
/// As for [`read`].
pub fn read_from(source: impl Read + Seek) -> Result<TensorFile> {
    Ok(read_open(source)?)
}

/// The format of the file `path`, told by its content.
///
/// # Errors
/// If there is no such file, or it is an archive whose directory is damaged.
pub fn format_of(path: &Path) -> Result<Format> {
    let format = |mut file| {
        let (format, length) = sniff(&mut file)?;
        match format {
            Format::PyTorch | Format::TorchScript | Format::Npz | Format::Zip => {
                Ok(Archive::open(file, length, &mut Budget::new(length))?.format())
            }
            format => Ok(format),
        }
    };
    open(path).and_then(format).map_err(|error| in_file("read", path, error))
}

fn open(path: &Path) -> Result<File, WeightsError> {
    // Asked before opening, which waits forever on a pipe that nobody writes to.
    let about = std::fs::metadata(path)?;
    match about.is_file() {
        true => Ok(File::open(path)?),
        false => Err(if about.is_dir() { WeightsError::Folder } else { WeightsError::NotAFile }),
    }
}

/// The format by the beginning, and the length in bytes; `source` is left at its start.
fn sniff(source: &mut (impl Read + Seek)) -> Result<(Format, u64), WeightsError> {
    let length = source.seek(SeekFrom::End(0))?;
    source.rewind()?;
    if length == 0 {
        return Err(WeightsError::Empty);
    }
    let mut head = Vec::new();
    source.by_ref().take(format::HEAD_LENGTH).read_to_end(&mut head)?;
    source.rewind()?;
    Ok((Format::of(&head), length))
}

fn read_open(mut source: impl Read + Seek) -> Result<TensorFile, WeightsError> {
    let (format, length) = sniff(&mut source)?;
    let budget = &mut Budget::new(length);
    match format {
        Format::Safetensors => safetensors::read(&mut source, length, budget),
        Format::Pickle => pytorch::read_legacy(source, length, budget),
        Format::PyTorch | Format::TorchScript | Format::Npz | Format::Zip => {
            let archive = Archive::open(source, length, budget)?;
            match archive.format() {
                Format::PyTorch | Format::TorchScript => pytorch::read_archive(&archive, budget),
                Format::Npz => npz::read(&archive, budget),
                found => Err(WeightsError::NotWeights { found }),
            }
        }
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

/// Writes `tensors`, from any device and of any memory layout, as the arrays of a NumPy `.npz` file, in the order in which
/// they are given: wholly or not at all. The same input gives the same bytes.
///
/// The format has no metadata.
///
/// # Errors
/// If two tensors share a name, one is of a kind that NumPy lacks (`BFloat16`), or the file cannot be written.
///
/// ```
/// use tch::Tensor;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights.npz");
/// let tensors = [("fc.weight".to_string(), Tensor::from_slice(&[1.5f32, -2.0]))];
/// tch_spiking::weights::write_npz(&path, &tensors, true)?;
/// assert_eq!(tch_spiking::weights::read(&path)?.tensors["fc.weight"], tensors[0].1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_npz(path: &Path, tensors: &[(String, Tensor)], compress: bool) -> Result<()> {
    let layout = npz::Layout::new(tensors, compress).map_err(|error| in_file("write", path, error))?;
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
