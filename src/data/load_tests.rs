//! Tests of [`load`](super::load); those that need the real files run where `TCH_SPIKING_DATA` has them.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::error::{Damage, DataError};
use super::super::locate::VARIABLE;
use super::*;

/// No folder.
fn nowhere() -> Places {
    Places { named: vec![], usual: vec![], cache: None }
}

/// From a mirror that refuses at once.
#[cfg(feature = "datasets")]
fn download(manifest: &Manifest, folder: &Path, notice: &mut dyn FnMut(&str)) -> Result<(), DataError> {
    let options = FetchOptions { mirrors: Some(vec!["http://127.0.0.1:1".into()]), ..FetchOptions::impatient() };
    fetch_with_notices(&options, manifest, folder, notice)
}

#[cfg(not(feature = "datasets"))]
fn download(_: &Manifest, _: &Path, _: &mut dyn FnMut(&str)) -> Result<(), DataError> {
    Err(DataError::CannotFetch)
}

fn few(dataset: DatasetName) -> DataConfig {
    let few = Some(30);
    DataConfig { dataset, path: None, train_images: few, test_images: few, validation_images: 30 }
}

/// Loads, and returns what was noticed too.
fn try_load(config: &DataConfig, places: &Places) -> (Result<Dataset, DataError>, String) {
    let mut notices = String::new();
    let outcome = load_from(config, 1, places, &download, &mut |notice| notices += &format!("{notice}\n"));
    (outcome, notices)
}

/// The folder of the real files, or `None` after saying that the test is skipped.
fn real(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(VARIABLE).map(|folder| PathBuf::from(folder).join(name)).filter(|path| path.is_dir());
    if folder.is_none() {
        eprintln!("skipped: {VARIABLE} does not name a folder with {name}");
    }
    folder
}

#[test]
fn auto_falls_back_to_digits_and_says_why() {
    let cache = tempfile::tempdir().unwrap();
    let missing = cache.path().join("typo");
    let places =
        Places { named: vec![("--data", missing.clone())], usual: vec![], cache: Some(cache.path().to_path_buf()) };
    let (digits, notices) = try_load(&few(DatasetName::Auto), &places);
    assert_eq!(digits.unwrap().source, Source::Digits { seed: 1 });
    assert!(notices.contains(&format!("--data names {}", missing.display())), "{notices}");
    let cause =
        if cfg!(feature = "datasets") { "http://127.0.0.1:1/train-images-idx3-ubyte.gz" } else { "built without" };
    assert!(notices.contains(cause), "{notices}");
    assert!(notices.contains("Using the built-in digits"), "{notices}");
}

#[test]
fn mnist_and_fashion_never_fall_back_and_name_the_command() {
    for (dataset, name) in [(DatasetName::Mnist, "mnist"), (DatasetName::Fashion, "fashion")] {
        let empty = tempfile::tempdir().unwrap();
        let usual = Places { usual: vec![empty.path().to_path_buf()], ..nowhere() };
        let named = Places { named: vec![("--data", empty.path().to_path_buf())], ..nowhere() };
        for places in [usual, named] {
            let error = try_load(&few(dataset.clone()), &places).0.unwrap_err().to_string();
            assert!(error.contains(&format!("tch-spiking data fetch {name}")), "{error}");
            assert!(error.contains(&empty.path().display().to_string()), "{error}");
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_even_in_auto() {
    let folder = tempfile::tempdir().unwrap();
    for spec in MNIST.files {
        fs::write(folder.path().join(spec.name), b"").unwrap();
    }
    let places = Places { usual: vec![folder.path().to_path_buf()], ..nowhere() };
    let error = try_load(&few(DatasetName::Auto), &places).0.unwrap_err();
    assert!(matches!(&error, DataError::Damaged { damage: Damage::Size { found: 0, .. }, .. }), "{error}");
    assert!(error.to_string().contains("train-images-idx3-ubyte: wrong size: expected 47040016"), "{error}");
}

#[test]
fn a_part_in_a_named_folder_is_an_error_and_elsewhere_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train-images-idx3-ubyte.gz"), b"").unwrap();
    let named = Places { named: vec![(VARIABLE, folder.path().to_path_buf())], ..nowhere() };
    let error = try_load(&few(DatasetName::Auto), &named).0.unwrap_err();
    assert!(matches!(&error, DataError::Incomplete { missing, .. } if missing.len() == 3), "{error}");
    let usual = Places { usual: vec![folder.path().to_path_buf()], ..nowhere() };
    let (digits, notices) = try_load(&few(DatasetName::Auto), &usual);
    assert_eq!(digits.unwrap().source.name(), "digits");
    assert!(notices.contains("contains only a part of mnist"), "{notices}");
}

#[test]
fn digits_come_in_the_sizes_asked_for_and_in_no_absurd_ones() {
    let digits = try_load(&few(DatasetName::Digits), &nowhere()).0.unwrap();
    assert_eq!([digits.train.len(), digits.validation.len(), digits.test.len()], [30; 3]);
    assert_eq!(digits.class_names.len(), 10);
    let config = DataConfig { train_images: Some(usize::MAX), ..few(DatasetName::Digits) };
    let error = try_load(&config, &nowhere()).0.unwrap_err().to_string();
    assert!(error.contains("data.train_images") && error.contains("1000000"), "{error}");
}

#[test]
fn an_unknown_key_is_refused() {
    assert!(toml::from_str::<DataConfig>("dataset = 'mnist'\nimages = 3").unwrap_err().to_string().contains("images"));
}

#[test]
fn a_config_survives_toml() {
    let config = DataConfig { path: Some("some where".into()), ..few(DatasetName::Fashion) };
    assert_eq!(toml::from_str::<DataConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
}

fn load_real(folder: &Path, config: DataConfig) -> Result<Dataset, DataError> {
    try_load(&config, &Places { named: vec![("--data", folder.to_path_buf())], ..nowhere() }).0
}

#[test]
fn the_real_mnist_is_split_as_promised() {
    let Some(folder) = real("mnist") else { return };
    let all = load_real(&folder, DataConfig::default()).unwrap();
    assert_eq!((all.train.len(), all.validation.len(), all.test.len()), (55_000, 5_000, 10_000));
    assert_eq!(all.train.labels[..6], [5, 0, 4, 1, 9, 2]);
    assert_eq!(all.test.labels[..6], [7, 2, 1, 0, 4, 1]);
    assert_eq!(all.source, Source::Mnist { folder: folder.clone() });
    // The first training image is known for its ink: a 5.
    assert_eq!(all.train.image(0).unwrap().iter().map(|&pixel| u32::from(pixel)).sum::<u32>(), 27_525);

    // A parent folder is as good, and the validation images do not depend on how many are trained on.
    let config = DataConfig { dataset: DatasetName::Mnist, train_images: Some(100), ..DataConfig::default() };
    let part = load_real(folder.parent().unwrap(), config).unwrap();
    assert_eq!((&part.validation, &part.test), (&all.validation, &all.test));
    assert_eq!(part.train, all.train.range(0..100));

    let error = |config| load_real(&folder, config).unwrap_err().to_string();
    let too_many = error(DataConfig { train_images: Some(55_001), ..DataConfig::default() });
    assert!(too_many.contains("55001") && too_many.contains("55000") && too_many.contains("60000"), "{too_many}");
    let too_many = error(DataConfig { test_images: Some(10_001), ..DataConfig::default() });
    assert!(too_many.contains("10001") && too_many.contains("10000"), "{too_many}");
    let too_many = error(DataConfig { validation_images: 60_001, ..DataConfig::default() });
    assert!(too_many.contains("60001") && too_many.contains("60000"), "{too_many}");
    let none = DataConfig { validation_images: 0, ..DataConfig::default() };
    assert_eq!(load_real(&folder, none).unwrap().train.len(), 60_000);
}

#[test]
fn the_real_fashion_mnist_is_read_and_not_taken_for_mnist() {
    let Some(folder) = real("fashion") else { return };
    let config = DataConfig { dataset: DatasetName::Fashion, ..DataConfig::default() };
    let fashion = load_real(&folder, config).unwrap();
    assert_eq!((fashion.train.len(), fashion.test.len()), (55_000, 10_000));
    assert_eq!(fashion.train.labels[..6], [9, 0, 0, 3, 0, 2]);
    assert_eq!(fashion.class_names[usize::from(fashion.train.labels[0])], "Ankle boot");
    let error = load_real(&folder, DataConfig::default()).unwrap_err().to_string();
    assert!(error.contains("which is the file from Fashion-MNIST"), "{error}");
}

#[test]
fn uncompressed_files_are_read_too() {
    let Some(folder) = real("mnist") else { return };
    let raw = tempfile::tempdir().unwrap();
    for spec in MNIST.files {
        let path = super::super::idx::find(&folder, spec).unwrap();
        fs::write(raw.path().join(spec.name), super::super::idx::read(&path, spec, &MNIST).unwrap()).unwrap();
    }
    let same = |folder| mnist::read(folder, &MNIST).unwrap();
    assert!(same(raw.path()) == same(&folder));
}
