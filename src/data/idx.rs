//! Reading of untrusted IDX files: every property is checked before it is used.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};

use super::error::{Damage, DataError};
use super::manifest::{FileSpec, Manifest, owner_of};

const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The path of the file of `spec` in `folder`, gzipped or not; `None` if neither exists.
pub fn find(folder: &Path, spec: &FileSpec<'_>) -> Option<PathBuf> {
    [format!("{}.gz", spec.name), spec.name.to_owned()]
        .into_iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
}

/// Reads and uncompresses the file at `path` and verifies that it is the published one, byte for byte.
///
/// # Errors
/// [`DataError::Io`] if it cannot be opened, [`DataError::Damaged`] if it is not the published file.
pub fn read(path: &Path, spec: &FileSpec<'_>, manifest: &Manifest<'_>) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(|source| DataError::io("read", path, source))?;
    check(BufReader::with_capacity(1 << 16, file), spec).map_err(|damage| DataError::Damaged {
        name: manifest.name.to_owned(),
        path: path.to_path_buf(),
        damage,
    })
}

/// The uncompressed content of a stream (gzip is recognised by its first bytes) if it is the file that `spec`
/// describes.
///
/// Never uses more memory than the correct file needs, whatever a header claims or a gzip stream expands to.
pub(super) fn check(mut stream: impl BufRead, spec: &FileSpec<'_>) -> Result<Vec<u8>, Damage> {
    let unreadable = |after: usize, source| Damage::Unreadable { after: after as u64, expected: spec.bytes, source };
    let compressed = stream.fill_buf().map_err(|source| unreadable(0, source))?.starts_with(&GZIP);
    let mut content = Vec::with_capacity(spec.bytes as usize + 1);
    let outcome = if compressed {
        let mut decoder = GzDecoder::new(stream).take(spec.bytes + 1);
        decoder.read_to_end(&mut content).and_then(|_| match decoder.into_inner().into_inner().fill_buf()? {
            // Longer content is told by its size.
            rest if !rest.is_empty() && content.len() as u64 <= spec.bytes => {
                Err(std::io::Error::other("there are bytes after the end of the gzip stream"))
            }
            _ => Ok(()),
        })
    } else {
        stream.take(spec.bytes + 1).read_to_end(&mut content).map(drop)
    };
    outcome.map_err(|source| unreadable(content.len(), source))?;

    for (position, (&expected, found)) in spec.header.iter().zip(content.chunks_exact(4)).enumerate() {
        let found = found.iter().fold(0, |word, &byte| word << 8 | u32::from(byte));
        if found != expected {
            return Err(match position {
                0 => Damage::Magic { expected, found },
                1 => Damage::Count { expected, found },
                _ => Damage::Shape { expected, found },
            });
        }
    }
    let found = content.len() as u64;
    if found != spec.bytes {
        return Err(Damage::Size { expected: spec.bytes, found });
    }
    let found = sha256(&content);
    if found != spec.sha256 {
        return Err(Damage::Checksum { expected: spec.sha256.to_owned(), belongs_to: owner_of(&found), found });
    }
    Ok(content)
}

/// SHA-256 of `content`, in lower-case hexadecimal.
///
/// ```
/// use tch_spiking::data::idx::sha256;
/// assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
/// ```
pub fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Three labels, as an IDX file.
    const CONTENT: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1];

    fn check_labels(found: &[u8]) -> Result<Vec<u8>, Damage> {
        let sha256 = sha256(CONTENT);
        check(found, &FileSpec { name: "labels", header: &[0x801, 3], bytes: 11, sha256: &sha256 })
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_right_file_passes_gzipped_or_not() {
        assert_eq!(check_labels(CONTENT).unwrap(), CONTENT);
        assert_eq!(check_labels(&gzip(CONTENT)).unwrap(), CONTENT);
    }

    #[test]
    fn an_empty_or_truncated_file_is_told_with_both_sizes() {
        for length in [0, 3, 8, 10] {
            let found = check_labels(&CONTENT[..length]).unwrap_err();
            assert!(matches!(found, Damage::Size { expected: 11, found } if found == length as u64), "{found:?}");
        }
    }

    #[test]
    fn a_truncated_or_corrupted_gzip_stream_is_unreadable() {
        let whole = gzip(CONTENT);
        for length in 2..whole.len() {
            assert!(matches!(check_labels(&whole[..length]), Err(Damage::Unreadable { expected: 11, .. })), "{length}");
        }
        let mut corrupted = whole.clone();
        let crc = corrupted.len() - 8;
        corrupted[crc] ^= 1;
        assert!(matches!(check_labels(&corrupted), Err(Damage::Unreadable { .. })));
    }

    #[test]
    fn bytes_after_the_gzip_stream_are_damage() {
        for rest in [&b"\0"[..], b"more", &gzip(b"a second member")] {
            let damage = check_labels(&[&gzip(CONTENT), rest].concat()).unwrap_err();
            assert!(matches!(damage, Damage::Unreadable { after: 11, expected: 11, .. }), "{damage:?}");
            assert!(damage.to_string().contains("after the end of the gzip stream"), "{damage}");
        }
    }

    #[test]
    fn what_is_no_idx_file_is_told_by_its_first_bytes() {
        let found = check_labels(b"<!DOCTYPE html><html>").unwrap_err();
        assert!(matches!(found, Damage::Magic { expected: 0x801, found: 0x3c21_444f }), "{found:?}");
        assert!(found.to_string().contains("0x00000801") && found.to_string().contains("0x3c21444f"), "{found}");
    }

    #[test]
    fn a_header_that_promises_billions_is_refused_by_its_count() {
        let mut oversized = CONTENT.to_vec();
        oversized[4..8].fill(0xff);
        assert!(matches!(check_labels(&oversized), Err(Damage::Count { expected: 3, found: u32::MAX })));
    }

    #[test]
    fn a_gzip_bomb_is_read_no_further_than_the_right_size() {
        let mut bomb = CONTENT.to_vec();
        bomb.resize(50_000_000, 0);
        assert!(matches!(check_labels(&gzip(&bomb)), Err(Damage::Size { expected: 11, found: 12 })));
    }

    #[test]
    fn a_changed_byte_is_found_by_the_checksum() {
        let mut changed = CONTENT.to_vec();
        changed[10] = 9;
        assert!(matches!(check_labels(&changed), Err(Damage::Checksum { belongs_to: None, .. })));
    }
}
