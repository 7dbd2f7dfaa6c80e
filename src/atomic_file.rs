//! Writes files atomically: a file has its old content or its new content, never a part.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Writes `path` atomically: `fill` writes a temporary file beside it, which is flushed to disk and renamed.
///
/// After any failure (a full disk, a killed process), `path` has its old content or its new one, never a part. A killed
/// process leaves its temporary file, `.tch-spiking-*.tmp`; the next process that writes to the folder removes it. (A
/// file that is still being written is locked.)
///
/// # Errors
/// Returns [`Error::Io`] naming `path`, with the cause (no such folder, no permission, no space).
///
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("summary.txt");
/// tch_spiking::write_atomically(&path, |file| file.write_all(b"98.7 %")).unwrap();
/// assert_eq!(std::fs::read_to_string(path).unwrap(), "98.7 %");
/// ```
pub fn write_atomically(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        // A rename would replace a device such as /dev/null, not write to it.
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            return Err(std::io::Error::other("the path exists and is not a regular file"));
        }
        remove_leftovers(folder);
        let mut temporary = temporary_in(folder)?;
        let mut buffered = BufWriter::new(temporary.as_file_mut());
        fill(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        // The rename must survive a power failure; not every file system allows opening a folder for that.
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    };
    write().map_err(|source| Error::io("write", path, source))
}

/// What the names of temporary files begin and end with.
const NAME: (&str, &str) = (".tch-spiking-", ".tmp");

/// Creates a temporary file in `folder` and locks it, for as long as it is open.
fn temporary_in(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A temporary file is private by default; the result gets the usual permissions (less the umask).
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.prefix(NAME.0).suffix(NAME.1);
    loop {
        let temporary = builder.tempfile_in(folder).map_err(without_path)?;
        // Without locks in this file system, another process may take it for a leftover: the rename would fail.
        let _ = temporary.as_file().lock();
        // Another process may have removed it before it was locked.
        if temporary.path().exists() {
            return Ok(temporary);
        }
    }
}

/// Removes the temporary files in `folder` that ended processes left; looks once in a process.
fn remove_leftovers(folder: &Path) {
    static DONE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let Ok(mut done) = DONE.lock() else { return };
    if !done.insert(folder.to_path_buf()) {
        return;
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| name.starts_with(NAME.0) && name.ends_with(NAME.1));
        // Whatever fails here (another user's file, a read-only folder) is no reason not to write.
        if ours
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes the temporary file's path that `tempfile` adds to the operating system's error; it does not help a user.
fn without_path(error: std::io::Error) -> std::io::Error {
    let inner =
        error.get_ref().and_then(|inner| inner.source()).and_then(|source| source.downcast_ref::<std::io::Error>());
    match inner.and_then(std::io::Error::raw_os_error) {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => error,
    }
}
