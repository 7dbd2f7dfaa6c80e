//! Loading of a data set from its configuration.

use std::path::{Path, PathBuf};

use super::digits::{self, Split};
use super::error::DataError;
#[cfg(feature = "datasets")]
use super::fetch::{FetchOptions, fetch};
use super::locate::Places;
use super::manifest::{FASHION, MNIST, Manifest};
use super::{DataConfig, Dataset, DatasetName, Images, Source, mnist};

/// Loads the data set of `config`; `seed` is the seed of the built-in digits.
///
/// Validation images are the last of the training file, training images the first of the remainder. With
/// [`DatasetName::Auto`], MNIST is used if found, otherwise downloaded to the cache folder, otherwise replaced by the
/// built-in digits; `notice` receives messages about it. The other names never fall back.
///
/// # Errors
/// [`DataError`] if no data is found, a file differs from the published one (also with `Auto`), or there are too few
/// images.
///
/// ```
/// use tch_spiking::data::{DataConfig, DatasetName, load};
/// let config = DataConfig {
///     dataset: DatasetName::Digits,
///     train_images: Some(20),
///     validation_images: 5,
///     test_images: Some(10),
///     ..DataConfig::default()
/// };
/// let digits = load(&config, 0, &mut |sentence| eprintln!("{sentence}")).unwrap();
/// assert_eq!((digits.train.len(), digits.validation.len(), digits.test.len()), (20, 5, 10));
/// ```
pub fn load(config: &DataConfig, seed: u64, notice: &mut dyn FnMut(&str)) -> Result<Dataset, DataError> {
    #[cfg(feature = "datasets")]
    let download: Download =
        &|manifest, folder, notice| fetch_with_notices(&FetchOptions::impatient(), manifest, folder, notice);
    #[cfg(not(feature = "datasets"))]
    let download: Download = &|_, _, _| Err(DataError::CannotFetch);
    load_from(config, seed, &Places::new(config.path.as_deref()), download, notice)
}

/// Downloads a data set into a folder and reports it.
type Download<'a> = &'a dyn Fn(&Manifest<'_>, &Path, &mut dyn FnMut(&str)) -> Result<(), DataError>;

fn load_from(
    config: &DataConfig,
    seed: u64,
    places: &Places,
    download: Download,
    notice: &mut dyn FnMut(&str),
) -> Result<Dataset, DataError> {
    let manifest = match &config.dataset {
        DatasetName::Registered(name) => return Err(DataError::NotImages { name: name.clone() }),
        DatasetName::Digits => return draw(config, seed),
        DatasetName::Auto | DatasetName::Mnist => &MNIST,
        DatasetName::Fashion => &FASHION,
    };
    let automatic = config.dataset == DatasetName::Auto;
    if let Some(folder) = places.find(manifest, !automatic, notice)? {
        return read(config, manifest, folder);
    }
    if !automatic {
        return Err(places.not_found(manifest));
    }
    let Some(cache) = &places.cache else {
        notice(
            "MNIST is not on this machine and there is no cache folder to download it to: using the built-in digits.",
        );
        return draw(config, seed);
    };
    let folder = cache.join(manifest.name);
    match download(manifest, &folder, notice) {
        Ok(()) => read(config, manifest, folder),
        Err(cause) => {
            notice(&format!("MNIST is not available: {cause}"));
            notice("Using the built-in digits instead; accuracies on them are not comparable with those on MNIST.");
            draw(config, seed)
        }
    }
}

#[cfg(feature = "datasets")]
fn fetch_with_notices(
    options: &FetchOptions,
    manifest: &Manifest<'_>,
    folder: &Path,
    notice: &mut dyn FnMut(&str),
) -> Result<(), DataError> {
    notice(&format!("MNIST is not on this machine: downloading it to {} (12 MB).", folder.display()));
    let mut current = String::new();
    fetch(manifest, folder, options, &mut |progress| {
        if current != progress.file {
            current = progress.file.to_owned();
            notice(&format!("Downloading {current}."));
        }
    })
}

fn read(config: &DataConfig, manifest: &Manifest<'_>, folder: PathBuf) -> Result<Dataset, DataError> {
    let (mut train, mut test) = mnist::read(&folder, manifest)?;
    let files = format!("the training file of {} has {}", manifest.title, train.len());
    let left = train.len().checked_sub(config.validation_images).ok_or_else(|| DataError::NotEnough {
        key: "validation_images",
        asked: config.validation_images,
        available: train.len(),
        of: files.clone(),
    })?;
    let validation = train.split_off(left);
    let files = format!("{files}, {} of them for validation", config.validation_images);
    keep_first(&mut train, config.train_images, "train_images", files)?;
    let files = format!("the test file of {} has {}", manifest.title, test.len());
    keep_first(&mut test, config.test_images, "test_images", files)?;
    let source = if manifest.name == FASHION.name { Source::Fashion { folder } } else { Source::Mnist { folder } };
    Ok(Dataset { source, train, validation, test, class_names: names(manifest) })
}

fn keep_first(images: &mut Images, count: Option<usize>, key: &'static str, of: String) -> Result<(), DataError> {
    let (Some(asked), available) = (count, images.len()) else { return Ok(()) };
    if asked > available {
        return Err(DataError::NotEnough { key, asked, available, of });
    }
    *images = images.range(0..asked);
    Ok(())
}

/// Generates the built-in digits; each split uses an independent random stream.
fn draw(config: &DataConfig, seed: u64) -> Result<Dataset, DataError> {
    let draw = |key, split, asked| {
        if asked > digits::MAX_IMAGES {
            let of = "the maximum that can be generated".to_owned();
            return Err(DataError::NotEnough { key, asked, available: digits::MAX_IMAGES, of });
        }
        Ok(digits::generate(seed, split, asked))
    };
    Ok(Dataset {
        source: Source::Digits { seed },
        train: draw("train_images", Split::Train, config.train_images.unwrap_or(digits::TRAIN))?,
        validation: draw("validation_images", Split::Validation, config.validation_images)?,
        test: draw("test_images", Split::Test, config.test_images.unwrap_or(digits::TEST))?,
        class_names: names(&MNIST),
    })
}

fn names(manifest: &Manifest<'_>) -> Vec<String> {
    manifest.class_names.iter().map(|&name| name.to_owned()).collect()
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
