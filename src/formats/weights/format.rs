//! What a file is, told by its content.

use std::fmt;

use super::safetensors::{HEADER_START, MAX_HEADER};

/// How much of a file's beginning is looked at (bytes).
pub(super) const HEAD_LENGTH: u64 = 512;

/// A kind of file that people keep weights in, or take for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The format of this library's weights files.
    Safetensors,
    /// What `torch.save` writes: a zip archive around a pickle.
    PyTorch,
    /// A program with its weights, as `torch.jit.save` writes it: a zip archive too.
    TorchScript,
    /// What `torch.save` wrote before version 1.6, or any other Python pickle.
    Pickle,
    /// NumPy arrays in a zip archive.
    Npz,
    /// One NumPy array.
    Npy,
    /// Keras, among others.
    Hdf5,
    /// Another zip archive.
    Zip,
    /// A compressed file.
    Gzip,
    /// A download that ended at a web page.
    Html,
    /// Git's stand-in for a large file that was not fetched.
    GitLfsPointer,
    /// Text.
    Text,
    /// Nothing known.
    Unknown,
}

impl Format {
    /// The format of a file that begins with `head` (all of the file, if it is short).
    ///
    /// What a zip archive holds is told by its first entry here, which may not say it all.
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
        // A header that is too large, or a file too short for one: a safetensors file, if a damaged one.
        let damaged = header_opens || head.len() <= HEADER_START;
        signature.or_else(|| text(head)).unwrap_or(if damaged { Self::Safetensors } else { Self::Unknown })
    }

    /// A short name: `safetensors`, `pytorch`, `torchscript`, `npz` ..
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

    /// What to do with a file of this format.
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

/// A zip archive by the name of its first entry.
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
    // A character may be cut in two at the end of what was read.
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
