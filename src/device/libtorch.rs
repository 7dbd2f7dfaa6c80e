//! The libtorch that this process runs on: folder, version, CUDA library.

use std::path::{Path, PathBuf};

use super::DeviceError;
use crate::native;

/// Returns the folder of the libtorch libraries of this process or, if the system does not report it, of those that it
/// was built with.
pub fn libtorch_folder() -> Option<PathBuf> {
    let mapped = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let running = mapped.lines().find_map(|line| {
        let path = Path::new(&line[line.find('/')?..]);
        (path.file_name()? == "libtorch_cpu.so").then(|| path.parent().map(Path::to_path_buf))?
    });
    running.or_else(|| option_env!("TCH_SPIKING_LIBTORCH_LIB").map(PathBuf::from))
}

/// Returns the version of the libtorch in [`libtorch_folder`], such as "2.11.0+cu130"; `None` if the installation does
/// not say.
pub fn libtorch_version() -> Option<String> {
    let root = libtorch_folder()?.parent()?.to_path_buf();
    // libtorch's own archives have the first file, its Python packages the second.
    if let Ok(version) = std::fs::read_to_string(root.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    let script = std::fs::read_to_string(root.join("version.py")).ok()?;
    let value = script.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(value.trim_matches(['\'', '"']).to_owned())
}

/// Sets whether libtorch may compute `f32` products on CUDA devices in TensorFloat-32, for the whole process.
pub fn allow_tf32(allowed: bool) {
    native::allow_tf32(allowed);
}

/// Opens `libtorch_cuda.so` beside the running libtorch, for the rest of the process.
pub(super) fn load_cuda() -> Result<(), DeviceError> {
    let path = libtorch_folder().unwrap_or_default().join("libtorch_cuda.so");
    if !path.exists() {
        return Err(DeviceError::NotInstalled(path));
    }
    native::load_libtorch_cuda(&path).map_err(|reason| why_unloadable(&reason))
}

/// Distinguishes a missing library ("libcudnn.so.9: cannot open shared object file: ..") from other causes.
fn why_unloadable(reason: &str) -> DeviceError {
    match reason.split_once(": cannot open shared object file") {
        Some((library, _)) => DeviceError::MissingDependency(library.to_owned()),
        None => DeviceError::Unloadable(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_reasons_are_told_apart() {
        let missing = why_unloadable("libcudnn.so.9: cannot open shared object file: No such file or directory");
        assert_eq!(missing, DeviceError::MissingDependency("libcudnn.so.9".into()));
        assert!(missing.to_string().contains("needs libcudnn.so.9") && missing.to_string().contains("setup.sh --cuda"));
        let reason = "/a/libtorch_cuda.so: undefined symbol: x";
        assert_eq!(why_unloadable(reason), DeviceError::Unloadable(reason.into()));
    }

    #[test]
    fn libtorch_says_where_and_which_it_is() {
        assert!(libtorch_folder().unwrap().join("libtorch_cpu.so").exists());
        assert!(libtorch_version().unwrap().starts_with("2.11."), "{:?}", libtorch_version());
    }
}
