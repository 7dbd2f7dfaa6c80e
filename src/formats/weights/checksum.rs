//! The checksum of the tensors in a network file of this library: SHA-256 over names, dtypes, shapes and elements.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::WeightsError;
use super::provenance::is_marked;

/// The metadata key of the checksum.
pub(super) const KEY: &str = "tensors_sha256";

/// A running checksum.
#[derive(Default)]
pub(super) struct Checksum(Sha256);

impl Checksum {
    /// Begins the next tensor.
    pub(super) fn begin(&mut self, name: &str, dtype: &str, shape: &[i64]) {
        self.0.update(format!("{name}\n{dtype} {shape:?}\n"));
    }

    /// The checksum in hexadecimal.
    pub(super) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Adds what is written.
impl Write for Checksum {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reader that adds what is read to a checksum, if there is one.
pub(super) struct Summed<'a> {
    pub source: &'a mut dyn Read,
    pub sum: Option<Checksum>,
}

impl Read for Summed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        if let Some(sum) = &mut self.sum {
            sum.write_all(&buffer[..length])?;
        }
        Ok(length)
    }
}

/// Whether a file with this metadata has a checksum when it is written.
pub(super) fn has_one(metadata: &BTreeMap<String, String>) -> bool {
    is_marked(metadata)
}

/// Compares the checksum of the tensors that were read with that in the metadata, if there is one.
pub(super) fn check(metadata: &BTreeMap<String, String>, found: String) -> Result<(), WeightsError> {
    match metadata.get(KEY) {
        Some(saved) if *saved != found => Err(WeightsError::Checksum),
        _ => Ok(()),
    }
}
