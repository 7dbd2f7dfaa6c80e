//! Reads tch-spiking's own network files (safetensors with a specification) without libtorch.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use crate::kernels::Stored;
use crate::spec::shape::show;
use crate::spec::{Graph, NetworkError, NetworkSpec};

/// The largest accepted header (bytes); parsing a header takes many times its size in memory.
const MAX_HEADER: u64 = 1 << 20;
/// The newest file format version that this library reads.
const VERSION: u64 = 1;
/// Prefix of checkpoint tensors that are not network parameters.
const OPTIMIZER_PREFIX: &str = "optimizer.";

/// A tensor in plain memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Shape of the array.
    pub shape: Vec<i64>,
    /// Elements in row-major order.
    pub values: Vec<f64>,
}

/// The parameters of a network by name: `conv1.weight`.
pub type Parameters = BTreeMap<String, Array>;

/// A network read from a file: specification, seed and parameters.
#[derive(Clone, Debug)]
pub struct NetworkFile {
    /// The network specification.
    pub spec: NetworkSpec,
    /// The seed that determines gains and initial membrane voltages.
    pub seed: u64,
    /// The network's parameters by name.
    pub parameters: Parameters,
}

/// The error of reading a network file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is not a safetensors file, or it is damaged.
    #[error("this is not a safetensors file, or it is damaged: {0}")]
    Format(String),
    /// The file is safetensors, but does not contain a tch-spiking network.
    #[error(
        "the file has no network specification ({0}): expected a file written by tch-spiking; `tch-spiking convert` makes one from \
         other weights"
    )]
    NoSpecification(String),
    /// The specification in the file is not valid.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A tensor does not match the specification.
    #[error("{tensor}: {cause}")]
    Misfit {
        /// The parameter's name.
        tensor: String,
        /// What was expected and what was found.
        cause: String,
    },
}

impl NetworkFile {
    /// Reads the file `path`.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not a tch-spiking network file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, FileError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| FileError::Io { path: path.display().to_string(), source })?;
        Self::from_bytes(&bytes)
    }

    /// Reads a network file from memory.
    ///
    /// The bytes may be untrusted: sizes are checked against the length of the file and the specification before memory
    /// is allocated.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        let damaged = |cause: String| FileError::Format(cause);
        let header = bytes.first_chunk().map_or(0, |length: &[u8; 8]| u64::from_le_bytes(*length));
        if header > MAX_HEADER {
            return Err(damaged(format!("its header has {header} bytes, expected at most {MAX_HEADER}")));
        }
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
        let facts = metadata.metadata().as_ref();
        let fact = |key: &str| {
            let value = facts.and_then(|facts| facts.get(key));
            value.ok_or_else(|| FileError::NoSpecification(format!("its metadata has no `{key}`")))
        };
        if fact("format")? != "tch-spiking" {
            return Err(FileError::NoSpecification("another program wrote it".to_string()));
        }
        let version = fact("format_version")?;
        if version.parse().is_ok_and(|version: u64| version > VERSION) {
            return Err(damaged(format!("format version {version}, expected {VERSION} or lower: update tch-spiking")));
        }
        let spec: NetworkSpec = toml::from_str(fact("spec")?)
            .map_err(|error| FileError::NoSpecification(format!("`spec` is not valid: {}", error.message())))?;
        let seed = fact("seed")?;
        let seed = seed.parse().map_err(|_| damaged(format!("seed = {seed:?}: expected a whole number")))?;
        let mut parameters = Parameters::new();
        for (name, parameter) in Graph::new(&spec)?.parameters() {
            let misfit = |cause: String| FileError::Misfit { tensor: name.clone(), cause };
            let tensor = tensors.tensor(&name).map_err(|_| misfit("missing from the file".to_string()))?;
            let found: Vec<i64> = tensor.shape().iter().map(|&size| i64::try_from(size).unwrap_or(-1)).collect();
            if found != parameter.shape {
                return Err(misfit(format!("expected {}, found {}", show(&parameter.shape), show(&found))));
            }
            let values = numbers(tensor.dtype(), tensor.data())
                .ok_or_else(|| misfit(format!("expected floating-point numbers, found {:?}", tensor.dtype())))?;
            parameters.insert(name, Array { shape: found, values });
        }
        let unexpected =
            |name: &&String| !parameters.contains_key(name.as_str()) && !name.starts_with(OPTIMIZER_PREFIX);
        if let Some(name) = tensors.names().into_iter().map(|name| name.to_string()).find(|name| unexpected(&name)) {
            let cause = "the specification does not declare this parameter".to_string();
            return Err(FileError::Misfit { tensor: name.to_string(), cause });
        }
        Ok(Self { spec, seed, parameters })
    }
}

/// Converts the elements of a floating-point tensor to `f64`; `None` for other dtypes.
fn numbers(dtype: Dtype, data: &[u8]) -> Option<Vec<f64>> {
    fn all<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        data.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect()
    }
    Some(match dtype {
        Dtype::F64 => all(data, f64::from_le_bytes),
        Dtype::F32 => all(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Dtype::F16 => all(data, |bytes| half::f16::from_le_bytes(bytes).to_f64()),
        Dtype::BF16 => all(data, |bytes| f64::from(half::bf16::from_le_bytes(bytes).load())),
        _ => return None,
    })
}
