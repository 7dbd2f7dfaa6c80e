//! The `[data]` section of an experiment.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which data set to use.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// MNIST if it is found or can be fetched, else the built-in digits.
    #[default]
    Auto,
    /// MNIST: handwritten digits.
    Mnist,
    /// Fashion-MNIST: pictures of clothes.
    Fashion,
    /// The built-in digits: drawn from the seed, no file needed.
    Digits,
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
    /// A folder to look into first, before `TCH_SPIKING_DATA`, `./data` and the cache folder of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Train on this many images only; all that there are if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_images: Option<usize>,
    /// Test on this many images only; all that there are if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_images: Option<usize>,
    /// How many images at the end of the training set are kept for validation, whatever `train_images` is.
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
