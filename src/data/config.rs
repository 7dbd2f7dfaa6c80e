//! The `[data]` section of an experiment.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::registry;
use crate::registry::unknown;

/// Which data set to use.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(try_from = "String", into = "String")]
pub enum DatasetName {
    /// MNIST if it is available locally or can be downloaded, otherwise the built-in digits.
    #[default]
    Auto,
    /// MNIST: handwritten digits.
    Mnist,
    /// Fashion-MNIST: pictures of clothes.
    Fashion,
    /// The built-in digits: drawn from the seed, no file needed.
    Digits,
    /// A data set registered by the program: see [`register`](super::register).
    #[cfg_attr(feature = "cli", value(skip))]
    Registered(String),
}

/// The data sets of the library, by name.
pub(super) const BUILT_IN: [(&str, DatasetName); 4] = [
    ("auto", DatasetName::Auto),
    ("mnist", DatasetName::Mnist),
    ("fashion", DatasetName::Fashion),
    ("digits", DatasetName::Digits),
];

impl TryFrom<String> for DatasetName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        match BUILT_IN.into_iter().find(|(known, _)| *known == name) {
            Some((_, built_in)) => Ok(built_in),
            None if registry::is_registered(&name) => Ok(Self::Registered(name)),
            None => Err(unknown("data set", &name, &registry::all_names())),
        }
    }
}

impl From<DatasetName> for String {
    fn from(name: DatasetName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registered(name) => f.write_str(name),
            own => BUILT_IN.iter().filter(|(_, known)| known == own).try_for_each(|(name, _)| f.write_str(name)),
        }
    }
}

/// The `[data]` section of an experiment: which images, and how many.
///
/// ```
/// use tch_spiking::data::{DataConfig, DatasetName};
/// let config: DataConfig = toml::from_str("dataset = 'mnist'\ntrain_images = 2000").unwrap();
/// assert_eq!(config.dataset, DatasetName::Mnist);
/// assert_eq!((config.train_images, config.validation_images), (Some(2000), 5000));
/// ```
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Which data set.
    pub dataset: DatasetName,
    /// The folder to search first, before `TCH_SPIKING_DATA`, `./data` and the user's cache folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The number of training images to use; all of them if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// The number of test images to use; all of them if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_images: Option<usize>,
    /// The number of images at the end of the training set that are kept for validation, independent of `train_images`.
    pub validation_images: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dataset: DatasetName::default(),
            path: None,
            train_images: None,
            test_images: None,
            validation_images: 5000,
        }
    }
}
