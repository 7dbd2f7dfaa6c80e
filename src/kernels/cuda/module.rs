//! Compiled kernels on a device: cache and launch.

use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Kind, TchError};

use super::compile::compile;
use super::launch::Launch;
use crate::native::{current_stream, driver};
use tch_spiking_core::neuron::Neuron;
use tch_spiking_core::surrogate::Surrogate;

/// Kernels loaded on a device. They are never unloaded: there are only as many as models, timesteps and
/// surrogates.
pub(super) struct Module {
    device: usize,
    loaded: driver::Module,
}

impl Module {
    /// Compiles and loads `source`. There are tensors on the device, so libtorch has initialised the driver.
    pub(super) fn new(source: &str, device: usize) -> Result<Self, String> {
        let driver = driver::driver().map_err(|error| format!("the NVIDIA driver cannot be used: {error}"))?;
        let context = driver.context(device)?;
        let binary = compile(source, context.capability())?;
        Ok(Self { device, loaded: context.load(&binary)? })
    }

    /// Queues a launch on libtorch's current stream of the device.
    pub(super) fn run(&self, launch: Launch) -> Result<(), TchError> {
        let Some(stream) = current_stream(self.device) else {
            return Err(TchError::Torch(format!("libtorch has no stream for cuda:{}", self.device)));
        };
        let Launch { kernel, grid, block, arguments } = launch;
        let name = CString::new(kernel)?;
        // SAFETY: the module has this kernel. Its parameters are all of 8 bytes, and there are as many as arguments
        // (`launch.rs` and `source.rs` agree, which `host_tests.rs` tests). The pointers refer to tensors whose memory
        // returns to libtorch's allocator only after this call, and is then reused only by work queued after this
        // launch.
        unsafe { self.loaded.launch(&name, grid, block, stream, arguments) }
            .map_err(|error| TchError::Torch(format!("CUDA kernel {kernel}: {error}")))
    }
}

/// Which of a model's kernels, with what is constant in their source: the timestep `dt` (s) and the surrogate.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kernels {
    Rate,
    Scan { dt: f64 },
    ScanBackward { dt: f64, surrogate: Surrogate },
}

/// The key of compiled kernels.
#[derive(Clone, PartialEq)]
pub(super) struct Key {
    pub(super) model: Neuron,
    pub(super) kernels: Kernels,
    pub(super) kind: Kind,
    pub(super) device: usize,
}

type Cached = (Key, Result<Arc<Module>, String>);

/// Returns the kernels of `key`, compiled from `source` the first time; failures are cached too.
pub(super) fn cached(key: &Key, source: impl FnOnce() -> Option<String>) -> Result<Arc<Module>, String> {
    static CACHE: Mutex<Vec<Cached>> = Mutex::new(Vec::new());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = cache.iter().find(|(other, _)| other == key);
    if let Some((_, module)) = found {
        return module.clone();
    }
    let module = match source() {
        Some(source) => Module::new(&source, key.device).map(Arc::new),
        None => Err(format!("there are no kernels for {:?}", key.kind)),
    };
    cache.push((key.clone(), module.clone()));
    module
}
