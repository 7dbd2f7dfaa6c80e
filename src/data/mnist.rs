//! MNIST and Fashion-MNIST from their files, parsed by the `mnist` crate.
//!
//! That crate panics on any other file, and with a shortened training set takes its "test" images from the
//! training file. So it only reads content with a verified checksum, and always as 60,000 / 0 / 10,000. It reads from
//! paths alone: those of files in memory (elsewhere than on Linux temporary files without a name), which end with the process,
//! however that ends.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::error::DataError;
use super::locate::files_of;
use super::manifest::{Manifest, SIDE, TEST, TRAIN};
use super::{Images, idx};

/// The folder in which a process finds its open files by number.
const OPEN_FILES: &str = "/dev/fd";

/// Reads the complete training and test files of `manifest` in `folder`, gzipped or not.
///
/// # Errors
/// [`DataError::Incomplete`] if a file is missing, [`DataError::Damaged`] if one differs from the published one,
/// [`DataError::Io`] if one cannot be read or memory (elsewhere than on Linux the temporary folder) has too little space
/// (55 MB).
pub fn read(folder: &Path, manifest: &Manifest<'_>) -> Result<(Images, Images), DataError> {
    let paths = files_of(folder, manifest)?;
    let mut files = Vec::new();
    for (path, spec) in paths.iter().zip(manifest.files) {
        let content = idx::read(path, spec, manifest)?;
        let file = nameless(&content);
        files.push(file.map_err(|source| DataError::io("write a temporary copy of", path, source))?);
    }
    let [training, training_labels, test, test_labels] =
        [0, 1, 2, 3].map(|index| files.get(index).map(|file| file.as_raw_fd().to_string()).unwrap_or_default());
    let first = Path::new(OPEN_FILES).join(&training);
    std::fs::metadata(&first).map_err(|source| DataError::io("open the temporary file", first, source))?;
    let parsed = mnist::MnistBuilder::new()
        .base_path(OPEN_FILES)
        .training_images_filename(&training)
        .training_labels_filename(&training_labels)
        .test_images_filename(&test)
        .test_labels_filename(&test_labels)
        .label_format_digit()
        .training_set_length(TRAIN as u32)
        .validation_set_length(0)
        .test_set_length(TEST as u32)
        .finalize();
    let images = |pixels, labels| Images { pixels, labels, channels: 1, height: SIDE, width: SIDE };
    Ok((images(parsed.trn_img, parsed.trn_lbl), images(parsed.tst_img, parsed.tst_lbl)))
}

/// A file without a name that holds `content`.
fn nameless(content: &[u8]) -> std::io::Result<File> {
    #[cfg(target_os = "linux")]
    let mut file = File::from(rustix::fs::memfd_create("mnist", rustix::fs::MemfdFlags::CLOEXEC)?);
    #[cfg(not(target_os = "linux"))]
    let mut file = tempfile::tempfile()?;
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
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
