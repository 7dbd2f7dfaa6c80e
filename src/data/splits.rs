//! The samples of an experiment: what its `[data]` section asks for, as a trainer takes it.

use super::registry::loader;
use super::{DataConfig, DataError, Dataset, DatasetName, Samples, Source, labelled, load};
use crate::error::Result;
use crate::network::SpikingSequential;

/// Samples to train on, to decide on while training, and to look at once at the end.
#[derive(Debug)]
pub struct Splits {
    /// What the network learns from.
    pub train: Box<dyn Samples + Send>,
    /// What it is evaluated on after every epoch, if anything.
    pub validation: Option<Box<dyn Samples + Send>>,
    /// What it is evaluated on at the end, if anything.
    pub test: Option<Box<dyn Samples + Send>>,
}

impl Splits {
    /// The images of `data` in the shape that `network` takes.
    ///
    /// # Errors
    /// If there are no training images, the network takes images of another size, or a label is beyond its outputs.
    pub fn of_images(data: &Dataset, network: &SpikingSequential) -> Result<Self> {
        if data.train.is_empty() {
            return Err(DataError::Misfit("there are no training images".to_string()).into());
        }
        let split = |images| -> Result<_> { Ok(Box::new(labelled(images, network)?) as Box<dyn Samples + Send>) };
        let optional = |images| split(images).map(|samples| Some(samples).filter(|samples| !samples.is_empty()));
        Ok(Self { train: split(&data.train)?, validation: optional(&data.validation)?, test: optional(&data.test)? })
    }
}

/// Loads what `config` asks for, from the library's data sets or those of [`register`](super::register), to train `network`.
/// `seed` and `notice` are as for [`load`].
///
/// # Errors
/// As for [`load`], and if the samples do not fit the network; for a registered data set, those of its loader.
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
