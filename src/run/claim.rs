//! The claim of a process on a run folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::train::TrainError;

/// The file that is locked while a process uses a run folder; its content names the process.
pub(super) const LOCK: &str = "run.lock";

/// The exclusive claim on a run folder: a lock on a file in it, which the operating system releases when the process
/// ends, however it ends. The file is removed when the claim is dropped; one that a killed process left is taken over.
///
/// On a file system that has no locks, claims do not exclude each other.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    /// Holds the lock while it is open.
    _file: File,
}

impl Claim {
    /// Claims the existing folder `folder`.
    ///
    /// # Errors
    /// [`TrainError::FolderInUse`] if another claim exists, with its holder; or if the lock cannot be created.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK);
        let fail = |source| Error::io("lock", &path, source);
        loop {
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
            let mut file = options.open(&path).map_err(fail)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
                Err(TryLockError::Error(error)) => return Err(fail(error)),
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    let holder = Some(holder.trim()).filter(|name| !name.is_empty()).unwrap_or("another process");
                    return Err(
                        TrainError::FolderInUse { folder: folder.to_path_buf(), holder: holder.to_string() }.into()
                    );
                }
            }
            // Between opening and locking, its last holder may have removed the file: the lock would be on none.
            if is_at(&file, &path) {
                // The name is for people: without it (a full disk), the lock holds all the same.
                let _ = file.set_len(0).and_then(|()| file.write_all(holder().as_bytes()));
                return Ok(Self { path, _file: file });
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Elsewhere than on Unix, a process that has just opened the file could lock it while another creates a new one.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether `path` is the path of the open file `file`.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        match (file.metadata(), std::fs::metadata(path)) {
            (Ok(open), Ok(there)) => (open.dev(), open.ino()) == (there.dev(), there.ino()),
            _ => false,
        }
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        path.exists()
    }
}

/// The name of this process for other processes: its number and, where known, the machine's name.
fn holder() -> String {
    let process = format!("process {}", std::process::id());
    match std::fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(machine) => format!("{process} on {}\n", machine.trim()),
        Err(_) => format!("{process}\n"),
    }
}
