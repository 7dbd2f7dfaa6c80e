//! `train`: an experiment from its configuration to a run folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::ProgressStyle;
use serde_json::json;
use tch::Device;
use tch_spiking::Experiment;
use tch_spiking::data::{self, Dataset, DatasetName};
use tch_spiking::device;
use tch_spiking::evaluate::{rate_accuracy, spiking};
use tch_spiking::run::{RunFolder, Summary};
use tch_spiking::train::{LayerTime, Outcome, Precision, Profile, Trainer};
use tch_spiking::weights::{load_into, load_network};

use super::chosen::load_as;
use super::train_watcher::Watcher;
use super::{Console, Interrupted, interrupt_flag};

/// Train a network as rates; see after every epoch how it does as spikes
#[derive(Debug, Args)]
#[command(after_help = "\
Without options: the reference network (three convolutions with LIF neurons) on MNIST, 10 epochs.
Ctrl-C finishes the step, saves a checkpoint and says how to go on.

Examples:
  tch-spiking train
  tch-spiking train --dataset digits --epochs 2 --out runs/first
  tch-spiking train --set data.train_images=2000 --set training.learning_rate=0.002
  tch-spiking train --config my-experiment.toml --seed 1
  tch-spiking train --resume runs/first --epochs 5     5 epochs in all
  tch-spiking train --weights runs/first/best.safetensors --dataset fashion     go on from weights, a run of its own

A run folder holds config.toml (every key there is: copy it to make an experiment of your own), metrics.jsonl,
last.safetensors (the checkpoint), best.safetensors, learning_curve.png, and when all is done weights.safetensors
and summary.json.")]
pub struct TrainArgs {
    /// Experiment file; keys that it does not set keep their defaults
    #[arg(long, value_name = "FILE.toml", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Start from these weights, of any format, instead of random ones; the network is the file's own or that of --config
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    weights: Option<PathBuf>,
    /// Which tensor of the file is which parameter, where names, order and shapes do not tell
    #[arg(long, value_name = "FILE.toml", requires = "weights", requires = "config")]
    map: Option<PathBuf>,
    /// Which images (data.dataset)
    #[arg(long, value_enum, conflicts_with = "resume")]
    dataset: Option<DatasetName>,
    /// Look for the data in this folder first (data.path)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Passes over the training images, in all (training.epochs)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// The numbers that convolutions and linear layers compute with (training.precision)
    #[arg(long, value_enum, conflicts_with = "resume")]
    precision: Option<Precision>,
    /// Show first where the time of a training step goes, layer by layer
    #[arg(long)]
    profile: bool,
    /// Set any key of the experiment, such as training.learning_rate=0.002; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "resume")]
    assignments: Vec<String>,
    /// Folder of the run, made new [default: the next free number in runs/]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the run in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
}

pub fn run(args: &TrainArgs, console: &Console) -> anyhow::Result<()> {
    let device = device::resolve(console.device)?;
    let (folder, mut trainer) = match &args.resume {
        Some(path) => resume(args, path, console, device)?,
        None => start(args, console, device)?,
    };
    let stop = interrupt_flag()?;
    introduce(&trainer, &folder, console);
    let profile = args.profile.then(|| trainer.profile(PROFILED_STEPS)).transpose()?;
    if let Some(profile) = &profile {
        console.print(&describe_profile(profile));
    }
    let mut watcher = Watcher::new(console, &folder);
    let outcome = trainer.run(&mut watcher, &stop);
    watcher.bar.finish_and_clear();
    match outcome.with_context(|| whats_left(&folder))? {
        Outcome::Interrupted => {
            folder.save_checkpoint(&trainer)?;
            interrupted(&trainer, &folder)
        }
        Outcome::Finished => finish(&trainer, &folder, profile.as_ref(), console, &stop),
    }
}

fn start(args: &TrainArgs, console: &Console, device: Device) -> anyhow::Result<(RunFolder, Trainer)> {
    let mut experiment = match &args.config {
        Some(path) => Experiment::from_file(path)?,
        None => Experiment::default(),
    };
    let own = match (&args.weights, &args.config) {
        (Some(weights), None) => Some(load_network(weights, Device::Cpu)?),
        _ => None,
    };
    if let Some(own) = &own {
        experiment.network = own.network.spec().clone();
        // Gains may be drawn from it, and the weights belong to them.
        experiment.seed = own.provenance.seed;
        let dataset = own.provenance.dataset.as_deref();
        experiment.data.dataset = dataset.and_then(|name| DatasetName::from_str(name, true).ok()).unwrap_or_default();
    }
    experiment.data.dataset = args.dataset.unwrap_or(experiment.data.dataset);
    experiment.data.path = args.data.clone().or(experiment.data.path);
    experiment.training.epochs = args.epochs.unwrap_or(experiment.training.epochs);
    experiment.training.precision = args.precision.unwrap_or(experiment.training.precision);
    experiment.seed = console.seed.unwrap_or(experiment.seed);
    for assignment in &args.assignments {
        experiment.set(assignment)?;
    }
    let data = load(&experiment, console)?;
    // What was used, not what was asked for: "auto" may mean something else tomorrow.
    experiment.data.dataset = DatasetName::from(&data.source);
    let trainer = Trainer::new(experiment.clone(), &data, device)?;
    if let Some(path) = &args.weights {
        let loaded = match own {
            Some(own) => own,
            None => load_as(path, &experiment, args.map.as_deref(), Device::Cpu, console)?,
        };
        load_into(trainer.network(), &loaded.network.named_parameters().into_iter().collect())?;
    }
    let path = args.out.clone().unwrap_or_else(|| next_free(Path::new("runs")));
    Ok((RunFolder::create(path, &experiment)?, trainer))
}

fn resume(args: &TrainArgs, path: &Path, console: &Console, device: Device) -> anyhow::Result<(RunFolder, Trainer)> {
    let folder = RunFolder::open(path)?;
    let mut experiment = folder.experiment()?;
    if let Some(seed) = console.seed.filter(|seed| *seed != experiment.seed) {
        anyhow::bail!("this run has the seed {}: it cannot go on with --seed {seed}", experiment.seed);
    }
    experiment.data.path = args.data.clone().or(experiment.data.path);
    experiment.training.epochs = args.epochs.unwrap_or(experiment.training.epochs);
    let data = load(&experiment, console)?;
    let trainer = folder.resume(experiment, &data, device)?;
    folder.write_config(trainer.experiment())?;
    // A kill may have come between the checkpoint and what is made from it.
    folder.save_history(&trainer)?;
    Ok((folder, trainer))
}

fn load(experiment: &Experiment, console: &Console) -> anyhow::Result<Dataset> {
    Ok(data::load(&experiment.data, experiment.seed, &mut |text| console.note(text))?)
}

/// `runs/1`, or the first number that is free.
fn next_free(parent: &Path) -> PathBuf {
    (1u64..).map(|number| parent.join(number.to_string())).find(|path| !path.exists()).unwrap_or_else(|| parent.into())
}

fn introduce(trainer: &Trainer, folder: &RunFolder, console: &Console) {
    let network = trainer.network();
    let parameters: usize = network.named_parameters().iter().map(|(_, tensor)| tensor.numel()).sum();
    let neurons: i64 = network.layers().iter().map(|layer| layer.neurons()).sum();
    console.note(&format!("data      {}, {} training images", trainer.source(), grouped(trainer.training_images())));
    console.note(&format!("network   {} parameters, {} neurons", grouped(parameters as i64), grouped(neurons)));
    let device = format!("{:?}", network.device()).to_lowercase();
    let precision = json!(trainer.experiment().training.precision);
    let precision = precision.as_str().unwrap_or_default();
    console.note(&format!("device    {device}, {} threads, {precision}", tch::get_num_threads()));
    console.note(&format!("run       {}", folder.path().display()));
    let position = trainer.position();
    if *position != Default::default() {
        console.note(&format!("goes on   after epoch {}, step {}", position.epoch, position.step));
    }
}

fn finish(
    trainer: &Trainer,
    folder: &RunFolder,
    profile: Option<&Profile>,
    console: &Console,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    if stop.load(Ordering::Relaxed) {
        return interrupted(trainer, folder);
    }
    let (network, test) = (trainer.network(), trainer.test());
    if test.is_empty() {
        console.print(&format!("saved     {} (not tested: there are no test images)", folder.path().display()));
        let metrics = &trainer.position().history;
        return console.emit(&json!({ "run": folder.path(), "dataset": trainer.source(), "metrics": metrics }));
    }
    let steps = network.spec().steps;
    console.note(&format!("testing   {} images, as rates and as {steps} steps of spikes", grouped(test.len())));
    let style = ProgressStyle::with_template("testing   {bar:30} {pos}/{len}  {eta} left").unwrap_or_else(|_| plain());
    let bar = console.progress(test.len() as u64, style);
    let rates = rate_accuracy(network, test)?;
    let spikes = spiking(network, test, steps, trainer.memory(), &mut |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    let history = &trainer.position().history;
    let summary = Summary {
        dataset: trainer.source().clone(),
        train_images: trainer.training_images(),
        epochs: trainer.position().epoch,
        seed: trainer.experiment().seed,
        device: format!("{:?}", network.device()).to_lowercase(),
        test_images: test.len(),
        test_rate_accuracy: rates,
        test_spiking_accuracy: spikes.accuracy(),
        test_accuracy_by_step: spikes.accuracy_by_step.clone(),
        training_seconds: history.iter().map(|metrics| metrics.seconds).sum(),
        version: env!("CARGO_PKG_VERSION").to_string(),
    };
    folder.save_result(trainer, &summary)?;
    console.print(&format!(
        "test      {} as rates, {} as spikes after {steps} steps",
        percent(rates),
        percent(spikes.accuracy())
    ));
    console.print(&format!("saved     {}", folder.path().display()));
    let mut result = serde_json::to_value(&summary)?;
    result["run"] = json!(folder.path());
    result["metrics"] = json!(history);
    result["precision"] = json!(trainer.experiment().training.precision);
    if let Some(profile) = profile {
        result["profile"] = json!(profile);
    }
    console.emit(&result)
}

/// How many steps `--profile` measures.
const PROFILED_STEPS: usize = 20;

/// A table of milliseconds.
fn describe_profile(profile: &Profile) -> String {
    let width = profile.layers.iter().map(|layer| layer.name.len()).max().unwrap_or(0).max(9);
    let row = |name: &str, cells: [Option<f64>; 3]| {
        let cells = cells.map(|cell| cell.map_or(String::new(), |time| format!("{time:.2}")));
        format!("{name:<width$} {:>9} {:>9} {:>9}", cells[0], cells[1], cells[2]).trim_end().to_string()
    };
    let both = |time: &LayerTime| time.forward + time.backward;
    let mut lines = vec![
        format!("{} steps of {} images, median milliseconds", profile.steps, profile.batch_size),
        format!("{:<width$} {:>9} {:>9} {:>9}", "", "forward", "backward", "both"),
        row("data", [None, None, Some(profile.data)]),
    ];
    let layers = profile.layers.iter();
    lines.extend(layers.map(|time| row(&time.name, [Some(time.forward), Some(time.backward), Some(both(time))])));
    lines.push(row("loss", [None, None, Some(profile.loss)]));
    lines.push(row("optimizer", [None, None, Some(profile.optimizer)]));
    lines.push(row("sum", [None, None, Some(profile.sum)]));
    lines.push(format!("convolutions and linear layers: {} of the sum", percent(profile.affine_share)));
    lines.push(format!("a whole step, nothing measured inside: {:.2} ms", profile.step));
    lines.join("\n")
}

fn interrupted(trainer: &Trainer, folder: &RunFolder) -> anyhow::Result<()> {
    let position = trainer.position();
    Err(anyhow::Error::new(Interrupted).context(format!(
        "interrupted after epoch {}, step {}; all is saved. To go on: {}",
        position.epoch,
        position.step,
        resume_command(folder)
    )))
}

fn whats_left(folder: &RunFolder) -> String {
    match folder.last().is_file() {
        true => format!("training stopped; the newest checkpoint is whole: {}", folder.last().display()),
        false => "training stopped before the first checkpoint".to_string(),
    }
}

fn resume_command(folder: &RunFolder) -> String {
    let path = folder.path().display().to_string();
    match path.contains(|c: char| c.is_whitespace() || "'\"$&;()".contains(c)) {
        true => format!("tch-spiking train --resume '{}'", path.replace('\'', r"'\''")),
        false => format!("tch-spiking train --resume {path}"),
    }
}

fn plain() -> ProgressStyle {
    ProgressStyle::default_bar()
}

/// `98.74 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// `55,000`.
pub(super) fn grouped(number: i64) -> String {
    indicatif::HumanCount(number.max(0) as u64).to_string()
}
