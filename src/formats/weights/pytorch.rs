//! PyTorch's formats: `torch.save` (as a zip archive, or as before version 1.6), and TorchScript.
//!
//! All contain a pickle that describes the tensors as views of storages, and the storages' bytes beside it. Nothing in
//! a file is executed: not the pickle ([`pickle`](super::pickle)), nor the code in a TorchScript archive, which is not
//! even read.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Seek};

use tch::{Device, Tensor};

use super::archive::{Archive, expect_end};
use super::budget::Budget;
use super::elements::{damage, element_count, read_tensor};
use super::pickle::{Collected, Pickle, Storage, Value, View, collect, run};
use super::{Format, TensorFile, WeightsError};

/// The beginning of a `torch.save` file before version 1.6: this number, as a pickle, little-endian.
const LEGACY: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The elements of tensors, by the index of the storage in its pickle.
type Storages = HashMap<usize, Tensor>;

/// Reads an archive of `torch.save` or of TorchScript.
pub(super) fn read_archive<R: Read + Seek>(
    archive: &Archive<R>,
    budget: &mut Budget,
) -> Result<TensorFile, WeightsError> {
    let missing = |name: &str| WeightsError::Damaged(format!("{name} is missing"));
    let pickled = archive.entries.iter().find(|entry| entry.name.ends_with("/data.pkl"));
    let pickled = pickled.ok_or_else(|| missing("data.pkl"))?;
    let folder = pickled.name.trim_end_matches("data.pkl");
    if let Some(entry) = archive.entry(&format!("{folder}byteorder")) {
        let mut order = Vec::new();
        archive.read(entry)?.take(6).read_to_end(&mut order).map_err(damage)?;
        if order != b"little" {
            return Err(big_endian());
        }
    }
    let mut content = BufReader::new(archive.read(pickled)?);
    let pickle = run(&mut content, budget)?;
    // The rest is not needed, except for the checksum.
    io::copy(&mut content, &mut io::sink()).map_err(damage)?;
    let found = collect(&pickle, archive.format(), budget)?;
    let mut storages = Storages::new();
    for (name, view) in &found.tensors {
        if storages.contains_key(&view.storage) {
            continue;
        }
        let storage = storage_of(&pickle, view)?;
        let path = format!("{folder}data/{}", storage.key);
        let entry = archive.entry(&path).ok_or_else(|| missing(&path))?;
        let mut content = archive.read(entry)?;
        storages.insert(view.storage, read_storage(name, storage, entry.size, &mut content, budget)?);
        expect_end(&path, &mut content)?;
    }
    assemble(found, &storages)
}

/// Reads a file of `torch.save` before version 1.6: four pickles, a list of storages, the storages.
pub(super) fn read_legacy<R: Read>(source: R, length: u64, budget: &mut Budget) -> Result<TensorFile, WeightsError> {
    let mut source = BufReader::new(source);
    let source: &mut dyn BufRead = &mut source;
    match run(source, budget)?.root() {
        Value::Long(magic) if **magic == LEGACY => {}
        _ => return Err(WeightsError::NotWeights { found: Format::Pickle }),
    }
    let _version = run(source, budget)?;
    check_byte_order(&run(source, budget)?)?;
    let pickle = run(source, budget)?;
    let keys = run(source, budget)?;
    let Value::List(order) = keys.root() else {
        return Err(WeightsError::Damaged("the list of its storages is missing".to_string()));
    };
    let by_key: HashMap<_, _> = pickle.storages.iter().enumerate().map(|(i, storage)| (&*storage.key, i)).collect();
    let found = collect(&pickle, Format::Pickle, budget)?;
    let owners: HashMap<_, _> = found.tensors.iter().map(|(name, view)| (view.storage, name)).collect();
    let mut storages = Storages::new();
    for &key in order {
        let key = keys.text(key).unwrap_or_default();
        let index = by_key.get(key).copied();
        let storage = index.and_then(|index| Some((index, pickle.storages.get(index)?)));
        let Some((index, storage)) = storage.filter(|(index, _)| !storages.contains_key(index)) else {
            return Err(WeightsError::Damaged(format!("storage {key:?} belongs to no tensor")));
        };
        let mut count = [0; 8];
        source.read_exact(&mut count).map_err(damage)?;
        if u64::from_le_bytes(count) != storage.count {
            return Err(WeightsError::Damaged(format!("storage {key:?} does not have the stated size")));
        }
        let owner = owners.get(&index).map_or(key, |name| name);
        storages.insert(index, read_storage(owner, storage, length, source, budget)?);
    }
    assemble(found, &storages)
}

/// Checks the byte order, which the third pickle of an old file states.
fn check_byte_order(about: &Pickle) -> Result<(), WeightsError> {
    let Value::Dict(items) = about.root() else { return Ok(()) };
    let entry = items.iter().find(|(key, _)| about.text(*key) == Some("little_endian"));
    match entry.map(|&(_, value)| about.value(value)) {
        Some(Value::Bool(false)) => Err(big_endian()),
        _ => Ok(()),
    }
}

fn big_endian() -> WeightsError {
    WeightsError::Damaged(
        "expected little-endian numbers, found big-endian ones: save it on another machine".to_string(),
    )
}

fn storage_of<'a>(pickle: &'a Pickle, view: &View) -> Result<&'a Storage, WeightsError> {
    let storage = pickle.storages.get(view.storage);
    storage.ok_or_else(|| WeightsError::Damaged("a tensor has no storage".to_string()))
}

/// Reads the elements of `storage`, used by tensor `name`, from `source`, which has `available` bytes at most.
fn read_storage(
    name: &str,
    storage: &Storage,
    available: u64,
    source: &mut dyn Read,
    budget: &mut Budget,
) -> Result<Tensor, WeightsError> {
    let Some(kind) = storage.kind() else {
        return Err(WeightsError::Dtype { tensor: name.to_string(), dtype: storage.class.to_string() });
    };
    let expected = storage.count.saturating_mul(kind.elt_size_in_bytes() as u64);
    if expected > available {
        return Err(WeightsError::Truncated { expected, found: available });
    }
    read_tensor(source, kind, &[storage.count as i64], budget)
}

/// Creates the tensors as views of the storages, shared as in Python: no elements are copied.
fn assemble(found: Collected, storages: &Storages) -> Result<TensorFile, WeightsError> {
    let mut tensors = BTreeMap::new();
    let mut order = Vec::new();
    for (name, view) in found.tensors {
        let storage = storages.get(&view.storage);
        let storage = storage.ok_or_else(|| WeightsError::Damaged(format!("the elements of {name} are missing")))?;
        // tch itself writes `|` instead of dots, which TorchScript forbids in names.
        let name = name.replace('|', ".");
        let tensor = part(&name, view, storage)?;
        order.push(name.clone());
        if tensors.insert(name.clone(), tensor).is_some() {
            return Err(WeightsError::Duplicate { name });
        }
    }
    Ok(TensorFile { tensors, order, metadata: found.facts })
}

fn part(name: &str, view: &View, storage: &Tensor) -> Result<Tensor, WeightsError> {
    let View { offset, shape, strides, .. } = view;
    let available = storage.numel() as u64;
    let outside = || {
        let cause =
            format!("{name}, of shape {shape:?}, strides {strides:?} and offset {offset}, is not within its storage");
        WeightsError::Damaged(cause)
    };
    let count = element_count(shape).filter(|_| shape.len() == strides.len()).ok_or_else(outside)?;
    if count == 0 {
        return Ok(Tensor::f_empty(shape, (storage.kind(), Device::Cpu))?);
    }
    let last = shape.iter().zip(strides).try_fold(*offset, |last, (size, stride)| {
        let step = (size - 1).checked_mul(*stride).filter(|_| *stride >= 0)?;
        last.checked_add(step)
    });
    let last = last.and_then(|last| u64::try_from(last).ok()).ok_or_else(outside)?;
    if *offset < 0 || last >= available {
        return Err(outside());
    }
    // Otherwise a few bytes could stand for a tensor of any size.
    if count > available {
        return Err(WeightsError::Expanded { tensor: name.to_string() });
    }
    Ok(storage.f_as_strided(shape, strides, *offset)?)
}
