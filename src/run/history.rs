//! The metrics of earlier epochs, read back from a run folder.

use std::path::Path;

use crate::train::EpochMetrics;

/// Reads the lines of `metrics.jsonl`; none if there is no such file.
///
/// # Errors
/// What is wrong, with the line.
pub(super) fn read(path: &Path) -> Result<Vec<EpochMetrics>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!(" cannot be read: {error}")),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| {
                format!(", line {}: {error}; correct the line, or remove it to go on without its epoch", index + 1)
            })
        })
        .collect()
}
