//! Errors of device selection.

use std::path::PathBuf;

use super::MAX_THREADS;

/// The reason why a device is not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The string is not a device name.
    #[error("unknown device {0:?}: expected auto, cpu, cuda or cuda:N (such as cuda:1)")]
    UnknownName(String),
    /// The number of threads is out of range.
    #[error("cannot compute with {0} threads: expected 1 to {MAX_THREADS}")]
    Threads(usize),
    /// Something would need more memory than may be planned for.
    #[error(
        "{what} needs about {sum} of memory ({parts}), more than the limit of {limit}: choose smaller layers, fewer \
         timesteps or smaller batches, or raise the limit (--memory MIB)"
    )]
    Memory {
        /// The operation: "the network" ..
        what: String,
        /// The memory that it needs.
        sum: String,
        /// What needs it, with the memory of each.
        parts: String,
        /// The limit.
        limit: String,
    },
    /// `libcuda.so.1`, which comes with the driver, cannot be loaded.
    #[error(
        "there is no NVIDIA driver ({0}). Install it (in a container: pass the card in, such as docker run --gpus all), \
         or use --device cpu"
    )]
    NoDriver(String),
    /// The driver is installed but offers no device.
    #[error(
        "the NVIDIA driver offers no device (its code: {code}). See whether nvidia-smi lists one and what \
         CUDA_VISIBLE_DEVICES says, or use --device cpu"
    )]
    NoDevice {
        /// Return value of `cuInit` or `cuDeviceGetCount`; 0 if they succeeded and counted no device.
        code: i32,
    },
    /// The installed libtorch is CPU-only.
    #[error("libtorch was installed without CUDA: there is no {}. Run scripts/setup.sh --cuda, or use --device cpu", .0.display())]
    NotInstalled(PathBuf),
    /// A library that `libtorch_cuda.so` needs is missing.
    #[error("libtorch's CUDA half needs {0}, which is missing. Run scripts/setup.sh --cuda, or use --device cpu")]
    MissingDependency(String),
    /// `libtorch_cuda.so` is installed but cannot be loaded.
    #[error("libtorch's CUDA half cannot be loaded: {0}. Run scripts/setup.sh --cuda, or use --device cpu")]
    Unloadable(String),
    /// The driver offers devices that libtorch cannot use.
    #[error(
        "the NVIDIA driver (for CUDA {driver}) offers devices, but libtorch can use none: update the driver; in a program \
         of your own, resolve the device before anything else of libtorch is used"
    )]
    Unusable {
        /// The newest CUDA version that the driver supports, such as "12.4".
        driver: String,
    },
    /// There are CUDA devices, but none with this index.
    #[error("there is no device cuda:{index}: {count} can be used, counted from cuda:0")]
    OutOfRange {
        /// The requested index.
        index: usize,
        /// The number of devices.
        count: usize,
    },
}
