//! The safetensors format: the length of a JSON header (8 bytes), the header, the tensors' bytes in sequence.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use ::safetensors::Dtype;
use ::safetensors::tensor::Metadata;
use serde_json::json;
use tch::{Kind, Tensor};

use super::budget::Budget;
use super::checksum::{self, Checksum, Summed};
use super::elements::{byte_count, dense_kind, read_tensor, write_tensor};
use super::{TensorFile, WeightsError};

/// Start of the header (bytes).
pub(super) const HEADER_START: usize = 8;

/// The largest header that is read or written (bytes): some 10,000 tensors. Parsing takes many times its size in
/// memory.
pub(super) const MAX_HEADER: u64 = 1 << 20;

/// The header key of the metadata.
const METADATA: &str = "__metadata__";

const DTYPES: [(Dtype, Kind); 10] = [
    (Dtype::F64, Kind::Double),
    (Dtype::F32, Kind::Float),
    (Dtype::F16, Kind::Half),
    (Dtype::BF16, Kind::BFloat16),
    (Dtype::I64, Kind::Int64),
    (Dtype::I32, Kind::Int),
    (Dtype::I16, Kind::Int16),
    (Dtype::I8, Kind::Int8),
    (Dtype::U8, Kind::Uint8),
    (Dtype::BOOL, Kind::Bool),
];

/// Reads `file`, `length` bytes long, from its start.
pub(super) fn read(file: &mut dyn Read, length: u64, budget: &mut Budget) -> Result<TensorFile, WeightsError> {
    let header = read_header(file, length)?;
    let metadata: BTreeMap<String, String> =
        header.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let sum = (checksum::has_one(&metadata) && metadata.contains_key(checksum::KEY)).then(Checksum::default);
    let mut file = Summed { source: file, sum };
    let mut tensors = BTreeMap::new();
    let order = header.offset_keys();
    for name in order.iter().cloned() {
        let Some(info) = header.info(&name) else { continue };
        let Some(&(_, kind)) = DTYPES.iter().find(|(dtype, _)| *dtype == info.dtype) else {
            return Err(WeightsError::Dtype { tensor: name, dtype: info.dtype.to_string() });
        };
        let shape: Result<Vec<i64>, _> = info.shape.iter().map(|&size| i64::try_from(size)).collect();
        let shape = shape.map_err(|_| WeightsError::Header(format!("{name} has the shape {:?}", info.shape)))?;
        if let Some(sum) = &mut file.sum {
            sum.begin(&name, &info.dtype.to_string(), &shape);
        }
        tensors.insert(name, read_tensor(&mut file, kind, &shape, budget)?);
    }
    if let Some(sum) = file.sum {
        checksum::check(&metadata, sum.finish())?;
    }
    Ok(TensorFile { tensors, order, metadata })
}

/// Reads the header and checks it against the file's length: its tensors cover the rest of the file, without gaps or
/// overlaps.
fn read_header(file: &mut dyn Read, length: u64) -> Result<Metadata, WeightsError> {
    let start = HEADER_START as u64;
    let too_short = |expected| WeightsError::Truncated { expected, found: length };
    if length <= start {
        return Err(too_short(start + 1));
    }
    let mut size = [0; HEADER_START];
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER {
        return Err(WeightsError::HeaderTooLarge { size });
    }
    if size > length - start {
        return Err(too_short(start + size));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| WeightsError::Header(error.to_string()))?;
    let expected = (start + size).saturating_add(header.data_len() as u64);
    match length {
        _ if length < expected => Err(too_short(expected)),
        _ if length > expected => Err(WeightsError::Overlong { expected, found: length }),
        _ => Ok(header),
    }
}

/// A file to be written.
pub(super) struct Layout<'a> {
    header: String,
    tensors: Vec<&'a Tensor>,
}

impl<'a> Layout<'a> {
    /// Arranges tensors by element size, the largest first, so that all are aligned; then by name.
    pub(super) fn new(
        tensors: &'a [(String, Tensor)],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, WeightsError> {
        let unwritable = |tensor: &str, cause: String| WeightsError::Unwritable { tensor: tensor.to_string(), cause };
        let mut entries = Vec::new();
        for (name, tensor) in tensors {
            if name == METADATA {
                return Err(unwritable(name, "the name stands for the metadata; use another".to_string()));
            }
            let dtype = dense_kind(tensor)
                .and_then(|kind| DTYPES.iter().find(|(_, known)| *known == kind).map(|(dtype, _)| *dtype));
            let dtype = dtype.ok_or_else(|| {
                unwritable(name, format!("expected a dense tensor of numbers, got {tensor:?}; convert it"))
            })?;
            entries.push((dtype, name, tensor));
        }
        entries.sort_by(|(a, first, _), (b, second, _)| b.cmp(a).then(first.cmp(second)));

        let mut metadata = metadata.clone();
        if checksum::has_one(&metadata) {
            let mut sum = Checksum::default();
            for (dtype, name, tensor) in &entries {
                sum.begin(name, &dtype.to_string(), &tensor.size());
                write_tensor(tensor, &mut sum)?;
            }
            metadata.insert(checksum::KEY.to_string(), sum.finish());
        }
        let mut header = serde_json::Map::new();
        if !metadata.is_empty() {
            header.insert(METADATA.to_string(), json!(metadata));
        }
        let mut end = 0;
        for (dtype, name, tensor) in &entries {
            let start = end;
            end += byte_count(tensor);
            let entry = json!({ "dtype": dtype.to_string(), "shape": tensor.size(), "data_offsets": [start, end] });
            if header.insert((*name).clone(), entry).is_some() {
                return Err(unwritable(name, "there are two of this name".to_string()));
            }
        }
        let mut header = serde_json::Value::Object(header).to_string();
        // Tensors start at a multiple of 8, as readers that map the file into memory require.
        header.push_str(&" ".repeat(header.len().next_multiple_of(HEADER_START) - header.len()));
        if header.len() as u64 > MAX_HEADER {
            return Err(WeightsError::HeaderTooLarge { size: header.len() as u64 });
        }
        Ok(Self { header, tensors: entries.into_iter().map(|(_, _, tensor)| tensor).collect() })
    }

    pub(super) fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        file.write_all(&(self.header.len() as u64).to_le_bytes())?;
        file.write_all(self.header.as_bytes())?;
        for tensor in &self.tensors {
            write_tensor(tensor, file)?;
        }
        Ok(())
    }
}
