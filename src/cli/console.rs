//! Output of a command: results to stdout, everything else to stderr. A closed pipe is not an error.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use anyhow::Context;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;
use tch_spiking::device::DeviceChoice;

use super::Global;

/// The context of every command: the global options, and output.
#[derive(Debug, Default)]
pub struct Console {
    /// One JSON object on stdout, everything else on stderr.
    pub json: bool,
    /// No progress output.
    pub quiet: bool,
    /// The number of `-v` options.
    pub verbose: u8,
    /// The device.
    pub device: DeviceChoice,
    /// The number of CPU threads, if given.
    pub threads: Option<usize>,
    /// The seed of everything random, if given.
    pub seed: Option<u64>,
    /// Whether to go on in spite of a check.
    pub force: bool,
    bars: MultiProgress,
    failure: Mutex<Option<io::Error>>,
}

impl Console {
    /// A console with the given global options.
    pub fn new(options: &Global) -> Self {
        let &Global { json, device, threads, seed, force, quiet, verbose, memory: _ } = options;
        Self { json, quiet, verbose, device, threads, seed, force, ..Self::default() }
    }

    /// Prints a progress message to stderr; nothing with `-q`.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.bars.suspend(|| say(text));
        }
    }

    /// Prints a detail to stderr, only with `-v`.
    pub fn detail(&self, text: &str) {
        if self.verbose > 0 {
            self.note(text);
        }
    }

    /// Prints a human-readable result to stdout, or to stderr with `--json`.
    pub fn print(&self, text: &str) {
        if self.json {
            self.bars.suspend(|| say(text));
        } else {
            self.write(&printable(text));
        }
    }

    /// Prints `result`, the one JSON object of this command, on a line of stdout; nothing without `--json`.
    ///
    /// # Errors
    /// If `result` cannot be written as JSON.
    pub fn emit(&self, result: &impl Serialize) -> anyhow::Result<()> {
        if self.json {
            let text = serde_json::to_string(result).context("cannot write the result as JSON")?;
            // Inside strings, the only place of such characters, JSON has the same escape for them.
            self.write(&escaped(&text, |letter| format!("\\u{:04x}", u32::from(letter))));
        }
        Ok(())
    }

    /// A progress bar on stderr; hidden with `-q` or if stderr is not a terminal.
    pub fn progress(&self, total: u64, style: ProgressStyle) -> ProgressBar {
        if self.interactive() {
            self.bars.add(ProgressBar::new(total).with_style(style))
        } else {
            ProgressBar::hidden()
        }
    }

    /// Whether progress bars are visible.
    pub fn interactive(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// # Errors
    /// The first failure to write a result to stdout, such as a full disk.
    pub fn finish(self) -> anyhow::Result<()> {
        match self.failure.into_inner() {
            Ok(Some(error)) => Err(error).context("cannot write the result to stdout"),
            _ => Ok(()),
        }
    }

    /// Writes a line to stdout. A closed pipe (`| head`) is not an error.
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

/// The text with its control characters, which a terminal would interpret, as escapes: names come from untrusted files.
/// Ends of lines and tabs stay.
fn printable(text: &str) -> String {
    escaped(text, |letter| letter.escape_default().to_string())
}

/// The text with everything that a terminal would interpret replaced by `escape` of it.
fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let mut result = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => result.push(letter),
            // Marks that reorder the text around them hide what it says.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => result += &escape(letter),
            letter if letter.is_control() => result += &escape(letter),
            letter => result.push(letter),
        }
    }
    result
}

/// Writes a line to stderr; errors are ignored, since they cannot be reported.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", printable(line));
}
