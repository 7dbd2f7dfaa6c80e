//! `train`: runs an experiment and writes a run folder.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::{Args, ValueEnum};
use indicatif::ProgressStyle;
use serde_json::json;
use tch::Device;
use tch_spiking::data::DatasetName;
use tch_spiking::device;
use tch_spiking::run::{Run, RunFolder};
use tch_spiking::train::{LayerTime, Method, Outcome, Precision, Profile, TrainError};
use tch_spiking::weights::{load_into, load_network, require_finite};
use tch_spiking::{Error, Experiment};

use super::chosen::load_as;
use super::load::Load;
use super::train_watcher::Watcher;
use super::{Console, Interrupted, interrupt_flag};

/// Train a network, as rates or through time; evaluate it as spikes after every epoch
#[derive(Debug, Args)]
#[command(after_help = "\
Without options: the reference network (three convolutions with LIF neurons) on MNIST, 10 epochs.
Ctrl-C finishes the step, saves a checkpoint and prints the command that resumes the run.

Examples:
  tch-spiking train
  tch-spiking train --dataset digits --epochs 2 --out runs/first
  tch-spiking train --set data.train_images=2000 --set training.learning_rate=0.002
  tch-spiking train --config my-experiment.toml --seed 1
  tch-spiking train --resume runs/first --epochs 5     5 epochs in total
  tch-spiking train --weights runs/first/best.safetensors --dataset fashion     start a new run from weights

A run folder holds config.toml (every key; copy it to start your own experiment), metrics.jsonl,
last.safetensors (the checkpoint), best.safetensors, learning_curve.png, and at the end weights.safetensors
and summary.json.")]
pub struct TrainArgs {
    /// Experiment file; keys that it does not set keep their defaults
    #[arg(long, value_name = "FILE.toml", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Start from these weights, of any format, instead of random ones; the network is the file's own or that of
    /// --config
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    weights: Option<PathBuf>,
    /// Mapping from tensors of the file to parameters, if names, order and shapes do not match
    #[arg(long, value_name = "FILE.toml", requires = "weights", requires = "config")]
    map: Option<PathBuf>,
    /// Data set (data.dataset)
    #[arg(long, value_enum, conflicts_with = "resume")]
    dataset: Option<DatasetName>,
    /// Search this folder first for the data (data.path)
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Total number of epochs (training.epochs)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Number format of convolutions and linear layers (training.precision)
    #[arg(long, value_enum, conflicts_with = "resume")]
    precision: Option<Precision>,
    /// First measure the time of a training step, layer by layer
    #[arg(long)]
    profile: bool,
    /// Set any key of the experiment, such as training.learning_rate=0.002; [repeatable]
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "resume")]
    assignments: Vec<String>,
    /// Folder of the new run [default: the next free number in runs/]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Resume the run in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
}

pub fn run(args: &TrainArgs, console: &Console) -> anyhow::Result<()> {
    let device = device::resolve(console.device)?;
    let (folder, mut run) = match &args.resume {
        Some(path) => resume(args, path, console, device)?,
        None => start(args, console, device)?,
    };
    let stop = interrupt_flag()?;
    introduce(&run, &folder, console);
    let profile = args.profile.then(|| run.trainer().profile(PROFILED_STEPS)).transpose()?;
    if let Some(profile) = &profile {
        console.print(&describe_profile(profile));
    }
    let mut watcher = Watcher::new(console, &folder);
    let outcome = run.run(&mut watcher, &stop);
    watcher.bar.finish_and_clear();
    match outcome.with_context(|| whats_left(&folder))? {
        Outcome::Interrupted => {
            folder.save_checkpoint(run.trainer())?;
            interrupted(&run, &folder)
        }
        Outcome::Finished => finish(&run, &folder, profile.as_ref(), console, &stop),
    }
}

fn start(args: &TrainArgs, console: &Console, device: Device) -> anyhow::Result<(RunFolder, Run)> {
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
        // Gains may be drawn from the seed, and the weights depend on them.
        experiment.seed = own.provenance.seed;
        let dataset = own.provenance.dataset.as_deref();
        experiment.data.dataset = dataset.and_then(|name| DatasetName::from_str(name, true).ok()).unwrap_or_default();
    }
    experiment.data.dataset = args.dataset.clone().unwrap_or(experiment.data.dataset);
    experiment.data.path = args.data.clone().or(experiment.data.path);
    if let Some(epochs) = args.epochs {
        experiment.training.set_total_epochs(epochs)?;
    }
    experiment.training.precision = args.precision.unwrap_or(experiment.training.precision);
    experiment.seed = console.seed.unwrap_or(experiment.seed);
    for assignment in &args.assignments {
        experiment.set(assignment)?;
    }
    let run = load(experiment, device, console)?;
    if let Some(path) = &args.weights {
        let loaded = match own {
            Some(own) => own,
            None => load_as(path, run.experiment(), args.map.as_deref(), Device::Cpu, console)?,
        };
        let parameters = loaded.network.named_parameters();
        require_finite(parameters.iter().map(|(name, tensor)| (name, tensor)))
            .with_context(|| path.display().to_string())?;
        load_into(run.trainer().network(), &parameters.into_iter().collect())?;
    }
    let folder = match &args.out {
        Some(path) => RunFolder::create(path, run.experiment())?,
        None => RunFolder::create_next(Path::new("runs"), run.experiment())?,
    };
    Ok((folder, run))
}

fn resume(args: &TrainArgs, path: &Path, console: &Console, device: Device) -> anyhow::Result<(RunFolder, Run)> {
    let folder = RunFolder::open(path)?;
    let mut experiment = folder.experiment()?;
    if let Some(seed) = console.seed.filter(|seed| *seed != experiment.seed) {
        anyhow::bail!(
            "this run has the seed {}: it cannot be resumed with --seed {seed}; omit --seed",
            experiment.seed
        );
    }
    experiment.data.path = args.data.clone().or(experiment.data.path);
    if let Some(epochs) = args.epochs {
        experiment.training.set_total_epochs(epochs)?;
    }
    let mut run = load(experiment, device, console)?;
    if console.force {
        folder.resume_changed(&mut run)?;
    } else {
        folder.resume(&mut run)?;
    }
    folder.write_config(run.experiment())?;
    // The process may have been killed between the checkpoint and the files derived from it.
    folder.save_history(run.trainer())?;
    Ok((folder, run))
}

fn load(experiment: Experiment, device: Device, console: &Console) -> anyhow::Result<Run> {
    Ok(Run::load(experiment, device, &mut |text| console.note(text))?)
}

fn introduce(run: &Run, folder: &RunFolder, console: &Console) {
    let trainer = run.trainer();
    let network = trainer.network();
    let parameters: usize = network.named_parameters().iter().map(|(_, tensor)| tensor.numel()).sum();
    let neurons: i64 = network.layers().iter().map(|layer| layer.neurons()).sum();
    console.note(&format!("data      {}, {} training images", run.source(), grouped(trainer.training().len())));
    console.note(&format!("network   {} parameters, {} neurons", grouped(parameters as i64), grouped(neurons)));
    let device = format!("{:?}", network.device()).to_lowercase();
    let precision = json!(trainer.config().precision);
    let precision = precision.as_str().unwrap_or_default();
    console.note(&format!("device    {device}, {} threads, {precision}", tch::get_num_threads()));
    describe_stages(run, console);
    if let Some(warning) = Load::at_start().and_then(|load| load.warning(tch::get_num_threads() as usize)) {
        console.note(&format!("note      {warning}"));
    }
    console.note(&format!("run       {}", folder.path().display()));
    let position = trainer.position();
    if *position != Default::default() {
        console.note(&format!("resumed   after epoch {}, step {}", position.epoch, position.step));
    }
}

/// A line for each stage, or for the method of a training without stages; none for rates alone.
fn describe_stages(run: &Run, console: &Console) {
    let (trainer, stages) = (run.trainer(), run.experiment().training.in_stages());
    if stages.len() == 1 && trainer.method() == Method::Rate {
        return;
    }
    for (number, stage) in (1..).zip(&stages) {
        let steps = stage.method.steps(trainer.network());
        let steps = steps.map_or_else(String::new, |steps| format!(" of {steps} steps"));
        let (method, epochs, rate) = (stage.method.name(), stage.epochs, stage.learning_rate);
        let text = format!("{method}{steps}, {epochs} epochs, learning rate {rate}");
        match stages.len() {
            1 => console.note(&format!("method    {text}")),
            _ => console.note(&format!("stage     {number}: {text}")),
        }
    }
}

fn finish(
    run: &Run,
    folder: &RunFolder,
    profile: Option<&Profile>,
    console: &Console,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    if stop.load(Ordering::Relaxed) {
        return interrupted(run, folder);
    }
    let trainer = run.trainer();
    let metrics = &trainer.position().history;
    let trained_steps = trainer.method().steps(trainer.network());
    let steps = trainer.network().spec().steps.max(trained_steps.unwrap_or(1));
    let images = run.test_samples().map_or(0, |samples| samples.len());
    if images > 0 {
        let images = grouped(images);
        console.note(&format!("testing   {images} images, {steps} steps of spikes"));
    }
    let style = ProgressStyle::with_template("testing   {bar:30} {pos}/{len}  {eta} left").unwrap_or_else(|_| plain());
    let bar = console.progress(images as u64, style);
    let summary = run.test_until(&mut |done| bar.set_position(done as u64), stop);
    bar.finish_and_clear();
    // The checkpoint of the last epoch is saved; a resumed run does the test alone.
    if let Err(Error::Train(TrainError::Stopped)) = summary {
        return interrupted(run, folder);
    }
    let summary = summary?;
    let Some(summary) = summary else {
        console.print(&format!("saved     {} (not tested: there are no test images)", folder.path().display()));
        return console
            .emit(&json!({ "run": folder.path().to_string_lossy(), "dataset": run.source(), "metrics": metrics }));
    };
    folder.save_result(trainer, &summary)?;
    if let Some(spikes) = summary.test_spiking_accuracy {
        let rates = summary.test_rate_accuracy.map(|rates| format!("{} as rates, ", percent(rates)));
        let (rates, spikes) = (rates.unwrap_or_default(), percent(spikes));
        console.print(&format!("test      {rates}{spikes} as spikes after {steps} steps"));
        let at_trained = trained_steps.filter(|trained| *trained < steps);
        let at_trained = at_trained.and_then(|trained| Some((trained, summary.accuracy_after(trained)?)));
        if let Some((trained, accuracy)) = at_trained {
            console.print(&format!("          {} as spikes after the {trained} steps of training", percent(accuracy)));
        }
    }
    console.print(&format!("saved     {}", folder.path().display()));
    let mut result = serde_json::to_value(&summary)?;
    result["run"] = json!(folder.path().to_string_lossy());
    result["metrics"] = json!(metrics);
    result["precision"] = json!(trainer.config().precision);
    if let Some(profile) = profile {
        result["profile"] = json!(profile);
    }
    console.emit(&result)
}

/// The number of steps that `--profile` measures.
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
    lines.push(format!("a whole step, without measurements inside: {:.2} ms", profile.step));
    lines.join("\n")
}

fn interrupted(run: &Run, folder: &RunFolder) -> anyhow::Result<()> {
    let position = run.trainer().position();
    Err(anyhow::Error::new(Interrupted).context(format!(
        "interrupted after epoch {}, step {}; checkpoint saved. To resume: {}",
        position.epoch,
        position.step,
        resume_command(folder)
    )))
}

fn whats_left(folder: &RunFolder) -> String {
    match folder.last().is_file() {
        true => format!("training stopped; the latest checkpoint is intact: {}", folder.last().display()),
        false => "training stopped before the first checkpoint".to_string(),
    }
}

/// The command that resumes the run, for a shell.
fn resume_command(folder: &RunFolder) -> String {
    let path = folder.path();
    let plain = |text: &&str| !text.contains(|c: char| c.is_whitespace() || c.is_control() || "'\"$&;()\\".contains(c));
    let quoted = match path.to_str() {
        Some(text) if plain(&text) => text.to_string(),
        Some(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        // Escapes of bytes, as bash and zsh read them.
        _ => format!("$'{}'", path.as_os_str().as_encoded_bytes().escape_ascii()),
    };
    format!("tch-spiking train --resume {quoted}")
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
