//! One format into another.

use std::path::Path;

use tch::{Kind, Tensor};

use super::{Format, TensorFile, WeightsError, format_of, in_file, read, write, write_npz};
use crate::error::Result;

/// A format that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputFormat {
    /// With metadata.
    Safetensors,
    /// NumPy arrays, each in its own precision; `BFloat16`, which NumPy lacks, becomes `Float`, which holds it exactly.
    Npz {
        /// Whether to compress them; weights rarely shrink by more than a tenth.
        compress: bool,
    },
}

impl OutputFormat {
    /// The format that the extension of `path` names: `.safetensors` or `.npz`.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "safetensors" => Some(Self::Safetensors),
            "npz" => Some(Self::Npz { compress: false }),
            _ => None,
        }
    }
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Converted {
    /// What it was.
    pub from: Format,
    /// What was written.
    pub to: OutputFormat,
    /// The names of the tensors, in the order of the file that was read.
    pub tensors: Vec<String>,
    /// How many numbers they hold.
    pub elements: usize,
    /// The tensors that became `Float` because the format lacks their kind.
    pub widened: Vec<String>,
    /// The keys of the metadata that the format cannot hold.
    pub dropped: Vec<String>,
}

/// Reads the weights file `input`, of any format, and writes its tensors to `output`, in the format `to` or else the one that
/// the name of `output` says.
///
/// Elements are written bit for bit (but see [`OutputFormat::Npz`]), metadata where the format has a place for it.
///
/// # Errors
/// If `input` cannot be read ([`read`]), is `output` itself, or `output` cannot be written or says no format.
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
