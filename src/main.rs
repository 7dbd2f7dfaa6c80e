//! The command line of tch-spiking: arguments in, exit code out.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::wait_asleep_if_busy();
    cli::report_panics();
    tch_spiking::kernels::keep_freed_memory();
    cli::exit_code(std::panic::catch_unwind(|| cli::Cli::parse().run()))
}
