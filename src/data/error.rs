//! What can go wrong with data.

use std::fmt;
use std::path::{Path, PathBuf};

/// A data set that is missing, damaged, too small or cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "read", "create the folder" ..
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A verified file could not be put into its place.
    #[error(transparent)]
    Write(#[from] Box<crate::error::Error>),
    /// No folder has the files.
    #[error(
        "{title} is not in {}: expected {first} (or {first}.gz) and its three companions there or in a subfolder \
         `{name}`; run `tch-spiking data fetch {name}`, or name the folder that has them with --data",
        list(looked)
    )]
    NotFound {
        /// The data set, for people.
        title: String,
        /// The data set, for the command line.
        name: String,
        /// The first of the files that were expected.
        first: String,
        /// The folders that were looked into.
        looked: Vec<PathBuf>,
    },
    /// A folder that was named has some of the files only.
    #[error(
        "{} has only a part of {name}: expected {} too; put that there, or get all with `tch-spiking data fetch {name}`",
        folder.display(), missing.join(", ")
    )]
    Incomplete {
        /// The data set.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// What it lacks.
        missing: Vec<String>,
    },
    /// A file that is not the published one.
    #[error("{}: {damage}; {}", path.display(), damage.advice(name))]
    Damaged {
        /// The data set.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// More images asked for than there are.
    #[error("data.{key} = {asked}: only {available} images are there to take ({of}); ask for fewer")]
    NotEnough {
        /// The key of the configuration.
        key: &'static str,
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        available: usize,
        /// Of what.
        of: String,
    },
    /// No mirror gave the right file.
    #[error("could not fetch {file} from any mirror; is this machine connected?{}", lines(causes))]
    Fetch {
        /// The file.
        file: String,
        /// Each address that was tried, and what came of it.
        causes: Vec<(String, String)>,
    },
    /// Nothing can be downloaded.
    #[error("this program was built without the feature `datasets` of tch-spiking, which downloads")]
    CannotFetch,
    /// The machine has no cache folder to fetch into.
    #[error("this user has no cache folder (no home?): say where the files shall go with --to")]
    NoCacheFolder,
    /// Network and samples do not fit together.
    #[error("the network does not fit the data: {0}")]
    Misfit(String),
    /// A data set cannot be registered.
    #[error("{name:?} cannot name a data set of the program's own: expected a name other than {}", taken.join(", "))]
    NameTaken {
        /// The name.
        name: String,
        /// The names in use.
        taken: Vec<String>,
    },
    /// No data set has this name.
    #[error("there is no data set {name:?}: expected one of {}; a program adds its own with data::register", known.join(", "))]
    Unknown {
        /// The name.
        name: String,
        /// The names in use.
        known: Vec<String>,
    },
    /// A registered data set where images are needed.
    #[error("{name:?} is a data set of samples, not of images: load it with data::load_splits")]
    NotImages {
        /// Its name.
        name: String,
    },
    /// What a program's own samples or loader could not do.
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
    /// It could not be read or uncompressed to its end.
    Unreadable {
        /// Bytes that came before that.
        after: u64,
        /// Bytes that were expected.
        expected: u64,
        /// What stopped it.
        source: std::io::Error,
    },
    /// It is too short or too long.
    Size {
        /// Bytes expected, uncompressed.
        expected: u64,
        /// Bytes found; one more than expected stands for any larger size.
        found: u64,
    },
    /// It is no IDX file of the right kind.
    Magic {
        /// The first four bytes expected.
        expected: u32,
        /// The first four bytes found.
        found: u32,
    },
    /// Its header announces another number of items.
    Count {
        /// Items expected.
        expected: u32,
        /// Items announced.
        found: u32,
    },
    /// Its header announces images of another size.
    Shape {
        /// Rows or columns expected.
        expected: u32,
        /// Rows or columns announced.
        found: u32,
    },
    /// All looks right, but it is another file.
    Checksum {
        /// SHA-256 expected.
        expected: String,
        /// SHA-256 found.
        found: String,
        /// The data set that this file does belong to.
        belongs_to: Option<&'static str>,
    },
}

impl Damage {
    fn advice(&self, name: &str) -> String {
        match self {
            Self::Checksum { belongs_to: Some(title), .. } => {
                format!("ask for {title}, or for another folder with --data")
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
                belongs_to.map_or(Ok(()), |title| write!(f, ", which is the file of {title}"))
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
