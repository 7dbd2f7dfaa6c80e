//! Detects the format of a file from its content.

use std::fmt;

use super::safetensors::{HEADER_START, MAX_HEADER};

/// Number of bytes at the beginning of a file that are examined.
pub(super) const HEAD_LENGTH: u64 = 512;

/// A file format that contains weights, or is mistaken for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Safetensors, the format of this library's weights files.
    Safetensors,
    /// Written by `torch.save`: a zip archive with a pickle.
    PyTorch,
    /// A program with its weights, written by `torch.jit.save`: also a zip archive.
    TorchScript,
    /// Written by `torch.save` before version 1.6, or any other Python pickle.
    Pickle,
    /// NumPy arrays in a zip archive.
    Npz,
    /// One NumPy array.
    Npy,
    /// HDF5, used by Keras and others.
    Hdf5,
    /// Another zip archive.
    Zip,
    /// A compressed file.
    Gzip,
    /// A web page, usually from a failed download.
    Html,
    /// A Git LFS pointer to a large file that was not fetched.
    GitLfsPointer,
    /// Plain text.
    Text,
    /// An unknown format.
    Unknown,
}

impl Format {
    /// Detects the format of a file that begins with `head` (the whole file, if it is short).
    ///
    /// A zip archive is classified by its first entry here, which may not be sufficient.
    pub fn of(head: &[u8]) -> Self {
        let header_length = head.first_chunk().map(|length| u64::from_le_bytes(*length));
        let header_opens = head.get(HEADER_START) == Some(&b'{');
        if header_opens && header_length.is_some_and(|length| length <= MAX_HEADER) {
            return Self::Safetensors;
        }
        let signature = match head {
            [b'P', b'K', 3, 4, ..] => Some(zip(head)),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(Self::Npy),
            [0x89, b'H', b'D', b'F', ..] => Some(Self::Hdf5),
            [0x80, 2..=5, ..] if head.len() > HEADER_START => Some(Self::Pickle),
            _ => None,
        };
        // The header is too large, or the file too short for one: classified as a (damaged) safetensors file.
        let damaged = header_opens || head.len() <= HEADER_START;
        signature.or_else(|| text(head)).unwrap_or(if damaged { Self::Safetensors } else { Self::Unknown })
    }

    /// Returns a short name: `safetensors`, `pytorch`, `torchscript`, `npz` ..
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::PyTorch => "pytorch",
            Self::TorchScript => "torchscript",
            Self::Pickle => "pytorch-legacy",
            Self::Npz => "npz",
            Self::Npy => "npy",
            Self::Hdf5 => "hdf5",
            Self::Zip => "zip",
            Self::Gzip => "gzip",
            Self::Html => "html",
            Self::GitLfsPointer => "git-lfs-pointer",
            Self::Text => "text",
            Self::Unknown => "unknown",
        }
    }

    /// Returns advice for a file of this format.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Pickle => ", which torch.save did not write; save tensors with torch.save or safetensors",
            Self::Npy => ", which has no name; save it with numpy.savez(path, name=array)",
            Self::Hdf5 => "; convert it in Python, with h5py and safetensors.numpy.save_file",
            Self::Zip | Self::Gzip => "; unpack it first",
            Self::Html => ": the download failed; download it again",
            Self::GitLfsPointer => "; fetch the file itself with `git lfs pull`",
            Self::Safetensors | Self::PyTorch | Self::TorchScript | Self::Npz | Self::Text | Self::Unknown => "",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Safetensors => "safetensors",
            Self::PyTorch => "a PyTorch file (.pt, .pth)",
            Self::TorchScript => "a TorchScript file",
            Self::Pickle => "a Python pickle (such as an old PyTorch file)",
            Self::Npz => "NumPy arrays (.npz)",
            Self::Npy => "a NumPy array (.npy)",
            Self::Hdf5 => "an HDF5 file (such as Keras writes)",
            Self::Zip => "a zip archive",
            Self::Gzip => "a gzip archive",
            Self::Html => "a web page",
            Self::GitLfsPointer => "a Git LFS pointer",
            Self::Text => "text",
            Self::Unknown => "something unknown",
        })
    }
}

/// Classifies a zip archive by the name of its first entry.
fn zip(head: &[u8]) -> Format {
    let length = head.get(26..28).map_or(0, |length| usize::from(length[0]) | usize::from(length[1]) << 8);
    let name = head.get(30..30 + length).unwrap_or_default();
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    if name.ends_with(b".npy") {
        Format::Npz
    } else if has(b"/constants.pkl") || has(b"/code/") {
        Format::TorchScript
    } else if has(b"/data.pkl") || has(b"/data/") || has(b"/version") || has(b"/.format_version") {
        Format::PyTorch
    } else {
        Format::Zip
    }
}

fn text(head: &[u8]) -> Option<Format> {
    // A character may be cut at the end of what was read.
    let readable = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    if readable.chars().any(|letter| letter.is_control() && !letter.is_whitespace()) {
        return None;
    }
    let start = readable.trim_start().to_ascii_lowercase();
    Some(if start.starts_with("<!doctype") || start.starts_with("<html") {
        Format::Html
    } else if start.starts_with("version https://git-lfs") {
        Format::GitLfsPointer
    } else {
        Format::Text
    })
}
