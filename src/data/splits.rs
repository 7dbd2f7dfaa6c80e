//! The samples of an experiment, loaded from its `[data]` section for a trainer.

use super::registry::loader;
use super::{DataConfig, DataError, Dataset, DatasetName, Samples, Source, load, samples};
use crate::error::Result;
use crate::network::SpikingSequential;

/// Training, validation and test samples.
#[derive(Debug)]
pub struct Splits {
    /// Training samples.
    pub train: Box<dyn Samples + Send>,
    /// Validation samples, evaluated after every epoch, if any.
    pub validation: Option<Box<dyn Samples + Send>>,
    /// Test samples, evaluated once at the end, if any.
    pub test: Option<Box<dyn Samples + Send>>,
}

impl Splits {
    /// Converts the images of `data` to the input shape of `network`, or to [sequences of rows](super::Rows) if its input is
    /// one row.
    ///
    /// # Errors
    /// If there are no training images, the network's input has another shape, or a label exceeds its outputs.
    pub fn of_images(data: &Dataset, network: &SpikingSequential) -> Result<Self> {
        if data.train.is_empty() {
            return Err(DataError::Misfit("there are no training images".to_string()).into());
        }
        let optional =
            |images| samples(images, network).map(|samples| Some(samples).filter(|samples| !samples.is_empty()));
        let train = samples(&data.train, network)?;
        Ok(Self { train, validation: optional(&data.validation)?, test: optional(&data.test)? })
    }
}

/// Loads the data set of `config`, from the library or from [`register`](super::register), to train `network`.
/// `seed` and `notice` are as for [`load`].
///
/// # Errors
/// As for [`load`], and if the samples do not match the network; for a registered data set, the errors of its loader.
pub fn load_splits(
    config: &DataConfig,
    seed: u64,
    network: &SpikingSequential,
    notice: &mut dyn FnMut(&str),
) -> Result<(Source, Splits)> {
    match &config.dataset {
        DatasetName::Registered(name) => {
            let load = loader(name)?;
            Ok((Source::Registered { name: name.clone() }, load(config, seed)?))
        }
        _ => {
            let data = load(config, seed, notice)?;
            let splits = Splits::of_images(&data, network)?;
            Ok((data.source, splits))
        }
    }
}
