//! The command line: arguments, commands and exit codes.

mod chosen;
mod console;
mod convert;
mod convert_network;
mod data;
mod doctor;
mod evaluate;
mod export;
mod inspect;
mod interrupt;
mod load;
mod simulate;
mod train;
mod train_watcher;

use std::process::ExitCode;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Parser, Subcommand};
use tch_spiking::device::{self, DeviceChoice, MAX_THREADS};

pub use console::Console;
pub use interrupt::{Interrupted, interrupt_flag};
pub use load::wait_asleep_if_busy;

/// Trains a network as differentiable rates and runs it as spikes.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120, subcommand_required = true, after_help = HELP)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const HELP: &str = "\
Examples:
  tch-spiking train              train the reference network on MNIST
  tch-spiking evaluate           measure the pretrained network
  tch-spiking simulate           draw the classification of one digit
  tch-spiking doctor             show the capabilities of this machine
  tch-spiking COMMAND --help     all options of a command, with examples

Environment:
  TCH_SPIKING_DATA    folder of the data sets (contains mnist/ and fashion/)
  RUST_BACKTRACE=1    show a backtrace for internal errors
  GOMP_SPINCOUNT=N    how long threads wait for each other in a loop; if not set, 0 on a busy machine

Exit code: 0 done, 1 failure, 2 wrong usage, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Evaluate(evaluate::EvaluateArgs),
    Simulate(simulate::SimulateArgs),
    Data(data::DataArgs),
    Doctor(doctor::DoctorArgs),
    Inspect(inspect::InspectArgs),
    Convert(convert::ConvertArgs),
    ConvertNetwork(convert_network::ConvertNetworkArgs),
    Export(export::ExportArgs),
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Print one JSON object to stdout, everything else to stderr
    #[arg(long, global = true)]
    json: bool,
    /// Device: auto (CUDA if available), cpu, cuda or cuda:N
    #[arg(long, global = true, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// CPU threads [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_THREADS as u64))]
    threads: Option<usize>,
    /// Seed of everything random; the same seed gives the same result on the same device with the same number of
    /// threads
    #[arg(long, global = true, value_name = "N")]
    seed: Option<u64>,
    /// The most memory that a network may need (MiB); more is refused before it runs [default: 90 % of what is
    /// available]
    #[arg(long, global = true, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    memory: Option<u64>,
    /// Go on in spite of a check: with more threads than cores, or a run whose configuration was changed
    #[arg(long, global = true)]
    force: bool,
    /// Print only results and errors, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print more details; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let console = Console::new(&self.global);
        set_threads(&console)?;
        device::set_memory_limit(self.global.memory.map_or(0, |mib| mib << 20));
        match &self.command {
            Command::Train(args) => train::run(args, &console)?,
            Command::Evaluate(args) => evaluate::run(args, &console)?,
            Command::Simulate(args) => simulate::run(args, &console)?,
            Command::Data(args) => data::run(args, &console)?,
            Command::Doctor(args) => doctor::run(args, &console)?,
            Command::Inspect(args) => inspect::run(args, &console)?,
            Command::ConvertNetwork(args) => convert_network::run(args, &console)?,
            Command::Convert(args) => convert::run(args, &console)?,
            Command::Export(args) => export::run(args, &console)?,
        }
        console.finish()
    }
}

/// The threads that were asked for, otherwise libtorch's default, limited to the available cores: libtorch counts all
/// cores of the machine, even in a container with fewer.
fn set_threads(console: &Console) -> anyhow::Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let asked = console.threads.map(|asked| match asked > cores && !console.force {
        true => {
            console.note(&format!(
                "note: --threads {asked}, but there are {cores} cores: using {cores} (--force uses {asked})"
            ));
            cores
        }
        false => asked,
    });
    let too_many = std::env::var_os("OMP_NUM_THREADS").is_none() && tch::get_num_threads() as usize > cores;
    if let Some(threads) = asked.or(too_many.then_some(cores)) {
        device::set_threads(threads)?;
    }
    Ok(())
}

/// Prints the error of `outcome` to stderr and returns its exit code.
pub fn exit_code(outcome: std::thread::Result<anyhow::Result<()>>) -> ExitCode {
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if error.is::<Interrupted>() => {
            console::say(&error.to_string());
            ExitCode::from(130)
        }
        Ok(Err(error)) => {
            console::say(&describe(&error));
            ExitCode::FAILURE
        }
        // `report_panics` has already printed the message.
        Err(_) => ExitCode::FAILURE,
    }
}

/// The error and its causes, one per line; a cause already quoted by the line above is not repeated.
fn describe(error: &anyhow::Error) -> String {
    let mut above = without_trace(&error.to_string()).to_owned();
    let mut text = format!("error: {above}");
    for cause in error.chain().skip(1).map(|cause| without_trace(&cause.to_string()).to_owned()) {
        if !above.contains(&cause) {
            text.push_str(&format!("\n  caused by: {cause}"));
            above = cause;
        }
    }
    text
}

/// The message without the C++ stack trace that libtorch puts after its own; in a panic of tch, line ends are escaped.
fn without_trace(message: &str) -> &str {
    let end = message.find("Exception raised from").unwrap_or(message.len());
    message[..end].trim_end_matches("\\n").trim_end()
}

/// Prints a panic, which is an internal error, as one line; `RUST_BACKTRACE` restores the details.
pub fn report_panics() {
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let message = text.map_or("no message", without_trace);
        let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
        console::say(&format!(
            "error: internal error (bug) in tch-spiking{place}: {message}. Please report it with the command that you ran."
        ));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn causes_are_listed_once() {
        let error = Err::<(), _>(anyhow!("no space left"))
            .context("cannot write a.png: no space left")
            .context("cannot draw the raster")
            .unwrap_err();
        assert_eq!(describe(&error), "error: cannot draw the raster\n  caused by: cannot write a.png: no space left");
    }

    #[test]
    fn traces_of_libtorch_are_left_out() {
        let cpu = (tch::Kind::Float, tch::Device::Cpu);
        let error = tch::Tensor::zeros([2], cpu).f_view([3]).unwrap_err();
        assert_eq!(describe(&error.into()), "error: Internal torch error: shape '[3]' is invalid for input of size 2");
        assert_eq!(without_trace(r"Torch(size 2\nException raised from a.cpp:9\nframe 0"), "Torch(size 2");
    }

    #[test]
    fn interrupt_is_seen_through_context() {
        let error = Err::<(), _>(Interrupted).context("epoch 3 is saved; resume with --resume runs/a").unwrap_err();
        assert!(error.is::<Interrupted>());
    }
}
