//! Compiled kernels on a device, and their launch.

use std::any::Any;
use std::ffi::{CString, c_int, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Kind, TchError};

use super::compile::compile;
use super::launch::Launch;
use super::libraries::{Driver, driver};
use crate::native::current_stream;
use crate::neuron::NeuronModel;

/// The attributes of a device that say its compute capability.
const CAPABILITY: [c_int; 2] = [75, 76];

/// Kernels loaded on a device. Never unloaded: there are as many as there are models and timesteps.
pub(super) struct Module {
    driver: &'static Driver,
    device: usize,
    context: *mut c_void,
    module: *mut c_void,
}

// SAFETY: the two handles are the driver's own, which may be used from any thread.
unsafe impl Send for Module {}
// SAFETY: as above; nothing here changes after the module was made.
unsafe impl Sync for Module {}

impl Module {
    /// Compiles and loads `source`.
    pub(super) fn new(source: &str, device: usize) -> Result<Self, String> {
        let driver = driver()?;
        let (mut handle, mut capability) = (0, [0; 2]);
        let mut context = std::ptr::null_mut();
        // SAFETY: the places written to are live. libtorch has initialised the driver: there are tensors on this device.
        // The context is the device's primary one, which libtorch uses too; it is kept for the rest of the process.
        unsafe {
            ok("cuDeviceGet", (driver.device)(&raw mut handle, device as c_int))?;
            for (value, attribute) in capability.iter_mut().zip(CAPABILITY) {
                ok("cuDeviceGetAttribute", (driver.attribute)(value, attribute, handle))?;
            }
            ok("cuDevicePrimaryCtxRetain", (driver.retain_primary_context)(&raw mut context, handle))?;
        }
        let binary = compile(source, (capability[0], capability[1]))?;
        let mut module = std::ptr::null_mut();
        within(driver, context, || {
            // SAFETY: `binary` is a whole CUBIN image; the driver copies it.
            ok("cuModuleLoadData", unsafe { (driver.load_module)(&raw mut module, binary.as_ptr().cast()) })
        })?;
        Ok(Self { driver, device, context, module })
    }

    /// Queues a launch on libtorch's current stream of the device.
    pub(super) fn run(&self, launch: Launch) -> Result<(), TchError> {
        let Some(stream) = current_stream(self.device) else {
            return Err(TchError::Torch(format!("libtorch has no stream for cuda:{}", self.device)));
        };
        let name = CString::new(launch.kernel)?;
        let mut arguments = launch.arguments;
        let mut places: Vec<*mut c_void> = arguments.iter_mut().map(|argument| (&raw mut *argument).cast()).collect();
        let mut function = std::ptr::null_mut();
        within(self.driver, self.context, || {
            // SAFETY: the module lives for ever and has this kernel. Its parameters are all of 8 bytes, and there are as
            // many as arguments (`launch.rs` and `source.rs` agree, which `host_tests.rs` tests); they are copied during
            // the call. The pointers among them are of tensors whose memory goes back to libtorch's allocator at the
            // earliest after this call, and is then given out again only to work queued behind this launch.
            unsafe {
                ok("cuModuleGetFunction", (self.driver.function)(&raw mut function, self.module, name.as_ptr()))?;
                let [x, y] = launch.grid;
                let places = places.as_mut_ptr();
                let none = std::ptr::null_mut();
                ok(
                    "cuLaunchKernel",
                    (self.driver.launch)(function, x, y, 1, launch.block, 1, 1, 0, stream.0, places, none),
                )
            }
        })
        .map_err(|error| TchError::Torch(format!("CUDA kernel {}: {error}", launch.kernel)))
    }
}

/// Runs `work` with `context` as the one of this thread, and puts back the one before.
fn within(driver: &Driver, context: *mut c_void, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    // SAFETY: the context is retained for the rest of the process.
    ok("cuCtxPushCurrent", unsafe { (driver.push_context)(context) })?;
    let result = work();
    let mut popped = std::ptr::null_mut();
    // SAFETY: takes off what was pushed above.
    ok("cuCtxPopCurrent", unsafe { (driver.pop_context)(&raw mut popped) }).and(result)
}

fn ok(function: &str, code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{function} returned {code}")) }
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
