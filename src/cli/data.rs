//! `data`: download, verify and preview data sets.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{HumanBytes, ProgressStyle};
use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tch_spiking::data::{
    self, Augmentation, AugmentationKey, DataConfig, DataError, DatasetName, FASHION, FetchOptions, Images, MNIST,
    Manifest,
    locate::Places,
    manifest,
    mnist::{self, FileCheck},
};
use tch_spiking::engine::Activity;
use tch_spiking::{Experiment, write_atomically};

use super::Console;

/// Fetch, verify and preview data sets
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tch-spiking data fetch mnist             into the cache folder, where train finds it
  tch-spiking data fetch fashion --to data into ./data/fashion
  tch-spiking data verify                  check the files that would be used
  tch-spiking data preview --dataset digits --out digits.png")]
pub struct DataArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Download a data set, each file verified by its SHA-256
    Fetch(FetchArgs),
    /// Check the files of every data set found against their SHA-256
    Verify(VerifyArgs),
    /// Draw the first images of a data set to one PNG
    Preview(PreviewArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tch-spiking data fetch mnist
  tch-spiking data fetch fashion --to data              into ./data/fashion
  tch-spiking data fetch mnist --mirror https://server/mnist")]
struct FetchArgs {
    /// What to download: MNIST is 12 MB, Fashion-MNIST 31 MB
    dataset: Published,
    /// Parent folder for the folder of the data set [default: the cache folder]
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Server to use in place of the default ones [repeatable]
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Published {
    /// Handwritten digits
    Mnist,
    /// Images of clothing
    Fashion,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tch-spiking data verify
  tch-spiking data verify --data ~/datasets --json")]
struct VerifyArgs {
    /// Search this folder first
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tch-spiking data preview --out mnist.png
  tch-spiking data preview --dataset digits --seed 7 --out digits.png
  tch-spiking data preview --augment 'rotation = 15, shift = 2, scale = [0.9, 1.1]' --out augmented.png
  tch-spiking data preview --augment experiment.toml")]
struct PreviewArgs {
    /// Data set
    #[arg(long, value_enum, default_value_t)]
    dataset: DatasetName,
    /// Search this folder first
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Show what augmentation makes of them, an image in each row: settings as in `[training.augmentation]`, or an
    /// experiment (.toml)
    #[arg(long, value_name = "SETTINGS|FILE.toml")]
    augment: Option<String>,
    /// Image file to write
    #[arg(long, value_name = "FILE.png", default_value = "preview.png")]
    out: PathBuf,
}

pub fn run(args: &DataArgs, console: &Console) -> anyhow::Result<()> {
    match &args.command {
        Command::Fetch(args) => fetch(args, console),
        Command::Verify(args) => verify(args, console),
        Command::Preview(args) => preview(args, console),
    }
}

fn fetch(args: &FetchArgs, console: &Console) -> anyhow::Result<()> {
    let manifest = match args.dataset {
        Published::Mnist => MNIST,
        Published::Fashion => FASHION,
    };
    let root = args.to.clone().or(Places::new(None).cache).ok_or(DataError::NoCacheFolder)?;
    let folder = root.join(manifest.name);
    let mirrors = Some(args.mirrors.clone()).filter(|mirrors| !mirrors.is_empty());
    let options = FetchOptions { mirrors, ..FetchOptions::default() };

    let style = ProgressStyle::with_template(
        "{msg:24} {bar:30} {bytes:>10} of {total_bytes:>10}  {bytes_per_sec}, {eta} left",
    )?;
    let bar = console.progress(0, style);
    let mut current = String::new();
    data::fetch(&manifest, &folder, &options, &mut |progress| {
        if current != progress.file {
            current = progress.file.to_owned();
            bar.reset();
            bar.set_message(current.clone());
            if !console.interactive() {
                let size = progress.total.map_or_else(String::new, |total| format!(" ({})", HumanBytes(total)));
                console.note(&format!("fetching {current}{size}"));
            }
        }
        bar.set_length(progress.total.unwrap_or(progress.received));
        bar.set_position(progress.received);
    })?;
    bar.finish_and_clear();
    console.print(&format!("{} is in {}, every file verified", manifest.title, folder.display()));
    let files: Vec<_> = manifest.files.iter().map(|file| json!({"name": file.name, "sha256": file.sha256})).collect();
    console.emit(&json!({"dataset": manifest.name, "folder": folder.to_string_lossy(), "files": files}))
}

fn verify(args: &VerifyArgs, console: &Console) -> anyhow::Result<()> {
    let places = Places::new(args.data.as_deref());
    let mut found: Vec<Verified> = Vec::new();
    for manifest in manifest::ALL {
        // A missing data set is only reported if no other one was found.
        let Some(folder) = places.find(&manifest, false, &mut |_| {})? else { continue };
        let verified = Verified::new(manifest, folder)?;
        // The data sets have the same file names: a folder belongs to the one that matches better.
        match found.iter_mut().find(|other| other.folder == verified.folder) {
            Some(other) if other.problems() > verified.problems() => *other = verified,
            Some(_) => {}
            None => found.push(verified),
        }
    }
    if found.is_empty() {
        return Err(places.not_found(&MNIST).into());
    }
    found.iter().for_each(|verified| console.print(&verified.describe()));
    let problems: usize = found.iter().map(Verified::problems).sum();
    let datasets: Vec<_> = found.iter().map(Verified::json).collect();
    console.emit(&json!({"ok": problems == 0, "datasets": datasets}))?;
    if problems > 0 {
        bail!("{problems} damaged file(s)");
    }
    Ok(())
}

/// A data set that was found, with the result of the check of each file.
struct Verified {
    manifest: Manifest<'static>,
    folder: PathBuf,
    files: Vec<FileCheck>,
}

impl Verified {
    fn new(manifest: Manifest<'static>, folder: PathBuf) -> Result<Self, DataError> {
        let files = mnist::verify(&folder, &manifest)?;
        Ok(Self { manifest, folder, files })
    }

    fn problems(&self) -> usize {
        self.files.iter().filter(|file| file.outcome.is_err()).count()
    }

    fn describe(&self) -> String {
        let mut lines = vec![format!("{} in {}", self.manifest.title, self.folder.display())];
        lines.extend(self.files.iter().map(|FileCheck { path, outcome }| match outcome {
            Ok(()) => format!("  ok       {}", path.file_name().unwrap_or_default().to_string_lossy()),
            Err(error) => format!("  DAMAGED  {error}"),
        }));
        lines.join("\n")
    }

    fn json(&self) -> Value {
        let file = |FileCheck { path, outcome }: &FileCheck| {
            json!({
                "path": path.to_string_lossy(),
                "ok": outcome.is_ok(),
                "problem": outcome.as_ref().err().map(ToString::to_string),
            })
        };
        let files: Vec<_> = self.files.iter().map(file).collect();
        json!({"dataset": self.manifest.name, "folder": self.folder.to_string_lossy(), "files": files})
    }
}

/// The augmentation of an experiment, or of its settings on one line.
fn augmentation(text: &str) -> anyhow::Result<Augmentation> {
    let augmentation = if Path::new(text).extension().is_some_and(|extension| extension == "toml") {
        let experiment = Experiment::from_file(text)?;
        experiment.training.augmentation.with_context(|| format!("{text} has no section [training.augmentation]"))?
    } else {
        let mut experiment = Experiment::default();
        experiment.set(&format!("training.augmentation={{ {text} }}"))?;
        experiment.training.augmentation.unwrap_or_default()
    };
    match augmentation.fault() {
        Some((key, value, expected)) => bail!("augmentation: {key} = {value} is not valid: expected {expected}"),
        None => Ok(augmentation),
    }
}

/// Each image, followed by what it becomes in the first epochs: `columns` images in all.
fn augmented(images: &Images, augmentation: &Augmentation, seed: u64, columns: usize) -> anyhow::Result<Images> {
    let shape = [images.len(), images.channels, images.height, images.width].map(|size| size as i64);
    let pixels = Tensor::f_from_slice(&images.pixels)?.f_reshape(shape)?.f_to_kind(Kind::Float)?;
    let rows: Vec<i64> = (0..shape[0]).collect();
    let mut versions = vec![pixels.shallow_clone()];
    for epoch in 0..columns.saturating_sub(1) as u64 {
        let of_epoch = augmentation.apply(&Activity::constant(&pixels), &rows, AugmentationKey { seed, epoch })?;
        versions.push(of_epoch.into_tensor());
    }
    let bytes = Tensor::f_stack(&versions, 1)?.f_round()?.f_clamp(0.0, 255.0)?.f_to_kind(Kind::Uint8)?;
    let labels = images.labels.iter().flat_map(|&label| std::iter::repeat_n(label, columns)).collect();
    Ok(Images { pixels: Vec::try_from(bytes.f_flatten(0, -1)?)?, labels, ..*images })
}

fn preview(args: &PreviewArgs, console: &Console) -> anyhow::Result<()> {
    const ROWS: usize = 10;
    const COLUMNS: usize = 24;
    let config = DataConfig {
        dataset: args.dataset.clone(),
        path: args.data.clone(),
        train_images: Some(ROWS * COLUMNS),
        test_images: Some(0),
        validation_images: 0,
    };
    let config_seed = console.seed.unwrap_or(0);
    let dataset = data::load(&config, config_seed, &mut |sentence| console.note(sentence))?;
    let shown = match &args.augment {
        Some(text) => augmented(&dataset.train.range(0..ROWS), &augmentation(text)?, config_seed, COLUMNS)?,
        None => dataset.train.clone(),
    };
    let sheet = data::contact_sheet(&shown, ROWS, COLUMNS).context("cannot encode the image")?;
    write_atomically(&args.out, |file| file.write_all(&sheet))?;
    let images = if args.augment.is_some() { ROWS.min(dataset.train.len()) } else { dataset.train.len() };
    let how =
        if args.augment.is_some() { ", each with what augmentation makes of it in the first epochs," } else { "" };
    let out = args.out.display();
    console.print(&format!("{}: the first {images} training images{how} are in {out}", dataset.source));
    console.emit(&json!({"dataset": dataset.source, "images": images, "picture": args.out.to_string_lossy()}))
}
