//! Pretrained networks: folders of `pretrained/`, each with its experiment, weights, metrics and description.

use std::path::{Path, PathBuf};

/// The default network.
pub const DEFAULT: &str = "mnist-lif";

const WEIGHTS: &str = "weights.safetensors";

/// A pretrained network was not found.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("there is no pretrained network {name:?} in {}; available: {}", places.join(" or "), list(known))]
pub struct NotFound {
    /// The requested name.
    pub name: String,
    /// The folders that were searched.
    pub places: Vec<String>,
    /// The names found there.
    pub known: Vec<String>,
}

/// Finds the weights file of the pretrained network `name`.
///
/// # Errors
/// If it does not exist; the error lists the available names.
pub fn find(name: &str) -> Result<PathBuf, NotFound> {
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
    let found =
        folders().into_iter().map(|folder| folder.join(name).join(WEIGHTS)).find(|file| plain && file.is_file());
    found.ok_or_else(|| NotFound {
        name: name.to_string(),
        places: folders().iter().map(|folder| folder.display().to_string()).collect(),
        known: names(),
    })
}

/// The names of all pretrained networks.
pub fn names() -> Vec<String> {
    let entries = folders().into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join(WEIGHTS).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The folder `pretrained` in the current folder, and in the source tree of this build.
fn folders() -> Vec<PathBuf> {
    vec![PathBuf::from("pretrained"), Path::new(env!("CARGO_MANIFEST_DIR")).join("pretrained")]
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_string() } else { names.join(", ") }
}
