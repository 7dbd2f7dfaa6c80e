//! Compiled kernels on a device, cached, and their launch.

use std::any::Any;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Kind, TchError};

use super::compile::compile;
use super::launch::Launch;
use crate::native::{current_stream, driver};
use crate::neuron::NeuronModel;

/// Kernels loaded on a device. Never unloaded: there are as many as there are models and timesteps.
pub(super) struct Module {
    device: usize,
    loaded: driver::Module,
}

impl Module {
    /// Compiles and loads `source`. There are tensors on the device: libtorch has initialised the driver.
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
        // (`launch.rs` and `source.rs` agree, which `host_tests.rs` tests). The pointers among them are of tensors whose
        // memory goes back to libtorch's allocator at the earliest after this call, and is then given out again only to
        // work queued behind this launch.
        unsafe { self.loaded.launch(&name, grid, block, stream, arguments) }
            .map_err(|error| TchError::Torch(format!("CUDA kernel {kernel}: {error}")))
    }
}

/// What kernels are compiled for; `dt` (s) for those of spikes.
#[derive(Clone, PartialEq)]
pub(super) struct Key<M> {
    pub(super) model: M,
    pub(super) dt: Option<f64>,
    pub(super) kind: Kind,
    pub(super) device: usize,
}

type Cached = (Box<dyn Any + Send>, Result<Arc<Module>, String>);

/// The kernels of `key`, compiled from `source` the first time; that they cannot be is remembered too.
pub(super) fn cached<M: NeuronModel>(
    key: &Key<M>,
    source: impl FnOnce() -> Option<String>,
) -> Result<Arc<Module>, String> {
    static CACHE: Mutex<Vec<Cached>> = Mutex::new(Vec::new());
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    let found = cache.iter().find(|(other, _)| other.downcast_ref::<Key<M>>() == Some(key));
    if let Some((_, module)) = found {
        return module.clone();
    }
    let module = match source() {
        Some(source) => Module::new(&source, key.device).map(Arc::new),
        None => Err(format!("there are no kernels for {:?}", key.kind)),
    };
    cache.push((Box::new(key.clone()), module.clone()));
    module
}
