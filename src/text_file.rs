//! Reading of small text files that may be anything.

use std::fs::File;
use std::io::{Error as IoError, Read};
use std::path::Path;

use crate::error::{Error, Result};

/// The largest text file that is read (bytes); an experiment has some kilobytes.
const LARGEST: u64 = 1 << 20;

/// Reads the text file `path`, which may be a pipe.
///
/// # Errors
/// If it cannot be read, is not UTF-8, or is larger than [`LARGEST`], such as a device without end.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let read = || {
        let mut text = String::new();
        File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
        match text.len() as u64 {
            length if length > LARGEST => {
                Err(IoError::other(format!("it has more than {LARGEST} bytes: expected a small text file")))
            }
            _ => Ok(text),
        }
    };
    read().map_err(|source| Error::io("read", path, source))
}
