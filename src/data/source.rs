//! The record of the data set that was used.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use super::DatasetName;

/// The data set that was used, as recorded in runs, checkpoints and summaries.
///
/// ```
/// use tch_spiking::data::Source;
/// let source = Source::Digits { seed: 7 };
/// assert_eq!(source.name(), "digits");
/// assert_eq!(source.to_string(), "built-in digits (seed 7)");
/// assert_eq!(serde_json::to_string(&source).unwrap(), r#"{"name":"digits","seed":7}"#);
/// ```
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(from = "Record", into = "Record")]
pub enum Source {
    /// MNIST.
    Mnist {
        /// The folder that held the files.
        folder: PathBuf,
    },
    /// Fashion-MNIST.
    Fashion {
        /// The folder that held the files.
        folder: PathBuf,
    },
    /// The built-in digits.
    Digits {
        /// The seed they were generated from.
        seed: u64,
    },
    /// A data set registered by the program: see [`register`](super::register).
    Registered {
        /// Its registered name.
        name: String,
    },
}

/// The serialised form.
#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    /// A record for people: what is not UTF-8 in it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "lossy")]
    folder: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

fn lossy<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.to_string_lossy()).serialize(serializer)
}

impl From<Record> for Source {
    fn from(Record { name, folder, seed }: Record) -> Self {
        match (name.as_str(), folder, seed) {
            ("mnist", Some(folder), _) => Self::Mnist { folder },
            ("fashion", Some(folder), _) => Self::Fashion { folder },
            ("digits", _, Some(seed)) => Self::Digits { seed },
            _ => Self::Registered { name },
        }
    }
}

impl From<Source> for Record {
    fn from(source: Source) -> Self {
        let name = source.name().to_string();
        match source {
            Source::Mnist { folder } | Source::Fashion { folder } => Self { name, folder: Some(folder), seed: None },
            Source::Digits { seed } => Self { name, folder: None, seed: Some(seed) },
            Source::Registered { .. } => Self { name, folder: None, seed: None },
        }
    }
}

impl Source {
    /// The name for `data.dataset`: `mnist`, `fashion`, `digits`, or that of a registered data set.
    pub fn name(&self) -> &str {
        match self {
            Self::Mnist { .. } => "mnist",
            Self::Fashion { .. } => "fashion",
            Self::Digits { .. } => "digits",
            Self::Registered { name } => name,
        }
    }
}

impl From<&Source> for DatasetName {
    fn from(source: &Source) -> Self {
        match source {
            Source::Mnist { .. } => Self::Mnist,
            Source::Fashion { .. } => Self::Fashion,
            Source::Digits { .. } => Self::Digits,
            Source::Registered { name } => Self::Registered(name.clone()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist { folder } => write!(f, "MNIST ({})", folder.display()),
            Self::Fashion { folder } => write!(f, "Fashion-MNIST ({})", folder.display()),
            Self::Digits { seed } => write!(f, "built-in digits (seed {seed})"),
            Self::Registered { name } => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_is_read_as_it_was_written() {
        for source in [
            Source::Mnist { folder: "some where".into() },
            Source::Fashion { folder: "f".into() },
            Source::Digits { seed: u64::MAX },
            Source::Registered { name: "my-set".into() },
        ] {
            let text = serde_json::to_string(&source).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source, "{text}");
        }
        let written = serde_json::to_string(&Source::Mnist { folder: "f".into() }).unwrap();
        assert_eq!(written, r#"{"name":"mnist","folder":"f"}"#);
    }
}
