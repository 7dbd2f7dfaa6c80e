//! `evaluate`: accuracy as rates and as spikes, and the activity of the neurons.

use std::time::Instant;

use clap::Args;
use indicatif::ProgressStyle;
use serde_json::json;
use tch_spiking::data::{Samples as _, has_rates, samples};
use tch_spiking::device;
use tch_spiking::evaluate::{LayerActivity, SpikingOptions, rate_accuracy, spiking_with};

use super::Console;
use super::chosen::{EngineArgs, ImageArgs, NetworkArgs};
use super::train::{grouped, percent};

/// Measure a network on test images: accuracy as rates, as spikes at every step, firing rates
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tch-spiking evaluate                                    the pretrained mnist-lif
  tch-spiking evaluate --pretrained fashion-lif --steps 60
  tch-spiking evaluate --weights runs/1/best.safetensors --limit 1000
  tch-spiking evaluate --weights state.pt --config my-experiment.toml      weights of another program
  tch-spiking evaluate --confidence 2                     stop each image when the best class leads by 2
  tch-spiking evaluate --json | jq .accuracy_by_step

silent       neurons that do not spike while an image is shown, on average over the images
saturated    neurons that spike at 95 % of their maximum rate or more")]
pub struct EvaluateArgs {
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
    /// Timesteps [default: from the network, usually 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    steps: Option<i64>,
    /// Use only the first N test images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Stop an image when its highest output leads the second by M
    #[arg(long, value_name = "M", value_parser = margin)]
    confidence: Option<f64>,
    /// Memory for the activities of layers at a time (MiB, dense engine): about that of a cache
    #[arg(long, value_name = "MIB", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    tile: u64,
}

pub fn run(args: &EvaluateArgs, console: &Console) -> anyhow::Result<()> {
    let device = device::resolve(console.device)?;
    let (name, loaded) = args.network.load(device, console)?;
    let network = &loaded.network;
    let limit = args.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let data = args.images.load(&loaded, limit, console)?;
    let test = samples(&data.test, network)?;
    let steps = args.steps.unwrap_or(network.spec().steps);
    let dt = network.spec().dt;
    console.note(&format!("network   {name}"));
    console.note(&format!("data      {}, {} test images", data.source, grouped(test.len())));

    let start = Instant::now();
    let rates = has_rates(network, &test)?.then(|| rate_accuracy(network, &test)).transpose()?;
    let rate_seconds = start.elapsed().as_secs_f64();
    let style = ProgressStyle::with_template("spiking   {bar:30} {pos}/{len}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = console.progress(test.len() as u64, style);
    let memory = usize::try_from(args.tile << 20).unwrap_or(usize::MAX);
    let (engine, confidence) = (args.engine.engine(), args.confidence);
    let options = SpikingOptions { steps, memory, engine, confidence, ..SpikingOptions::default() };
    let spikes = spiking_with(network, &test, options, &mut |done| bar.set_position(done as u64))?;
    bar.finish_and_clear();
    // A sequence has a number of timesteps of its own.
    let steps = i64::try_from(spikes.accuracy_by_step.len()).unwrap_or(steps);
    let seconds = start.elapsed().as_secs_f64();

    match rates {
        Some(rates) => console.print(&format!("as rates  {}   ({rate_seconds:.1} s)", percent(rates))),
        None => {
            console.print("as rates  -         not all neurons have a rate, or a recurrent network sees still images")
        }
    }
    console.print(&format!(
        "as spikes {}   after {} steps of {} ms   ({:.1} s, {} engine)",
        percent(spikes.accuracy()),
        if args.confidence.is_some() { format!("{:.1} of {steps}", spikes.mean_steps) } else { steps.to_string() },
        dt * 1e3,
        spikes.seconds,
        spikes.engine
    ));
    console.print(&by_step(&spikes.accuracy_by_step));
    if spikes.layers.is_empty() {
        console.print("no layer has spiking neurons, so all steps are equal; use `tch-spiking convert-network` to get a spiking network");
    } else {
        console.print(&table(&spikes.layers));
        console.print(&format!("{:.0} spikes per image", spikes.spikes_per_image));
    }
    console.emit(&json!({
        "network": name,
        "dataset": data.source.name(),
        "images": test.len(),
        "steps": steps,
        "dt": dt,
        "rate_accuracy": rates,
        "accuracy": spikes.accuracy(),
        "accuracy_by_step": spikes.accuracy_by_step,
        "mean_steps": spikes.mean_steps,
        "engine": spikes.engine,
        "spikes_per_image": spikes.spikes_per_image,
        "layers": spikes.layers,
        "rate_seconds": rate_seconds,
        "spiking_seconds": spikes.seconds,
        "seconds": seconds,
    }))
}

fn margin(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|margin: &f64| *margin >= 0.0).ok_or_else(|| "expected a number of 0 or more".to_string())
}

/// A table of the accuracy at a few steps.
fn by_step(accuracies: &[f64]) -> String {
    let last = accuracies.len();
    let chosen = [1, 2, 5, 10, 15, 20, 30, 50, 100, 200, 500].into_iter().filter(|&step| step < last);
    let columns: Vec<(String, String)> = chosen
        .chain([last])
        .filter_map(|step| Some((step.to_string(), format!("{:.1}", 100.0 * accuracies.get(step - 1)?))))
        .collect();
    let row = |cells: Vec<&String>| cells.iter().map(|cell| format!("{cell:>7}")).collect::<String>();
    format!(
        "step      {}\ncorrect % {}",
        row(columns.iter().map(|(step, _)| step).collect()),
        row(columns.iter().map(|(_, accuracy)| accuracy).collect())
    )
}

fn table(layers: &[LayerActivity]) -> String {
    let width = layers.iter().map(|layer| layer.name.len()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "{:<width$} {:>8} {:>9} {:>9} {:>8} {:>9} {:>12}",
        "layer", "neurons", "mean Hz", "max Hz", "silent", "saturated", "spikes/image"
    );
    for layer in layers {
        text.push_str(&format!(
            "\n{:<width$} {:>8} {:>9.1} {:>9.0} {:>8} {:>9} {:>12.0}",
            layer.name,
            grouped(layer.neurons),
            layer.mean_rate,
            layer.max_rate,
            percent_short(layer.silent_fraction),
            percent_short(layer.saturated_fraction),
            layer.spikes_per_image,
        ));
    }
    text
}

fn percent_short(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
