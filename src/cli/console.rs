//! How a command talks: results to stdout, all else to stderr, and neither fails because nobody listens any more.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use tch_spiking::device::DeviceChoice;

use super::Global;

/// What every command is handed: the options that all share, and a way to talk.
#[derive(Debug, Default)]
pub struct Console {
    /// One JSON object on stdout, all else on stderr.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
    /// Where to compute.
    pub device: DeviceChoice,
    /// Threads on the processor, if the user said how many.
    pub threads: Option<usize>,
    /// Seed of everything random, if the user named one.
    pub seed: Option<u64>,
    bars: MultiProgress,
    failure: Mutex<Option<io::Error>>,
}

impl Console {
    /// A console that talks as the user asked for.
    pub fn new(options: &Global) -> Self {
        let &Global { json, device, threads, seed, quiet, verbose } = options;
        Self { json, quiet, verbose, device, threads, seed, ..Self::default() }
    }

    /// Says on stderr what is going on; nothing with `-q`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.bars.suspend(|| say(text));
        }
    }

    /// Says on stderr what only those want to know who gave `-v`.
    pub fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.note(text);
        }
    }

    /// Prints a result for people: to stdout, or to stderr where stdout is for JSON.
    pub fn print(&self, text: &str) {
        if self.json {
            self.bars.suspend(|| say(text));
        } else {
            self.write(text);
        }
    }

    /// Prints `result`, the one JSON object of this command, on a line of stdout; nothing without `--json`.
    ///
    /// # Errors
    /// If `result` cannot be written as JSON.
    pub fn emit(&self, result: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            self.write(&serde_json::to_string(result).context("cannot write the result as JSON")?);
        }
        Ok(())
    }

    /// A progress bar on stderr; hidden with `-q` and where stderr is not a terminal.
    pub fn progress(&self, total: u64, style: ProgressStyle) -> ProgressBar {
        if self.interactive() {
            self.bars.add(ProgressBar::new(total).with_style(style))
        } else {
            ProgressBar::hidden()
        }
    }

    /// Whether somebody watches progress bars.
    pub fn interactive(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// # Errors
    /// The first failure to write a result, such as a full disk that stdout goes to.
    pub fn finish(self) -> anyhow::Result<()> {
        match self.failure.into_inner() {
            Ok(Some(error)) => Err(error).context("cannot write the result to stdout"),
            _ => Ok(()),
        }
    }

    /// A line to stdout. A reader who has seen enough (`| head`) is no failure.
    fn write(&self, line: &str) {
        let written = self.bars.suspend(|| {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{line}").and_then(|()| stdout.flush())
        });
        if let (Err(error), Ok(mut failure)) = (written, self.failure.lock())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            failure.get_or_insert(error);
        }
    }
}

/// A line to stderr; if that is gone, there is nobody left to tell.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
