//! `export`: a network as a file for other software.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use tch_spiking::network::Layer;
use tch_spiking::{device, torchscript, weights};

use super::Console;
use super::chosen::NetworkArgs;

/// Export a network to a file for other software
#[derive(Debug, Args)]
#[command(
    allow_missing_positional = true,
    after_help = "\
Examples:
  tch-spiking export runs/1/best.safetensors network.pt
  tch-spiking export --pretrained mnist-lif network.pt --format torchscript
  tch-spiking export --pretrained mnist-lif params.npz --format nengodl

torchscript runs in PyTorch without tch-spiking; scale images as for the training:
  network = torch.jit.load(\"network.pt\")
  rates   = network(images)                # batch x outputs
  spikes  = network.simulate(images, 30)   # 30 timesteps x batch x outputs

nengodl writes unnamed arrays for NengoDL's load_params, for the same network built there; `evaluate --weights
params.npz --config experiment.toml` reads them again."
)]
pub struct ExportArgs {
    /// Network file; or use --weights or --pretrained
    #[arg(value_name = "IN", required_unless_present_any = ["weights", "pretrained"], conflicts_with_all = ["weights", "pretrained"])]
    input: Option<PathBuf>,
    /// File to write
    #[arg(value_name = "OUT")]
    output: PathBuf,
    #[command(flatten)]
    network: NetworkArgs,
    /// Format to write
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = ExportFormat::TorchScript)]
    format: ExportFormat,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    #[value(name = "torchscript")]
    TorchScript,
    #[value(name = "nengodl")]
    NengoDl,
}

pub fn run(args: &ExportArgs, console: &Console) -> anyhow::Result<()> {
    let device = device::resolve(console.device)?;
    let (name, source) = args.network.source(args.input.as_deref(), &args.output, device, console)?;
    console.note(&format!("source    {name}"));
    match args.format {
        ExportFormat::TorchScript => torchscript::export(&args.output, &source.network)?,
        ExportFormat::NengoDl => weights::write_npz(&args.output, &weights::nengodl_arrays(&source.network)?, true)?,
    }
    console.print(&format!("written to {}", args.output.display()));
    console.emit(&json!({
        "source": name,
        "output": args.output.to_string_lossy(),
        "format": args.format.to_possible_value().map(|value| value.get_name().to_string()),
        "dt": source.network.spec().dt,
        "steps": source.network.spec().steps,
        "layers": source.network.layers().iter().map(Layer::name).collect::<Vec<_>>(),
    }))
}
