//! Zip archives, in which PyTorch and NumPy store their arrays.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::DeflateDecoder;
use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder, ZipLocator};

use super::budget::Budget;
use super::elements::damage;
use super::{Format, WeightsError};

/// Memory of an entry, without its name (bytes).
const ENTRY: u64 = 300;

/// A zip archive whose directory was read.
#[derive(Debug)]
pub(super) struct Archive<R> {
    zip: ZipArchive<AnyPlace<R>>,
    /// Entries in directory order.
    pub(super) entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

/// A file in an archive.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Uncompressed size (bytes) according to the directory.
    pub(super) size: u64,
    method: CompressionMethod,
    encrypted: bool,
    place: ZipArchiveEntryWayfinder,
}

impl<R: Read + Seek> Archive<R> {
    /// Opens the archive in `source`, which is `length` bytes long.
    pub(super) fn open(source: R, length: u64, budget: &mut Budget) -> Result<Self, WeightsError> {
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let located = ZipLocator::new().locate_in_reader(AnyPlace(RefCell::new(source)), &mut buffer, length);
        let zip = located.map_err(|(_, error)| unreadable(&error))?;
        let mut entries = Vec::new();
        let mut by_name = HashMap::new();
        let mut records = zip.entries(&mut buffer);
        while let Some(record) = records.next_entry().map_err(|error| unreadable(&error))? {
            let path = record.file_path();
            budget.take(ENTRY + 2 * path.as_bytes().len() as u64)?;
            let name = String::from_utf8_lossy(path.as_bytes()).into_owned();
            if record.local_header_offset() >= length || record.compressed_size_hint() > length {
                return Err(WeightsError::Damaged(format!("the position of {name} is outside of the file")));
            }
            if by_name.insert(name.clone(), entries.len()).is_some() {
                return Err(WeightsError::Duplicate { name });
            }
            entries.push(Entry {
                name,
                size: record.uncompressed_size_hint(),
                method: record.compression_method(),
                encrypted: record.flags().is_encrypted(),
                place: record.wayfinder(),
            });
        }
        Ok(Self { zip, entries, by_name })
    }

    /// Detects the format from the names of the entries.
    pub(super) fn format(&self) -> Format {
        let has = |part: &str| self.entries.iter().any(|entry| entry.name.contains(part));
        match self.entries.first() {
            _ if has("/data.pkl") && (has("/constants.pkl") || has("/code/")) => Format::TorchScript,
            _ if has("/data.pkl") => Format::PyTorch,
            Some(first) if first.name.ends_with(".npy") => Format::Npz,
            _ => Format::Zip,
        }
    }

    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).and_then(|&index| self.entries.get(index))
    }

    /// Opens the content of `entry`; reading it to its end verifies its checksum.
    pub(super) fn read(&self, entry: &Entry) -> Result<Box<dyn Read + '_>, WeightsError> {
        if entry.encrypted {
            return Err(WeightsError::Damaged(format!("{} is encrypted", entry.name)));
        }
        let packed = self.zip.get_entry(entry.place).map_err(|error| unreadable(&error))?;
        match entry.method {
            CompressionMethod::STORE => Ok(Box::new(packed.verifying_reader(packed.reader()))),
            CompressionMethod::DEFLATE => Ok(Box::new(packed.verifying_reader(DeflateDecoder::new(packed.reader())))),
            method => Err(WeightsError::Damaged(format!(
                "{} is compressed by method {}, expected 0 (none) or 8 (deflate)",
                entry.name,
                method.as_u16()
            ))),
        }
    }
}

/// The reader given to `rawzip`, which seeks before each read.
#[derive(Debug)]
struct AnyPlace<R>(RefCell<R>);

impl<R: Read + Seek> ReaderAt for AnyPlace<R> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut source = self.0.try_borrow_mut().map_err(io::Error::other)?;
        source.seek(SeekFrom::Start(offset))?;
        source.read(buffer)
    }
}

/// Checks that `content` ends here, which also verifies the checksum of what was read.
pub(super) fn expect_end(name: &str, content: &mut dyn Read) -> Result<(), WeightsError> {
    match content.read(&mut [0]).map_err(damage)? {
        0 => Ok(()),
        _ => Err(WeightsError::Damaged(format!("{name} is longer than its header says"))),
    }
}

fn unreadable(error: &rawzip::Error) -> WeightsError {
    WeightsError::Damaged(format!("as a zip archive: {error}"))
}
