//! MNIST and Fashion-MNIST from their files, parsed by the `mnist` crate.
//!
//! That crate panics on any other file, and with a shortened training set takes its "test" images from the
//! training file. So it only reads a private copy of content with a verified checksum, and always as
//! 60,000 / 0 / 10,000.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::locate::files_of;
use super::manifest::{Manifest, SIDE, TEST, TRAIN};
use super::{Images, idx};

/// Reads the complete training and test files of `manifest` in `folder`, gzipped or not.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing, [`DataError::Damaged`] if one differs from the published one,
/// [`DataError::Io`] if one cannot be read or the system's temporary folder has too little space (55 MB).
pub fn read(folder: &Path, manifest: &Manifest<'_>) -> Result<(Images, Images), DataError> {
    let paths = files_of(folder, manifest)?;
    let private = tempfile::Builder::new()
        .prefix("tch-spiking-")
        .tempdir()
        .map_err(|source| DataError::io("create a folder in", std::env::temp_dir(), source))?;
    for (path, spec) in paths.iter().zip(manifest.files) {
        let copy = private.path().join(spec.name);
        std::fs::write(&copy, idx::read(path, spec, manifest)?)
            .map_err(|source| DataError::io("write", copy, source))?;
    }
    let base = private.path().to_str().ok_or_else(|| {
        let source = std::io::Error::other("its name is not UTF-8: set TMPDIR to another folder");
        DataError::io("use the temporary folder", private.path(), source)
    })?;
    let parsed = mnist::MnistBuilder::new()
        .base_path(base)
        .label_format_digit()
        .training_set_length(TRAIN as u32)
        .validation_set_length(0)
        .test_set_length(TEST as u32)
        .finalize();
    let images = |pixels, labels| Images { pixels, labels, channels: 1, height: SIDE, width: SIDE };
    Ok((images(parsed.trn_img, parsed.trn_lbl), images(parsed.tst_img, parsed.tst_lbl)))
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
