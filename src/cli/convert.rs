//! `convert`: weights of any format as safetensors or NumPy arrays.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use serde_json::json;
use tch_spiking::weights::{self, OutputFormat};

use super::Console;

/// Convert weights of any format to safetensors or NumPy arrays
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tch-spiking convert checkpoint.pt weights.safetensors    what torch.save wrote
  tch-spiking convert scripted.pt weights.npz              parameters and buffers of TorchScript
  tch-spiking convert weights.npz small --format npz --compress

Read: safetensors, PyTorch (.pt, .pth), TorchScript, NumPy (.npz), detected from the content; nothing is executed.
Names and bits of tensors are kept; bfloat16, which NumPy lacks, becomes float32. An .npz has no metadata.")]
pub struct ConvertArgs {
    /// Weights file to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Weights file to write, with the format given by its extension (.safetensors or .npz)
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Format of OUT, independent of its extension
    #[arg(long, value_name = "FORMAT")]
    format: Option<Target>,
    /// Convert weights that are NaN or infinite all the same
    #[arg(long)]
    allow_non_finite: bool,
    /// Compress the arrays (npz)
    #[arg(long)]
    compress: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    Safetensors,
    Npz,
}

pub fn run(args: &ConvertArgs, console: &Console) -> anyhow::Result<()> {
    let compress = args.compress;
    let to = match args.format {
        Some(Target::Safetensors) => Some(OutputFormat::Safetensors),
        Some(Target::Npz) => Some(OutputFormat::Npz { compress }),
        None => OutputFormat::of_name(&args.output),
    };
    let to = match to {
        Some(OutputFormat::Npz { .. }) => Some(OutputFormat::Npz { compress }),
        Some(_) if compress => anyhow::bail!("--compress is only for npz: omit it, or give --format npz"),
        to => to,
    };
    if !args.allow_non_finite {
        weights::require_finite_file(&args.input)?;
    }
    let converted = weights::convert(&args.input, &args.output, to)?;
    let (count, numbers) = (converted.tensors.len(), HumanCount(converted.elements as u64));
    console.print(&format!("read     {} ({})", args.input.display(), converted.from.name()));
    console.print(&format!("written  {}: {count} tensors, {numbers} numbers", args.output.display()));
    if !converted.widened.is_empty() {
        let names = converted.widened.join(", ");
        console.note(&format!("note: bfloat16 became float32, which holds it exactly: {names}"));
    }
    if !converted.dropped.is_empty() {
        console.note(&format!("note: omitted, since npz has no metadata: {}", converted.dropped.join(", ")));
    }
    console.emit(&json!({
        "input": args.input.to_string_lossy(),
        "output": args.output.to_string_lossy(),
        "from": converted.from.name(),
        "tensors": converted.tensors,
        "elements": converted.elements,
        "widened": converted.widened,
        "dropped": converted.dropped,
    }))
}
