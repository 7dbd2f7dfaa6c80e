//! Why a device is not available.

use std::path::PathBuf;

use super::MAX_THREADS;

/// Why a device is not available.
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
