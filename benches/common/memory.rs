//! The peak memory of a part of a program.

use std::fs;

/// What the process held when watching began.
pub struct Memory {
    resident_kib: f64,
}

impl Memory {
    /// Begins anew to look for the highest amount of memory (Linux; elsewhere the peak is not a number).
    pub fn watch() -> Self {
        // Sets the high-water mark to what is resident now. Where that is not allowed, the mark is that of the process.
        let _ = fs::write("/proc/self/clear_refs", "5");
        Self { resident_kib: status("VmRSS:") }
    }

    /// The highest amount since then, above what was held then (MiB).
    pub fn peak_mib(&self) -> f64 {
        (status("VmHWM:") - self.resident_kib) / 1024.0
    }
}

fn status(name: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}
