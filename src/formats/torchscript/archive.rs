//! The TorchScript archive: a zip file of code, objects and tensors, as written by `torch.jit.save`.

use std::io::{Cursor, Write};

use tch::{Device, Kind, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::TorchScriptError;
use super::module::Module;
use super::pickle::Pickle;
use crate::error::Result;

/// The folder of all entries; the name is arbitrary.
const FOLDER: &str = "network";
/// Operator set version: the first in which dividing integers gives fractions.
const VERSION: &str = "4\n";
/// Alignment of tensors, so that a reader can map them into memory.
const ALIGNMENT: u16 = 64;

/// Serialises the module to the bytes of a file; the same module gives the same bytes.
pub(super) fn archive(module: &Module) -> Result<Vec<u8>> {
    let mut storages = Vec::new();
    let object = object(module, &mut storages)?;
    let mut constants = Pickle::new();
    constants.empty_tuple();
    let zip = || {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        // A fixed time, so that the archive depends on the module only.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .with_alignment(ALIGNMENT);
        let mut entry = |name: &str, content: &[u8]| {
            zip.start_file(format!("{FOLDER}/{name}"), options.large_file(content.len() as u64 > u32::MAX.into()))?;
            Ok::<_, zip::result::ZipError>(zip.write_all(content)?)
        };
        entry("data.pkl", &object)?;
        entry("code/__torch__.py", module.code.as_bytes())?;
        for (index, storage) in storages.iter().enumerate() {
            entry(&format!("data/{index}"), storage)?;
        }
        entry("constants.pkl", &constants.finish())?;
        entry("version", VERSION.as_bytes())?;
        entry("byteorder", b"little")?;
        Ok::<_, zip::result::ZipError>(zip.finish()?.into_inner())
    };
    zip().map_err(|error| TorchScriptError::Archive(error.to_string()).into())
}

/// Pickles the module as an object and appends its tensors' data to `storages`.
fn object(module: &Module, storages: &mut Vec<Vec<u8>>) -> Result<Vec<u8>> {
    let mut parts = Vec::new();
    for part in &module.parts {
        let stored = part.tensors.iter().map(|(name, tensor)| Ok((name.as_str(), Stored::new(tensor)?)));
        parts.push((part.name.as_str(), stored.collect::<Result<Vec<_>>>()?));
    }
    let mut pickle = Pickle::new();
    pickle.object(super::module::CLASS, |pickle| {
        common_attributes(pickle);
        pickle.text("dt");
        pickle.float(module.dt);
        pickle.text("steps");
        pickle.int(module.steps);
        for (name, tensors) in parts {
            pickle.text(name);
            pickle.object(name, |pickle| {
                common_attributes(pickle);
                for (name, Stored { storage, bytes, sizes, strides }) in tensors {
                    pickle.text(name);
                    pickle.tensor(storage, storages.len(), &sizes, &strides);
                    storages.push(bytes);
                }
            });
        }
    });
    Ok(pickle.finish())
}

/// Writes the attributes that every PyTorch module has.
fn common_attributes(pickle: &mut Pickle) {
    pickle.text("training");
    pickle.bool(false);
    pickle.text("_is_full_backward_hook");
    pickle.none();
}

/// A tensor as stored in the file.
struct Stored {
    storage: &'static str,
    bytes: Vec<u8>,
    sizes: Vec<i64>,
    strides: Vec<i64>,
}

impl Stored {
    /// Kernels and per-neuron tensors of images are stored channels last, as in the network itself, which is fastest
    /// for convolutions on the CPU.
    fn new(tensor: &Tensor) -> Result<Self> {
        let sizes = tensor.size();
        let dimensions = sizes.len() as i64;
        let order: Vec<i64> = match dimensions {
            3 => vec![1, 2, 0],
            4 => vec![0, 2, 3, 1],
            _ => (0..dimensions).collect(),
        };
        let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_permute(&order)?.f_contiguous()?.f_view([-1])?;
        let mut strides = vec![1; sizes.len()];
        let mut stride = 1;
        for &dimension in order.iter().rev() {
            strides[dimension as usize] = stride;
            stride *= sizes[dimension as usize];
        }
        let (storage, bytes) = match tensor.kind() {
            Kind::Double => ("DoubleStorage", bytes(&Vec::<f64>::try_from(&flat)?, f64::to_le_bytes)),
            _ => ("FloatStorage", bytes(&Vec::<f32>::try_from(&flat)?, f32::to_le_bytes)),
        };
        Ok(Self { storage, bytes, sizes, strides })
    }
}

fn bytes<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}
