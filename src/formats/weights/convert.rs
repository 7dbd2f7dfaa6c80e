//! Converts weights files from one format to another.

use std::path::Path;

use tch::{Kind, Tensor};

use super::{Format, TensorFile, WeightsError, format_of, in_file, read, write, write_npz};
use crate::error::Result;

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputFormat {
    /// Safetensors, with metadata.
    Safetensors,
    /// NumPy arrays, each in its own precision; `BFloat16`, which NumPy lacks, becomes `Float` without loss.
    Npz {
        /// Whether to compress them; weights rarely shrink by more than a tenth.
        compress: bool,
    },
}

impl OutputFormat {
    /// Returns the format of the extension of `path`: `.safetensors` or `.npz`.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "safetensors" => Some(Self::Safetensors),
            "npz" => Some(Self::Npz { compress: false }),
            _ => None,
        }
    }
}

/// The result of a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// The input format.
    pub from: Format,
    /// The output format.
    pub to: OutputFormat,
    /// Names of the tensors, in the order of the input file.
    pub tensors: Vec<String>,
    /// Total number of elements.
    pub elements: usize,
    /// Tensors that became `Float` because the output format lacks their dtype.
    pub widened: Vec<String>,
    /// Metadata keys that the output format cannot store.
    pub dropped: Vec<String>,
}

/// Reads the weights file `input`, of any format, and writes its tensors to `output`, in the format `to` or the one
/// that the extension of `output` indicates.
///
/// Elements are written bit for bit (except as stated in [`OutputFormat::Npz`]), and metadata if the format supports
/// it.
///
/// # Errors
/// Returns an error if `input` cannot be read ([`read`]) or is `output` itself, or `output` cannot be written or
/// indicates no format.
pub fn convert(input: &Path, output: &Path, to: Option<OutputFormat>) -> Result<Converted> {
    let fail = |error| in_file("write", output, error);
    let to = to.or_else(|| OutputFormat::of_name(output)).ok_or_else(|| fail(WeightsError::UnknownExtension))?;
    if let (Ok(input), Ok(output)) = (input.canonicalize(), output.canonicalize())
        && input == output
    {
        return Err(fail(WeightsError::SameFile));
    }
    let from = format_of(input)?;
    let TensorFile { mut tensors, order, metadata } = read(input)?;
    let mut named: Vec<_> =
        order.iter().filter_map(|name| Some((name.clone(), tensors.remove(name)?))).collect::<Vec<(String, Tensor)>>();
    let elements = named.iter().map(|(_, tensor)| tensor.numel()).sum();
    let (mut widened, mut dropped) = (Vec::new(), Vec::new());
    match to {
        OutputFormat::Safetensors => write(output, &named, &metadata)?,
        OutputFormat::Npz { compress } => {
            for (name, tensor) in named.iter_mut().filter(|(_, tensor)| tensor.kind() == Kind::BFloat16) {
                *tensor = tensor.f_to_kind(Kind::Float)?;
                widened.push(name.clone());
            }
            dropped.extend(metadata.into_keys());
            write_npz(output, &named, compress)?;
        }
    }
    Ok(Converted { from, to, tensors: order, elements, widened, dropped })
}
