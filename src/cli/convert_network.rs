//! `convert-network`: conversion of a trained ReLU network to a spiking network.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use indicatif::ProgressStyle;
use serde_json::json;
use tch_spiking::convert::{Calibration, CalibrationTarget, Change, ConversionReport, Converter, ReportOptions, Swap};
use tch_spiking::train::labelled;
use tch_spiking::weights::{LoadedNetwork, save_network};
use tch_spiking::{device, write_atomically};

use super::Console;
use super::chosen::{EngineArgs, ImageArgs, NetworkArgs};
use super::train::{grouped, percent};

/// The default number of test images of a verification.
const VERIFIED: u64 = 1000;
/// The timesteps at which the accuracy is printed.
const SHOWN: [i64; 9] = [1, 2, 5, 10, 15, 20, 30, 45, 60];

/// Convert a trained ReLU network to a spiking network
#[derive(Debug, Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  tch-spiking convert-network relu.safetensors snn.safetensors --verify
  tch-spiking convert-network relu.safetensors snn.safetensors --scale-firing-rates 10 --synapse 0.01 --verify
  tch-spiking convert-network relu.safetensors snn.safetensors --calibrate 500 --synapse 0.005 --verify --limit 10000
  tch-spiking convert-network relu.safetensors snn.safetensors --swap relu=lif --swap 'relu1=lif{tau_rc=0.05}'
  tch-spiking convert-network relu.safetensors snn.safetensors --scale-firing-rates conv1=20 --max-to-avg-pool

Every relu becomes spiking-relu (rectified_linear), whose rate equals it; batch_norm is folded into the convolution or
linear layer before it; dropout is removed. More spikes approximate the rates better (--scale-firing-rates,
--calibrate) and the longer they are averaged (--synapse); --verify measures the accuracy, and reports what limits it."
)]
pub struct ConvertNetworkArgs {
    /// Network file; or use --weights or --pretrained
    #[arg(value_name = "IN", required_unless_present_any = ["weights", "pretrained"], conflicts_with_all = ["weights", "pretrained"])]
    input: Option<PathBuf>,
    /// File to write (safetensors)
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    images: ImageArgs,
    /// Neurons that replace a layer, or all layers of a type: relu=lif, relu1=soft-lif, relu=lif{tau_rc=0.02}
    /// [repeatable]
    #[arg(long, value_name = "FROM=TO")]
    swap: Vec<Swap>,
    /// Multiply firing rates by S and divide spike amplitudes by S: 10, or conv1=10 for one layer [repeatable]
    #[arg(long, value_name = "S", value_parser = scale)]
    scale_firing_rates: Vec<Scale>,
    /// Time constant of a lowpass filter after every layer of neurons (s)
    #[arg(long, value_name = "TAU", value_parser = time)]
    synapse: Option<f64>,
    /// Replace max pooling by average pooling
    #[arg(long)]
    max_to_avg_pool: bool,
    /// Choose the scale of every layer from the first N training images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "scale_firing_rates")]
    calibrate: Option<u64>,
    /// Percentile of a layer's rates that gets the target rate, 0 to 100
    #[arg(long, value_name = "P", requires = "calibrate", default_value_t = CalibrationTarget::default().percentile)]
    percentile: f64,
    /// Target firing rate of the calibration (Hz)
    #[arg(long, value_name = "HZ", requires = "calibrate", default_value_t = CalibrationTarget::default().rate)]
    target_rate: f64,
    /// Compare with the source on test images; report the accuracy over 60 timesteps and what limits it
    #[arg(long)]
    verify: bool,
    /// Verify, and write report.json and accuracy.png to this folder [default: next to OUT, named after it]
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Verify with only the first N test images [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    engine: EngineArgs,
}

/// A scale for all layers, or for the layer of this name.
#[derive(Clone, Debug)]
struct Scale(Option<String>, f64);

fn scale(text: &str) -> Result<Scale, String> {
    let (layer, number) = match text.split_once('=') {
        Some((layer, number)) => (Some(layer.trim().to_string()), number),
        None => (None, text),
    };
    let number = number.trim().parse().ok().filter(|scale: &f64| *scale > 0.0 && scale.is_finite());
    let number = number.ok_or("expected a number above 0, such as 10, or LAYER=10")?;
    Ok(Scale(layer, number))
}

fn time(text: &str) -> Result<f64, String> {
    let tau = text.parse().ok().filter(|tau: &f64| *tau >= 0.0 && tau.is_finite());
    tau.ok_or_else(|| "expected a time of 0 s or more, such as 0.005".to_string())
}

impl ConvertNetworkArgs {
    fn converter(&self) -> Converter {
        let mut converter = self.swap.iter().cloned().fold(Converter::new(), Converter::swap);
        for Scale(layer, scale) in &self.scale_firing_rates {
            converter = match layer {
                Some(layer) => converter.scale_layer(layer, *scale),
                None => converter.scale_firing_rates(*scale),
            };
        }
        if let Some(tau) = self.synapse {
            converter = converter.synapse(tau);
        }
        if self.max_to_avg_pool { converter.max_to_avg_pool() } else { converter }
    }

    fn source(&self, device: tch::Device, console: &Console) -> anyhow::Result<(String, LoadedNetwork)> {
        self.network.source(self.input.as_deref(), &self.output, device, console)
    }
}

pub fn run(args: &ConvertNetworkArgs, console: &Console) -> anyhow::Result<()> {
    let device = device::resolve(console.device)?;
    let (name, source) = args.source(device, console)?;
    console.note(&format!("source    {name}"));
    let mut converter = args.converter();
    let mut calibrated = None;
    if let Some(count) = args.calibrate {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let data = args.images.load_with_training(&source, count, Some(0), console)?;
        let images = labelled(&data.train, &source.network)?.images.f_to_kind(source.network.kind())?;
        let target = CalibrationTarget { percentile: args.percentile, rate: args.target_rate };
        let (with_scales, layers) = converter.calibrate(&source.network, &images, target)?;
        console.note(&format!("calibrated on {} training images of {}", grouped(images.size()[0]), data.source));
        converter = with_scales;
        calibrated = Some(layers);
    }
    let converted = converter.convert(&source.network)?;
    // Measurements of the source do not apply to the converted network.
    let mut provenance = source.provenance.clone();
    provenance.facts.retain(|key, _| key == "epochs");
    provenance.facts.insert("converted_from".to_string(), file_name(Path::new(&name)));
    save_network(&args.output, &converted.network, &provenance)?;

    console.print(&changes(&converted.changes));
    if let Some(layers) = &calibrated {
        console.print(&calibration(layers, args.percentile));
    }
    console.print(&format!("written to {}", args.output.display()));
    let report = match args.verify || args.report.is_some() {
        true => Some(verify(args, &source, &converted.network, console)?),
        false => None,
    };
    console.emit(&json!({
        "source": name,
        "output": args.output.to_string_lossy(),
        "changes": converted.changes,
        "calibration": calibrated,
        "report": report,
    }))
}

fn verify(
    args: &ConvertNetworkArgs,
    source: &LoadedNetwork,
    converted: &tch_spiking::SpikingSequential,
    console: &Console,
) -> anyhow::Result<ConversionReport> {
    let limit = usize::try_from(args.limit.unwrap_or(VERIFIED)).unwrap_or(usize::MAX);
    let data = args.images.load(source, Some(limit), console)?;
    let test = labelled(&data.test, &source.network)?;
    console.note(&format!("data      {}, {} test images", data.source, grouped(test.len())));
    let style = ProgressStyle::with_template("spiking   {bar:30} {pos}/{len}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = console.progress(test.len() as u64, style);
    let options = ReportOptions { engine: args.engine.engine(), ..ReportOptions::default() };
    let progress = &mut |done: i64| bar.set_position(done as u64);
    let report = ConversionReport::new(&source.network, converted, &test, options, progress)?;
    bar.finish_and_clear();
    console.print(&describe(&report));

    let (text, picture) = report_paths(args)?;
    write_atomically(&text, |file| std::io::Write::write_all(file, &serde_json::to_vec_pretty(&report)?))?;
    report.figure(format!("{} as spikes", file_name(&args.output))).save(&picture)?;
    console.print(&format!("see {} and {}", text.display(), picture.display()));
    Ok(report)
}

/// The paths of the report and its figure.
fn report_paths(args: &ConvertNetworkArgs) -> anyhow::Result<(PathBuf, PathBuf)> {
    let Some(folder) = &args.report else {
        return Ok((args.output.with_extension("report.json"), args.output.with_extension("report.png")));
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create the folder {}", folder.display()))?;
    Ok((folder.join("report.json"), folder.join("accuracy.png")))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "no layer changed".to_string();
    }
    let width = changes.iter().map(|change| change.layer.len()).max().unwrap_or(0);
    let line = |change: &Change| format!("{:<width$}  {:<10}  {}", change.layer, change.kind, change.action);
    changes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn calibration(layers: &[Calibration], percentile: f64) -> String {
    let head = format!("{percentile}th percentile");
    let mut text = format!("{:<12} {head:>20} {:>10} {:>10}", "layer", "scale", "then");
    for Calibration { layer, unscaled_rate, scale, rate } in layers {
        text.push_str(&format!("\n{layer:<12} {unscaled_rate:>17.2} Hz {scale:>10.4} {rate:>7.1} Hz"));
    }
    text
}

fn describe(report: &ConversionReport) -> String {
    let ConversionReport { images, largest_difference, largest_output, .. } = report;
    let last = report.accuracy_by_step.len() as i64;
    let steps: Vec<i64> = SHOWN.into_iter().filter(|&step| step <= last).collect();
    let row = |cell: &dyn Fn(i64) -> String| steps.iter().map(|&step| format!("{:>7}", cell(step))).collect::<String>();
    let mut text = format!(
        "as rates  outputs differ from the source's by {largest_difference:.2e} at most (the largest is {largest_output:.3})\n\
         source    {}\nas rates  {}\nstep      {}\ncorrect % {}   ({} images)\n",
        percent(report.source_accuracy),
        percent(report.rate_accuracy),
        row(&|step| step.to_string()),
        row(&|step| format!("{:.1}", 100.0 * report.accuracy_at(step))),
        grouped(*images)
    );
    let width = report.layers.iter().map(|layer| layer.activity.name.len()).max().unwrap_or(0).max(5);
    let seen = format!("spikes in {}", report.steps);
    text.push_str(&format!(
        "{:<width$} {:>9} {:>9} {:>8} {:>9} {seen:>13} {:>11}",
        "layer", "mean Hz", "max Hz", "silent", "saturated", "correlation"
    ));
    for layer in &report.layers {
        let activity = &layer.activity;
        text.push_str(&format!(
            "\n{:<width$} {:>9.1} {:>9.0} {:>6.1} % {:>7.1} % {:>13.2} {:>11}",
            activity.name,
            activity.mean_rate,
            activity.max_rate,
            100.0 * activity.silent_fraction,
            100.0 * activity.saturated_fraction,
            layer.spikes_seen,
            layer.correlation.map_or("-".to_string(), |correlation| format!("{correlation:.3}")),
        ));
    }
    text + "\n" + &report.verdict
}
