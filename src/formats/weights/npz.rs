//! NumPy's `.npz`: a zip archive of `.npy` files, compressed or not.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Seek, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use rawzip::path::ZipFilePath;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use tch::Tensor;

use super::archive::{Archive, expect_end};
use super::budget::Budget;
use super::elements::{dense_kind, read_tensor, write_tensor};
use super::npy::Header;
use super::{TensorFile, WeightsError};

const EXTENSION: &str = ".npy";

/// Reads all arrays of `archive`, in its order.
pub(super) fn read<R: Read + Seek>(archive: &Archive<R>, budget: &mut Budget) -> Result<TensorFile, WeightsError> {
    let mut tensors = BTreeMap::new();
    let mut order = Vec::new();
    for entry in &archive.entries {
        let name = entry
            .name
            .strip_suffix(EXTENSION)
            .ok_or_else(|| WeightsError::Damaged(format!("expected NumPy arrays only, found {}", entry.name)))?;
        let mut content = archive.read(entry)?;
        let Header { kind, fortran_order, mut shape } = Header::read(name, &mut content)?;
        if fortran_order {
            shape.reverse();
        }
        let mut tensor = read_tensor(&mut content, kind, &shape, budget)?;
        if fortran_order {
            let reversed: Vec<_> = (0..shape.len() as i64).rev().collect();
            tensor = tensor.f_permute(reversed)?;
        }
        expect_end(&entry.name, &mut content)?;
        order.push(name.to_string());
        tensors.insert(name.to_string(), tensor);
    }
    Ok(TensorFile { tensors, order, metadata: BTreeMap::new() })
}

/// An archive to be written.
pub(super) struct Layout<'a> {
    arrays: Vec<(String, Vec<u8>, &'a Tensor)>,
    compress: bool,
}

impl<'a> Layout<'a> {
    /// Prepares the arrays in the given order; rejects names that could not be read back.
    pub(super) fn new(tensors: &'a [(String, Tensor)], compress: bool) -> Result<Self, WeightsError> {
        let mut names = HashSet::new();
        let mut arrays = Vec::new();
        for (name, tensor) in tensors {
            let unwritable = |cause: String| WeightsError::Unwritable { tensor: name.clone(), cause };
            let entry = format!("{name}{EXTENSION}");
            if ZipFilePath::from_str(&entry).as_ref() != entry || entry.len() > usize::from(u16::MAX) {
                return Err(unwritable(
                    "this cannot be the name of an entry in a zip archive; use another".to_string(),
                ));
            }
            if !names.insert(name) {
                return Err(unwritable("there are two of this name".to_string()));
            }
            let header = dense_kind(tensor).and_then(|kind| Header::write(kind, &tensor.size())).ok_or_else(|| {
                unwritable(format!("expected a dense tensor of a kind that NumPy has, got {tensor:?}; convert it"))
            })?;
            arrays.push((entry, header, tensor));
        }
        Ok(Self { arrays, compress })
    }

    /// Writes the archive. Entries have no date, so that the same arrays give the same bytes.
    pub(super) fn write(&self, file: &mut dyn Write) -> io::Result<()> {
        let mut archive = ZipArchiveWriter::new(file);
        let method = if self.compress { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
        for (name, header, tensor) in &self.arrays {
            let start = archive.new_file(name).compression_method(method).start();
            let (mut entry, config) = start.map_err(io::Error::other)?;
            let fill = |file: &mut dyn Write| file.write_all(header).and_then(|()| write_tensor(tensor, file));
            let sizes = if self.compress {
                let mut content = config.wrap(DeflateEncoder::new(&mut entry, Compression::default()));
                fill(&mut content)?;
                let (encoder, sizes) = content.finish().map_err(io::Error::other)?;
                encoder.finish()?;
                sizes
            } else {
                let mut content = config.wrap(&mut entry);
                fill(&mut content)?;
                content.finish().map_err(io::Error::other)?.1
            };
            entry.finish(sizes).map_err(io::Error::other)?;
        }
        archive.finish().map_err(io::Error::other)?;
        Ok(())
    }
}
