//! Weights files of several formats, and network files that include the specification.
//!
//! Formats are detected from the content. No code in a file is executed.
//!
//! | format | read | written | elements | notes |
//! |---|---|---|---|---|
//! | safetensors | [`read`] | [`write`](write()) | F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL | metadata |
//! | PyTorch `.pt`, `.pth` (`torch.save`, also before version 1.6) | [`read`] | | the same | nested checkpoints: `model.conv.weight`; numbers and strings become metadata |
//! | TorchScript (`torch.jit.save`), tch's own `.ot` | [`read`] | | the same | parameters and buffers |
//! | NumPy `.npz`, compressed or not | [`read`] | [`write_npz`] | the same without BF16 | C and Fortran order |
//!
//! | file | holds |
//! |---|---|
//! | `format.rs` | format detection |
//! | `safetensors.rs`, `pytorch.rs`, `npz.rs` | one format each |
//! | `pickle/`, `npy.rs`, `archive.rs`, `elements.rs` | components of the formats |
//! | `convert.rs` | conversion between formats |
//! | `budget.rs` | the memory limit of reading |
//! | `finite.rs` | whether all numbers are finite |
//! | `checksum.rs` | the checksum of the tensors in this library's own files |
//! | `assign.rs` | copying checked tensors into a network |
//! | `matching/`, `tensor_map.rs` | matching tensors and parameters with different names |
//! | `nengodl.rs`, `channels_last.rs` | unnamed arrays, and arrays with channels last |
//! | `network_file.rs`, `provenance.rs` | a network with its specification and provenance in one file |
//! | `plan.rs` | the parameters that a specification declares |
//!
//! To add a format, write a reader and call it from [`read_from`]; all other code uses [`TensorFile`] only.

mod archive;
mod assign;
mod budget;
mod channels_last;
mod checksum;
mod convert;
mod elements;
mod error;
mod finite;
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
pub use finite::{require_finite, require_finite_file};
pub use format::Format;
pub use matching::{Match, Matching};
pub use nengodl::nengodl_arrays;
pub use network_file::{
    LoadedNetwork, load_network, load_network_as, load_network_mapped, network_from, save_network, save_network_with,
};
pub use provenance::Provenance;
pub use tensor_map::{Source, TensorMap};

/// Name prefix of tensors in checkpoints that are optimiser state rather than parameters.
pub const OPTIMIZER_PREFIX: &str = "optimizer.";

/// The content of a weights file.
#[derive(Debug)]
pub struct TensorFile {
    /// Tensors by name, on the CPU, in the file's dtypes.
    pub tensors: BTreeMap<String, Tensor>,
    /// Names in file order, which for a PyTorch or NumPy file is the order of the layers.
    pub order: Vec<String>,
    /// Metadata of the file.
    pub metadata: BTreeMap<String, String>,
}

/// Reads the weights file `path`. Its format is detected from the content, not from the name.
///
/// The file may be untrusted: nothing in it is executed, all sizes are checked against the file's size, and memory is
/// limited to twice that size and 64 MiB. Tensors that share a storage in a PyTorch file share it here too.
///
/// # Errors
/// Returns an error if the file does not exist, has an unknown format (naming what it looks like), is cut off or
/// damaged, or contains Python objects other than tensors, or dtypes that libtorch does not support.
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

/// Reads a weights file from any seekable reader, such as a [`Cursor`](std::io::Cursor).
///
/// # Errors
/// Returns an error as for [`read`].
pub fn read_from(source: impl Read + Seek) -> Result<TensorFile> {
    Ok(read_open(source)?)
}

/// Detects the format of the file `path` from its content.
///
/// # Errors
/// Returns an error if the file does not exist, or it is an archive whose directory is damaged.
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
    // Checked before opening, which blocks on a pipe without a writer.
    let about = std::fs::metadata(path)?;
    match about.is_file() {
        true => Ok(File::open(path)?),
        false => Err(if about.is_dir() { WeightsError::Folder } else { WeightsError::NotAFile }),
    }
}

/// Detects the format and returns it with the length in bytes; `source` is left at its start.
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

/// Writes `tensors`, from any device and memory layout, and `metadata` to a safetensors file, atomically.
///
/// Each tensor is written bit for bit in row-major order. The same input gives the same bytes. The metadata of a network
/// file of this library gets a checksum of the tensors, which [`read`] verifies.
///
/// # Errors
/// Returns an error if two tensors share a name, a dtype is not supported by the format, or the file cannot be written.
pub fn write(path: &Path, tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let layout = safetensors::Layout::new(tensors, metadata).map_err(|error| in_file("write", path, error))?;
    crate::write_atomically(path, |file| layout.write(file))
}

/// Writes `tensors`, from any device and memory layout, as the arrays of a NumPy `.npz` file, in the given order,
/// atomically. The same input gives the same bytes.
///
/// The format has no metadata.
///
/// # Errors
/// Returns an error if two tensors share a name, a dtype is not supported by NumPy (`BFloat16`), or the file cannot be
/// written.
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

/// Converts `error` to an error of the file `path`.
fn in_file(action: &'static str, path: &Path, error: WeightsError) -> Error {
    match error {
        WeightsError::Io(source) => Error::io(action, path, source),
        WeightsError::Torch(error) => Error::Torch(error),
        cause => WeightsError::File { path: path.to_path_buf(), cause: Box::new(cause) }.into(),
    }
}
