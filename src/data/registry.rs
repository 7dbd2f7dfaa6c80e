//! Registry of data sets provided by the program, by their name in experiment files.

use std::sync::Arc;

use super::config::BUILT_IN;
use super::{DataConfig, DataError, Splits};
use crate::error::Result;
use crate::registry::Registry;

/// A function that makes the samples from the `[data]` section and the seed of the experiment.
pub type Loader = Arc<dyn Fn(&DataConfig, u64) -> Result<Splits> + Send + Sync>;

static LOADERS: Registry<Loader> = Registry::new();

/// Registers a data set as `name` for `data.dataset`, for the whole process. `loader` is called with the `[data]`
/// section and the experiment's seed when an experiment uses the data set. Call this before reading such an experiment.
///
/// The loader is responsible for the other keys of the section: `path`, and the number of samples of each split.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_spiking::Experiment;
/// use tch_spiking::data::{self, DataConfig, Labelled, Splits};
///
/// /// Points left (class 0) and right (class 1) of the middle.
/// fn sides(config: &DataConfig, seed: u64) -> tch_spiking::Result<Splits> {
///     let side = |count: usize, phase: f64| -> tch_spiking::Result<_> {
///         let x = (Tensor::f_arange(count as i64, (Kind::Float, Device::Cpu))? + phase + seed as f64).sin();
///         Ok(Box::new(Labelled { labels: x.f_gt(0.0)?.f_to_kind(Kind::Int64)?, images: x.f_unsqueeze(1)? }))
///     };
///     let validation = side(config.validation_images, 0.5)?;
///     Ok(Splits { train: side(config.train_images.unwrap_or(100), 0.0)?, validation: Some(validation), test: None })
/// }
///
/// data::register("sides", sides)?;
/// let experiment = Experiment::from_toml("data = { dataset = 'sides', train_images = 50 }")?;
/// assert_eq!(experiment.data.dataset.to_string(), "sides");
/// assert!(data::register("sides", sides).is_err() && data::register("mnist", sides).is_err());
/// # Ok::<(), tch_spiking::Error>(())
/// ```
///
/// # Errors
/// If the name is empty or already in use, by a data set of the library or an earlier call.
pub fn register(
    name: &str,
    loader: impl Fn(&DataConfig, u64) -> Result<Splits> + Send + Sync + 'static,
) -> Result<(), DataError> {
    let usable = !name.is_empty() && BUILT_IN.iter().all(|(known, _)| *known != name);
    match usable && LOADERS.add(name, Arc::new(loader)) {
        true => Ok(()),
        false => Err(DataError::NameTaken { name: name.to_string(), taken: all_names() }),
    }
}

/// The loader registered as `name`.
pub(super) fn loader(name: &str) -> Result<Loader, DataError> {
    LOADERS.get(name).ok_or_else(|| DataError::Unknown { name: name.to_string(), known: all_names() })
}

/// Whether `name` is registered.
pub(super) fn is_registered(name: &str) -> bool {
    LOADERS.get(name).is_some()
}

/// All names valid for `data.dataset`: the data sets of the library, then the registered ones.
pub(super) fn all_names() -> Vec<String> {
    BUILT_IN.iter().map(|(name, _)| name.to_string()).chain(LOADERS.names()).collect()
}
