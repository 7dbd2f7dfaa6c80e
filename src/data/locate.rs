//! Search for data sets in the usual folders.

use std::path::{Path, PathBuf};

use super::error::DataError;
use super::idx;
use super::manifest::Manifest;

/// The environment variable that names a data folder.
pub const VARIABLE: &str = "TCH_SPIKING_DATA";

/// The folders that may hold data.
#[derive(Clone, Debug)]
pub struct Places {
    /// Folders given by the user, each with its origin: `--data` or [`VARIABLE`].
    pub named: Vec<(&'static str, PathBuf)>,
    /// Default folders: `./data`, the cache folder.
    pub usual: Vec<PathBuf>,
    /// The user's cache folder, to which files are downloaded.
    pub cache: Option<PathBuf>,
}

impl Places {
    /// `path` (from `--data`), `TCH_SPIKING_DATA`, `./data` and the user's cache folder, in this order.
    pub fn new(path: Option<&Path>) -> Self {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        let named = path.map(|path| ("--data", path.to_path_buf())).into_iter();
        let cache = dirs::cache_dir().map(|cache| cache.join("tch-spiking"));
        Self {
            named: named.chain(variable.map(|path| (VARIABLE, path))).collect(),
            usual: std::iter::once(PathBuf::from("data")).chain(cache.clone()).collect(),
            cache,
        }
    }

    /// The first folder with all files of `manifest`; `notice` receives a message for each given folder without them
    /// and each incomplete folder.
    ///
    /// # Errors
    /// [`DataError::Incomplete`] if a folder given by the user has some of the files but not all;
    /// with `strict`, [`DataError::NotFound`] if it has none.
    pub fn find(
        &self,
        manifest: &Manifest<'_>,
        strict: bool,
        notice: &mut dyn FnMut(&str),
    ) -> Result<Option<PathBuf>, DataError> {
        for (how, folder) in &self.named {
            match look_into(folder, manifest)? {
                Some(folder) => return Ok(Some(folder)),
                None if strict => return Err(not_found(manifest, vec![folder.clone()])),
                None => notice(&format!("{how} is {}, which does not contain {}.", folder.display(), manifest.title)),
            }
        }
        for folder in &self.usual {
            match look_into(folder, manifest) {
                Ok(Some(folder)) => return Ok(Some(folder)),
                Ok(None) => {}
                // Left by an interrupted download, which fetching continues.
                Err(incomplete) => notice(&incomplete.to_string()),
            }
        }
        Ok(None)
    }

    /// The error that lists the folders searched for `manifest`.
    pub fn not_found(&self, manifest: &Manifest<'_>) -> DataError {
        let named = self.named.iter().map(|(_, folder)| folder);
        not_found(manifest, named.chain(&self.usual).cloned().collect())
    }
}

/// The folder itself or its subfolder named after the data set, whichever has all files; `None` if neither has any.
///
/// # Errors
/// [`DataError::Incomplete`] if only some of the files exist.
fn look_into(folder: &Path, manifest: &Manifest<'_>) -> Result<Option<PathBuf>, DataError> {
    let mut outcome = Ok(None);
    // The subfolder comes first: its name identifies the data set.
    for folder in [folder.join(manifest.name), folder.to_path_buf()] {
        match files_of(&folder, manifest) {
            Ok(_) => return Ok(Some(folder)),
            Err(DataError::Incomplete { missing, .. }) if missing.len() == manifest.files.len() => {}
            Err(incomplete) => outcome = outcome.and(Err(incomplete)),
        }
    }
    outcome
}

/// The path of each file of `manifest` in `folder`, gzipped or not.
///
/// # Errors
/// [`DataError::Incomplete`] with the missing files.
pub(super) fn files_of(folder: &Path, manifest: &Manifest<'_>) -> Result<Vec<PathBuf>, DataError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for spec in manifest.files {
        match idx::find(folder, spec) {
            Some(path) => found.push(path),
            None => missing.push(spec.name.to_owned()),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(DataError::Incomplete { name: manifest.name.to_owned(), folder: folder.to_path_buf(), missing })
}

fn not_found(manifest: &Manifest<'_>, looked: Vec<PathBuf>) -> DataError {
    DataError::NotFound {
        title: manifest.title.to_owned(),
        name: manifest.name.to_owned(),
        first: manifest.files.first().map_or_else(String::new, |spec| spec.name.to_owned()),
        looked,
    }
}
