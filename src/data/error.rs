//! Errors of data sets.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::network::shape::show;

/// A data set that is missing, damaged, too small or cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The attempted action: "read", "create the folder" ..
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A verified file could not be written to its destination.
    #[error(transparent)]
    Write(#[from] Box<crate::error::Error>),
    /// No folder contains the files.
    #[error(
        "{title} is not in {}: expected {first} (or {first}.gz) and its three companions there or in a subfolder \
         `{name}`; run `tch-spiking data fetch {name}`, or give the folder that contains them with --data",
        list(looked)
    )]
    NotFound {
        /// The title of the data set.
        title: String,
        /// The name of the data set on the command line.
        name: String,
        /// The first of the files that were expected.
        first: String,
        /// The folders that were searched.
        looked: Vec<PathBuf>,
    },
    /// A folder given by the user contains only some of the files.
    #[error(
        "{} contains only a part of {name}: expected {} too; add the missing files, or download all with `tch-spiking data fetch {name}`",
        folder.display(), missing.join(", ")
    )]
    Incomplete {
        /// The data set.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// The missing files.
        missing: Vec<String>,
    },
    /// Samples that are not images cannot be augmented.
    #[error(
        "training.augmentation is for images of channels x height x width, one per sample or one per timestep of it, but a batch \
         is {}: leave the section out",
        show(found)
    )]
    NotAugmentable {
        /// The shape of the batch.
        found: Vec<i64>,
    },
    /// A file differs from the published one.
    #[error("{}: {damage}; {}", path.display(), damage.advice(name))]
    Damaged {
        /// The data set.
        name: String,
        /// The file.
        path: PathBuf,
        /// How it differs.
        damage: Damage,
    },
    /// More images were requested than are available.
    #[error("data.{key} = {asked}: only {available} images are available ({of}); request fewer")]
    NotEnough {
        /// The configuration key.
        key: &'static str,
        /// The requested number.
        asked: usize,
        /// The available number.
        available: usize,
        /// What the available number refers to.
        of: String,
    },
    /// No mirror provided the correct file.
    #[error("could not download {file} from any mirror; check the network connection{}", lines(causes))]
    Fetch {
        /// The file.
        file: String,
        /// Each address that was tried, and its error.
        causes: Vec<(String, String)>,
    },
    /// The program was built without downloads.
    #[error(
        "this program was built without the feature `datasets` of tch-spiking, which is needed to download data sets"
    )]
    CannotFetch,
    /// There is no cache folder to download into.
    #[error("there is no cache folder for this user (is HOME set?): choose a folder for the files with --to")]
    NoCacheFolder,
    /// The samples do not match the network.
    #[error("the network does not fit the data: {0}")]
    Misfit(String),
    /// A data set cannot be registered.
    #[error("a data set cannot be registered as {name:?}: expected a name other than {}", taken.join(", "))]
    NameTaken {
        /// The name.
        name: String,
        /// The names in use.
        taken: Vec<String>,
    },
    /// The name of the data set is unknown.
    #[error("unknown data set {name:?}: expected one of {}; register others with data::register", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// The names in use.
        known: Vec<String>,
    },
    /// A registered data set was used where images are needed.
    #[error("{name:?} is a data set of samples, not of images: load it with data::load_splits")]
    NotImages {
        /// Its name.
        name: String,
    },
    /// An error of the samples or loader of the program.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl DataError {
    pub(super) fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }
}

/// How a file differs from the published one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Damage {
    /// The file could not be read or uncompressed completely.
    Unreadable {
        /// The number of bytes read before the error.
        after: u64,
        /// The expected number of bytes.
        expected: u64,
        /// The error.
        source: std::io::Error,
    },
    /// The file is too short or too long.
    Size {
        /// Bytes expected, uncompressed.
        expected: u64,
        /// Bytes found; one more than expected stands for any larger size.
        found: u64,
    },
    /// The file is not an IDX file of the right kind.
    Magic {
        /// The first four bytes expected.
        expected: u32,
        /// The first four bytes found.
        found: u32,
    },
    /// The header gives another number of items.
    Count {
        /// Items expected.
        expected: u32,
        /// Items according to the header.
        found: u32,
    },
    /// The header gives another image size.
    Shape {
        /// Rows or columns expected.
        expected: u32,
        /// Rows or columns according to the header.
        found: u32,
    },
    /// Size and header are correct, but the checksum differs.
    Checksum {
        /// SHA-256 expected.
        expected: String,
        /// SHA-256 found.
        found: String,
        /// The data set that this file belongs to.
        belongs_to: Option<&'static str>,
    },
}

impl Damage {
    fn advice(&self, name: &str) -> String {
        match self {
            Self::Checksum { belongs_to: Some(title), .. } => {
                format!("choose {title} instead, or another folder with --data")
            }
            _ => format!("delete the file and run `tch-spiking data fetch {name}`"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { after, expected, source } => {
                write!(f, "damaged: it ends after {after} of {expected} bytes ({source})")
            }
            Self::Size { expected, found } if found > expected => {
                write!(f, "wrong size: expected {expected} bytes uncompressed, found more")
            }
            Self::Size { expected, found } => {
                write!(f, "wrong size: expected {expected} bytes uncompressed, found {found}")
            }
            Self::Magic { expected, found } => {
                write!(
                    f,
                    "not an IDX file of this kind: expected it to start with {expected:#010x}, found {found:#010x}"
                )
            }
            Self::Count { expected, found } => {
                write!(f, "wrong count: expected {expected} items, its header says {found}")
            }
            Self::Shape { expected, found } => {
                write!(f, "wrong image size: expected {expected} rows and columns, its header says {found}")
            }
            Self::Checksum { expected, found, belongs_to } => {
                write!(f, "not the published file: expected SHA-256 {expected}, found {found}")?;
                belongs_to.map_or(Ok(()), |title| write!(f, ", which is the file from {title}"))
            }
        }
    }
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn lines(causes: &[(String, String)]) -> String {
    causes.iter().map(|(url, cause)| format!("\n  {url}: {cause}")).collect()
}
