//! Damaged files of every format: nothing panics, nothing takes much memory, and what is wrong is said.
//!
//! `fuzz/` does the same for longer.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use flate2::write::DeflateEncoder;
use proptest::prelude::*;
use tch_spiking::weights;

/// The fixtures that stand for a reader each.
const READERS: [&str; 12] = [
    "state_dict.pt",
    "state_dict_legacy.pt",
    "state_dict_protocol_4.pt",
    "checkpoint.pt",
    "shared.pt",
    "shared_legacy.pt",
    "kinds_legacy.pt",
    "scripted.pt",
    "module_legacy.pt",
    "arrays.npz",
    "arrays_compressed.npz",
    "positional.npz",
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(fixtures().join(name)).unwrap()
}

fn check(content: &[u8]) {
    if let Err(error) = weights::read_from(Cursor::new(content)) {
        assert!(!error.to_string().is_empty());
    }
}

/// What is done to a file.
#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    /// The largest, smallest and oddest lengths, as numbers of 1 to 8 bytes.
    Number(prop::sample::Index, u64, usize),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, u8),
    Repeat(prop::sample::Index, u8),
    /// A piece of another file.
    Splice(prop::sample::Index, usize, prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<prop::sample::Index>;
    let number =
        prop::sample::select(&[0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX][..]);
    prop_oneof![
        (place(), any::<u8>()).prop_map(|(at, value)| Damage::Set(at, value)),
        (place(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (place(), number, prop::sample::select(&[1, 2, 4, 8][..]))
            .prop_map(|(at, n, size)| Damage::Number(at, n, size)),
        place().prop_map(Damage::Cut),
        (place(), any::<u8>()).prop_map(|(at, length)| Damage::Remove(at, length)),
        (place(), any::<u8>()).prop_map(|(at, length)| Damage::Repeat(at, length)),
        (place(), 0..READERS.len(), place(), any::<u8>())
            .prop_map(|(at, file, from, n)| Damage::Splice(at, file, from, n)),
    ]
}

impl Damage {
    fn apply(&self, content: &mut Vec<u8>) {
        if content.is_empty() {
            return;
        }
        let end = |start: usize, length: usize| (start + length).min(content.len());
        match self {
            Self::Set(at, value) => *at.get_mut(content) = *value,
            Self::Flip(at, bit) => *at.get_mut(content) ^= 1 << bit,
            Self::Number(at, number, size) => {
                let start = at.index(content.len());
                let range = start..end(start, *size);
                content.splice(range, number.to_le_bytes()[..*size].to_vec());
            }
            Self::Cut(at) => content.truncate(at.index(content.len())),
            Self::Remove(at, length) => {
                let start = at.index(content.len());
                content.drain(start..end(start, usize::from(*length)));
            }
            Self::Repeat(at, length) => {
                let start = at.index(content.len());
                let piece = content[start..end(start, usize::from(*length))].to_vec();
                content.splice(start..start, piece);
            }
            Self::Splice(at, file, from, length) => {
                let other = fixture(READERS[*file]);
                let from = from.index(other.len());
                let piece = other[from..(from + usize::from(*length)).min(other.len())].to_vec();
                let start = at.index(content.len());
                content.splice(start..end(start, piece.len()), piece);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_files_never_panic(file in 0..READERS.len(), damages in prop::collection::vec(damage(), 1..5)) {
        let mut content = fixture(READERS[file]);
        damages.iter().for_each(|damage| damage.apply(&mut content));
        check(&content);
    }

    // Checksums stop most of the above; an old file has none, and its pickle is its beginning.
    #[test]
    fn damaged_pickles_never_panic(file in prop::sample::select(&["state_dict_legacy.pt", "shared_legacy.pt", "kinds_legacy.pt", "module_legacy.pt"][..]), damages in prop::collection::vec(damage(), 1..4)) {
        let mut content = fixture(file);
        let kept: Vec<_> = content.drain(..15).collect();
        damages.iter().for_each(|damage| damage.apply(&mut content));
        check(&[kept, content].concat());
    }
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    for name in READERS {
        let content = fixture(name);
        for length in (0..content.len()).step_by(content.len().div_ceil(500)) {
            assert!(weights::read_from(Cursor::new(&content[..length])).is_err(), "{length} bytes of {name}");
        }
    }
}

/// A file of `torch.save` before 1.6 whose pickle is `program`.
fn legacy(program: &[u8]) -> Vec<u8> {
    let head = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00.";
    [head.as_slice(), program, b"\x80\x02].".as_slice()].concat()
}

#[test]
fn pickles_made_to_exhaust_are_refused() {
    let refused = |program: &[u8], expected: &str| {
        let error = weights::read_from(Cursor::new(legacy(program))).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    // A list of two lists of two lists ..
    let mut bomb = b"\x80\x02]q\x00K\x01a0".to_vec();
    for level in 1..80_u8 {
        bomb.extend([b']', b'q', level, b'(', b'h', level - 1, b'h', level - 1, b'e', b'0']);
    }
    refused(&[bomb, b"h\x4f.".to_vec()].concat(), "nested without end");
    // A list that holds itself.
    refused(b"\x80\x02]q\x00h\x00a.", "nested without end");
    refused(
        &[b"\x80\x02".to_vec(), b"]".repeat(100_000), b"a".repeat(99_999), b".".to_vec()].concat(),
        "nested without end",
    );
    refused(&[b"\x80\x02".to_vec(), b"(".repeat(1_000_000), b".".to_vec()].concat(), "memory");
    refused(&[b"\x80\x02".to_vec(), b"N".repeat(1_000_000), b".".to_vec()].concat(), "memory");
    refused(b"\x80\x02X\xff\xff\xff\xff.", "cut off");
    refused(b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "cut off");
    refused(b"\x80\x02h\x07.", "referred to but not there");
    refused(b"\x80\x02.", "lacks a value");
    refused(b"\x80\x02(}u0.", "lacks a value");
    refused(b"\x80\x02I5\n.", "0x49");
    refused(b"\x80\x02cos\nsystem\nU\x04true\x85R.", "os.system");
    refused(b"\x80\x02K\x05.", "found int");
    refused(b"\x80\x02ccollections\nOrderedDict\n(](K\x01etR.", "a key lacks its value");
}

#[test]
fn big_endian_archives_are_refused() {
    let read = |order: &[u8]| {
        let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
        for (name, content) in [("a/data.pkl", b"\x80\x02}.".as_slice()), ("a/byteorder", order)] {
            let (mut entry, config) = archive.new_file(name).start().unwrap();
            let mut writer = config.wrap(&mut entry);
            writer.write_all(content).unwrap();
            let (_, sizes) = writer.finish().unwrap();
            entry.finish(sizes).unwrap();
        }
        weights::read_from(Cursor::new(archive.finish().unwrap()))
    };
    assert!(read(b"little").unwrap().tensors.is_empty());
    assert!(read(b"big").unwrap_err().to_string().contains("little-endian"));
}

/// The most virtual memory that this process has ever had (bytes).
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPeak:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Sizes that are claimed but not there.
#[cfg(target_os = "linux")]
#[test]
fn damaged_files_take_little_memory() {
    // A process of its own, so that no other test adds to the peak.
    if std::env::var_os("MEASURE").is_none() {
        let program = std::env::current_exe().unwrap();
        let arguments = ["damaged_files_take_little_memory", "--exact", "--test-threads=1"];
        let status = std::process::Command::new(program).args(arguments).env("MEASURE", "1").status().unwrap();
        return assert!(status.success());
    }
    READERS.iter().for_each(|name| check(&fixture(name)));
    let before = peak();
    for name in READERS {
        let content = fixture(name);
        for at in 0..content.len() {
            for size in [1, 2, 4, 8] {
                let mut damaged = content.clone();
                let end = (at + size).min(content.len());
                damaged[at..end].fill(0xff);
                if size == 8 {
                    damaged[end - 1] = 0x7f;
                }
                check(&damaged);
            }
        }
    }
    let bomb = bomb();
    assert!(bomb.len() < 1 << 20);
    let error = weights::read_from(Cursor::new(&bomb)).unwrap_err().to_string();
    assert!(error.contains("bytes of memory"), "{error}");
    let grown = peak() - before;
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
}

/// An array of 200 MiB of zeros, compressed to a thousandth.
#[cfg(target_os = "linux")]
fn bomb() -> Vec<u8> {
    let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
    let deflate = rawzip::CompressionMethod::DEFLATE;
    let (mut entry, config) = archive.new_file("zeros.npy").compression_method(deflate).start().unwrap();
    let mut content = config.wrap(DeflateEncoder::new(&mut entry, flate2::Compression::fast()));
    let header = format!("{:<69}\n", "{'descr': '|u1', 'fortran_order': False, 'shape': (209715200,), }");
    content.write_all(b"\x93NUMPY\x01\x00\x46\x00").unwrap();
    content.write_all(header.as_bytes()).unwrap();
    (0..200).for_each(|_| content.write_all(&[0; 1 << 20]).unwrap());
    let (encoder, sizes) = content.finish().unwrap();
    encoder.finish().unwrap();
    entry.finish(sizes).unwrap();
    archive.finish().unwrap()
}
