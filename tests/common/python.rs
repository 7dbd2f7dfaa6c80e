//! Python with PyTorch: that of `TCH_SPIKING_PYTHON`, else of `.venv` (`scripts/setup.sh --python`).

#![allow(dead_code)] // Every test binary uses a part.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The models of the tests, which Python finds.
pub fn fixtures() -> PathBuf {
    root().join("tests/fixtures/pytorch")
}

/// A Python that can import torch, or `None` after saying that the test is skipped.
pub fn python() -> Option<PathBuf> {
    let named = std::env::var_os("TCH_SPIKING_PYTHON").map(PathBuf::from);
    let python = named.clone().unwrap_or_else(|| root().join(".venv/bin/python"));
    let found = Command::new(&python).args(["-c", "import torch"]).output().is_ok_and(|output| output.status.success());
    assert!(found || named.is_none(), "TCH_SPIKING_PYTHON: {} cannot import torch", python.display());
    if !found {
        eprintln!("skipped: .venv has no PyTorch (scripts/setup.sh --python) and TCH_SPIKING_PYTHON is not set");
    }
    found.then_some(python)
}

pub fn run(python: &Path, arguments: &[&str], folder: &Path) -> Output {
    Command::new(python).args(arguments).current_dir(folder).env("PYTHONPATH", fixtures()).output().unwrap()
}

/// What it prints.
pub fn succeed(python: &Path, arguments: &[&str], folder: &Path) -> String {
    let output = run(python, arguments, folder);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The path of a file of `scripts/`.
pub fn script(name: &str) -> String {
    root().join("scripts").join(name).display().to_string()
}
