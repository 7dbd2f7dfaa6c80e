//! MNIST and Fashion-MNIST from their files.
//!
//! A file is used only if its checksum is that of the published one, so its header needs no further check.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::locate::files_of;
use super::manifest::{FileSpec, Manifest, SIDE};
use super::{Images, idx};

/// Reads the complete training and test files of `manifest` in `folder`, gzipped or not, in memory.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing, [`DataError::Damaged`] if one differs from the published one,
/// [`DataError::Io`] if one cannot be read.
pub fn read(folder: &Path, manifest: &Manifest<'_>) -> Result<(Images, Images), DataError> {
    let paths = files_of(folder, manifest)?;
    let values = |(path, spec): (&PathBuf, &FileSpec<'_>)| {
        let mut content = idx::read(path, spec, manifest)?;
        // The header: the magic number and each dimension, a word of 4 bytes each.
        content.drain(..4 * spec.header.len());
        Ok(content)
    };
    let mut files = paths.iter().zip(manifest.files).map(values).collect::<Result<Vec<_>, DataError>>()?.into_iter();
    let mut split = || {
        let (pixels, labels) = (files.next().unwrap_or_default(), files.next().unwrap_or_default());
        Images { pixels, labels, channels: 1, height: SIDE, width: SIDE }
    };
    Ok((split(), split()))
}

/// The result of checking one file.
#[derive(Debug)]
pub struct FileCheck {
    /// The file, gzipped or not.
    pub path: PathBuf,
    /// Whether it equals the published file, byte for byte.
    pub outcome: Result<(), DataError>,
}

/// Checks every file of `manifest` in `folder`.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing.
pub fn verify(folder: &Path, manifest: &Manifest<'_>) -> Result<Vec<FileCheck>, DataError> {
    let paths = files_of(folder, manifest)?;
    let check = |(path, spec): (PathBuf, _)| FileCheck { outcome: idx::read(&path, spec, manifest).map(drop), path };
    Ok(paths.into_iter().zip(manifest.files).map(check).collect())
}
