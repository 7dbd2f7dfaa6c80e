//! Where tensors live and are computed: the processor, or a CUDA graphics card.
//!
//! Nothing of CUDA is linked. `libtorch_cuda.so` is opened at run time, the first time a CUDA device is asked for: a run on
//! the processor starts without its 450 MB, and a program built on a machine without CUDA finds it where there is one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::OnceLock;

use crate::kernels::cuda::loading;
use crate::native;

/// The most threads [`set_threads`] takes.
pub const MAX_THREADS: usize = 1024;

/// A device as the user names it: `auto`, `cpu`, `cuda` (the first card) or `cuda:N`.
///
/// ```
/// use tch_spiking::device::DeviceChoice;
///
/// assert_eq!("cuda:1".parse::<DeviceChoice>()?, DeviceChoice::Cuda(1));
/// assert_eq!(DeviceChoice::Cuda(0).to_string(), "cuda");
/// # Ok::<(), tch_spiking::device::DeviceError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first CUDA card if it can be had, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The CUDA card of this index, counted from 0.
    Cuda(usize),
}

/// Why a device cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text names no device.
    #[error("no device is called {0:?}: expected auto, cpu, cuda or cuda:N (such as cuda:1)")]
    UnknownName(String),
    /// Not a usable number of threads.
    #[error("cannot compute with {0} threads: expected 1 to {MAX_THREADS}")]
    Threads(usize),
    /// `libcuda.so.1`, which comes with the driver, cannot be loaded.
    #[error(
        "there is no NVIDIA driver ({0}). Install it (in a container: pass the card in, such as docker run --gpus all), \
         or use --device cpu"
    )]
    NoDriver(String),
    /// The driver is there but offers no card.
    #[error(
        "the NVIDIA driver offers no device (its code: {code}). See whether nvidia-smi lists one and what \
         CUDA_VISIBLE_DEVICES says, or use --device cpu"
    )]
    NoDevice {
        /// What `cuInit` or `cuDeviceGetCount` returned; 0 if they went well and counted none.
        code: i32,
    },
    /// This libtorch is one for the processor only.
    #[error("libtorch was installed without CUDA: there is no {}. Run scripts/setup.sh --cuda, or use --device cpu", .0.display())]
    NotInstalled(PathBuf),
    /// A library that `libtorch_cuda.so` needs is missing.
    #[error("libtorch's CUDA half needs {0}, which is missing. Run scripts/setup.sh --cuda, or use --device cpu")]
    MissingDependency(String),
    /// `libtorch_cuda.so` is there and cannot be loaded.
    #[error("libtorch's CUDA half cannot be loaded: {0}. Run scripts/setup.sh --cuda, or use --device cpu")]
    Unloadable(String),
    /// The driver offers cards that libtorch cannot use.
    #[error(
        "the NVIDIA driver (for CUDA {driver}) offers devices, but libtorch can use none: update the driver; in a program \
         of your own, resolve the device before anything else of libtorch is used"
    )]
    Unusable {
        /// The newest CUDA version that the driver knows, such as "12.4".
        driver: String,
    },
    /// There are CUDA cards, but none of this index.
    #[error("there is no device cuda:{index}: {count} can be used, counted from cuda:0")]
    OutOfRange {
        /// The index asked for.
        index: usize,
        /// How many cards there are.
        count: usize,
    },
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::UnknownName(text.to_owned());
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                if !index.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(unknown());
                }
                index.parse().map(Self::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(0) => f.write_str("cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = DeviceError;

    fn try_from(text: String) -> Result<Self, DeviceError> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

/// The device that `choice` means on this machine. Call it before anything else of libtorch is used: libtorch decides
/// once, at its first operation that asks, whether there is CUDA.
///
/// # Errors
/// [`DeviceError`] with the cause where a CUDA device was named and cannot be had; `auto` and `cpu` never fail.
///
/// ```
/// use tch_spiking::device::{self, DeviceChoice};
///
/// assert_eq!(device::resolve(DeviceChoice::Cpu)?, tch::Device::Cpu);
/// # Ok::<(), tch_spiking::device::DeviceError>(())
/// ```
pub fn resolve(choice: DeviceChoice) -> Result<tch::Device, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(tch::Device::Cpu),
        DeviceChoice::Auto => Ok(cuda_devices().map_or(tch::Device::Cpu, |_| tch::Device::Cuda(0))),
        DeviceChoice::Cuda(index) => match cuda_devices()? {
            count if index < count => Ok(tch::Device::Cuda(index)),
            count => Err(DeviceError::OutOfRange { index, count }),
        },
    }
}

/// How many CUDA devices libtorch can use (at least one); loads libtorch's CUDA half if need be.
///
/// # Errors
/// [`DeviceError`] with the first cause, cheapest question first: the driver, its devices, libtorch's library, what that
/// library needs. The answer is found once in a process.
pub fn cuda_devices() -> Result<usize, DeviceError> {
    static ANSWER: OnceLock<Result<usize, DeviceError>> = OnceLock::new();
    let find = || {
        let driver = loading::ask_driver()?;
        loading::load_libtorch_cuda()?;
        match usize::try_from(tch::Cuda::device_count()) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(DeviceError::Unusable { driver }),
        }
    };
    ANSWER.get_or_init(find).clone()
}

/// The folder of the libtorch libraries that this process runs on, or, where the system does not tell, of those that it
/// was built with.
pub fn libtorch_folder() -> Option<PathBuf> {
    let mapped = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let running = mapped.lines().find_map(|line| {
        let path = Path::new(&line[line.find('/')?..]);
        (path.file_name()? == "libtorch_cpu.so").then(|| path.parent().map(Path::to_path_buf))?
    });
    running.or_else(|| option_env!("TCH_SPIKING_LIBTORCH_LIB").map(PathBuf::from))
}

/// The version of the libtorch in [`libtorch_folder`], such as "2.11.0+cu130"; `None` if the installation does not say.
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

/// Lets libtorch compute one operation with `count` threads of the processor.
///
/// # Errors
/// [`DeviceError::Threads`] unless `count` is from 1 to [`MAX_THREADS`].
pub fn set_threads(count: usize) -> Result<(), DeviceError> {
    match i32::try_from(count) {
        Ok(threads) if (1..=MAX_THREADS).contains(&count) => {
            tch::set_num_threads(threads);
            Ok(())
        }
        _ => Err(DeviceError::Threads(count)),
    }
}

/// Whether libtorch may compute products of `f32` on CUDA devices in TensorFloat-32, for the whole process.
pub fn allow_tf32(allowed: bool) {
    native::allow_tf32(allowed);
}

/// Tells a missing library ("libcudnn.so.9: cannot open shared object file: ..") from other reasons.
pub(crate) fn why_unloadable(reason: &str) -> DeviceError {
    match reason.split_once(": cannot open shared object file") {
        Some((library, _)) => DeviceError::MissingDependency(library.to_owned()),
        None => DeviceError::Unloadable(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in ["auto", "cpu", "cuda", "cuda:1", "cuda:17"] {
            let choice: DeviceChoice = name.parse().unwrap();
            assert_eq!(choice.to_string(), name);
            let json = serde_json::to_string(&choice).unwrap();
            assert_eq!(json, format!("{name:?}"));
            assert_eq!(serde_json::from_str::<DeviceChoice>(&json).unwrap(), choice);
        }
        assert_eq!("cuda:0".parse(), Ok(DeviceChoice::Cuda(0)));
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cuda: 1", "cuda:99999999999999999999"]
        {
            assert_eq!(name.parse::<DeviceChoice>(), Err(DeviceError::UnknownName(name.to_owned())));
        }
        let error = serde_json::from_str::<DeviceChoice>("\"gpu\"").unwrap_err();
        assert!(error.to_string().contains("expected auto, cpu, cuda or cuda:N"), "{error}");
    }

    #[test]
    fn processor_can_always_be_had() {
        assert_eq!(resolve(DeviceChoice::Cpu), Ok(tch::Device::Cpu));
        assert!(resolve(DeviceChoice::Auto).is_ok());
    }

    #[test]
    fn cuda_is_had_or_its_absence_explained() {
        match cuda_devices() {
            Ok(count) => {
                assert_eq!(resolve(DeviceChoice::Auto), Ok(tch::Device::Cuda(0)));
                let beyond = Err(DeviceError::OutOfRange { index: count, count });
                assert_eq!(resolve(DeviceChoice::Cuda(count)), beyond);
            }
            Err(cause) => {
                assert_eq!(resolve(DeviceChoice::Auto), Ok(tch::Device::Cpu));
                assert!(cause.to_string().contains("--device cpu"), "{cause}");
                assert_eq!(resolve(DeviceChoice::Cuda(0)), Err(cause));
            }
        }
    }

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

    #[test]
    fn thread_counts_are_checked() {
        for count in [0, MAX_THREADS + 1, usize::MAX] {
            assert_eq!(set_threads(count), Err(DeviceError::Threads(count)));
        }
        // Only the count that is already set: other tests compute in this process.
        let threads = tch::get_num_threads();
        set_threads(threads as usize).unwrap();
        assert_eq!(tch::get_num_threads(), threads);
    }
}
