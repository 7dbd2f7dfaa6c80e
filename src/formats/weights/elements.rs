//! Reads and writes tensor elements as little-endian bytes in row-major order, as all formats store them.

use std::io::{self, Read, Write};

use tch::{Device, Kind, Tensor};

use super::WeightsError;
use super::budget::Budget;

/// Chunk size of reading (bytes).
const CHUNK: usize = 4 << 20;

/// Memory of a tensor without its elements and its name (bytes).
pub(super) const TENSOR: u64 = 1024;

/// The largest number of dimensions; NumPy's limit.
const MAX_DIMENSIONS: usize = 64;

/// Returns the number of elements of a tensor of this shape, if the shape is valid: no negative size, no overflow.
pub(super) fn element_count(shape: &[i64]) -> Option<u64> {
    // An empty dimension does not excuse an enormous one.
    let sizes = shape.iter().try_fold(1_i64, |count, &size| count.checked_mul(size.max(1)));
    let possible = shape.len() <= MAX_DIMENSIONS && shape.iter().all(|&size| size >= 0) && sizes? <= i64::MAX >> 4;
    possible.then(|| shape.iter().product::<i64>().unsigned_abs())
}

/// Reads the next elements of `source` as a tensor of `kind` and `shape`.
pub(super) fn read_tensor(
    source: &mut dyn Read,
    kind: Kind,
    shape: &[i64],
    budget: &mut Budget,
) -> Result<Tensor, WeightsError> {
    let count = element_count(shape)
        .ok_or_else(|| WeightsError::Damaged(format!("the tensor shape {shape:?} is not possible")))?;
    let length = count * kind.elt_size_in_bytes() as u64;
    budget.take(length.saturating_add(TENSOR))?;
    let bytes = read_bytes(source, length as usize)?;
    let elements = match kind {
        // A byte other than 0 and 1 is not a valid boolean in memory.
        Kind::Bool => bytes.f_ne(0)?,
        _ => bytes.f_view_dtype(kind)?,
    };
    Ok(elements.f_view(shape)?)
}

/// Reads the next `length` bytes in chunks, so that memory never holds a second copy of all.
fn read_bytes(source: &mut dyn Read, length: usize) -> Result<Tensor, WeightsError> {
    let bytes = Tensor::f_empty([length as i64], (Kind::Uint8, Device::Cpu))?;
    let mut chunk = vec![0; CHUNK.min(length)];
    for start in (0..length).step_by(CHUNK) {
        let chunk = &mut chunk[..CHUNK.min(length - start)];
        source.read_exact(chunk).map_err(damage)?;
        let chunk = Tensor::f_from_slice(chunk)?;
        bytes.f_narrow(0, start as i64, chunk.size()[0])?.f_copy_(&chunk)?;
    }
    Ok(bytes)
}

/// Writes the elements of `tensor`, from any device and memory layout.
pub(super) fn write_tensor(tensor: &Tensor, file: &mut dyn Write) -> io::Result<()> {
    let mut bytes = vec![0; byte_count(tensor)];
    tensor.f_copy_data_u8(&mut bytes, tensor.numel()).map_err(io::Error::other)?;
    file.write_all(&bytes)
}

/// Returns the size of `tensor` in a file (bytes).
pub(super) fn byte_count(tensor: &Tensor) -> usize {
    tensor.numel() * tensor.kind().elt_size_in_bytes()
}

/// Returns the dtype of a dense tensor of numbers; other tensors cannot be stored.
pub(super) fn dense_kind(tensor: &Tensor) -> Option<Kind> {
    tensor.f_kind().ok().filter(|_| !tensor.is_sparse() && !tensor.is_mkldnn())
}

/// Converts a read error: either the operating system's, or the file is damaged.
pub(super) fn damage(error: io::Error) -> WeightsError {
    match error.kind() {
        _ if error.raw_os_error().is_some() => WeightsError::Io(error),
        io::ErrorKind::UnexpectedEof => WeightsError::Damaged("it ends too early".to_string()),
        _ => WeightsError::Damaged(error.to_string()),
    }
}
