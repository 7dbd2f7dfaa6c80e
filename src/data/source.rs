//! The record of which data set was used.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::DatasetName;

/// Which data set was really used, as recorded in runs, checkpoints and summaries.
///
/// ```
/// use tch_spiking::data::Source;
/// let source = Source::Digits { seed: 7 };
/// assert_eq!(source.name(), "digits");
/// assert_eq!(source.to_string(), "built-in digits (seed 7)");
/// assert_eq!(serde_json::to_string(&source).unwrap(), r#"{"name":"digits","seed":7}"#);
/// ```
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "name", rename_all = "kebab-case")]
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
        /// What they were drawn from.
        seed: u64,
    },
}

impl Source {
    /// The name that `--dataset` knows it by: `mnist`, `fashion` or `digits`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mnist { .. } => "mnist",
            Self::Fashion { .. } => "fashion",
            Self::Digits { .. } => "digits",
        }
    }
}

impl From<&Source> for DatasetName {
    fn from(source: &Source) -> Self {
        match source {
            Source::Mnist { .. } => Self::Mnist,
            Source::Fashion { .. } => Self::Fashion,
            Source::Digits { .. } => Self::Digits,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist { folder } => write!(f, "MNIST ({})", folder.display()),
            Self::Fashion { folder } => write!(f, "Fashion-MNIST ({})", folder.display()),
            Self::Digits { seed } => write!(f, "built-in digits (seed {seed})"),
        }
    }
}
