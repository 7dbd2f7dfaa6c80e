//! NVIDIA's driver, opened at run time: devices, contexts and kernel launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::sync::OnceLock;

use super::accelerator::Stream;
use super::library::{Visibility, functions, open};
use super::nvrtc::Binary;

/// The device attributes that hold the compute capability.
const CAPABILITY: [c_int; 2] = [75, 76];

functions! {
    init = "cuInit": (c_uint);
    count = "cuDeviceGetCount": (*mut c_int);
    version = "cuDriverGetVersion": (*mut c_int);
    device = "cuDeviceGet": (*mut c_int, c_int);
    attribute = "cuDeviceGetAttribute": (*mut c_int, c_int, c_int);
    retain_primary_context = "cuDevicePrimaryCtxRetain": (*mut *mut c_void, c_int);
    push_context = "cuCtxPushCurrent_v2": (*mut c_void);
    pop_context = "cuCtxPopCurrent_v2": (*mut *mut c_void);
    load_module = "cuModuleLoadData": (*mut *mut c_void, *const c_void);
    function = "cuModuleGetFunction": (*mut *mut c_void, *mut c_void, *const c_char);
    launch = "cuLaunchKernel": (
        *mut c_void, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, *mut c_void, *mut *mut c_void,
        *mut *mut c_void
    );
}

/// The driver; every function in its table returns 0 or an error code.
pub(crate) struct Driver {
    functions: Functions,
}

/// Returns the driver, opened once per process.
///
/// # Errors
/// Returns the loader's message if there is no driver.
pub(crate) fn driver() -> Result<&'static Driver, String> {
    static DRIVER: OnceLock<Result<Driver, String>> = OnceLock::new();
    let load = || {
        // SAFETY: the driver's library is opened as every CUDA program opens it.
        let library = unsafe { open(Path::new("libcuda.so.1"), Visibility::Local) }?;
        Ok(Driver { functions: Functions::load(library)? })
    };
    DRIVER.get_or_init(load).as_ref().map_err(Clone::clone)
}

impl Driver {
    /// Returns the newest CUDA version that the driver supports, such as "12.4".
    pub(crate) fn version(&self) -> String {
        let mut version = 0;
        // SAFETY: `version` is written to; this may be asked before the driver is initialised.
        unsafe { (self.functions.version)(&raw mut version) };
        format!("{}.{}", version / 1000, version % 1000 / 10)
    }

    /// Initialises the driver and returns its number of devices.
    ///
    /// # Errors
    /// Returns the driver's error code.
    pub(crate) fn device_count(&self) -> Result<usize, i32> {
        let mut count = 0;
        // SAFETY: initialising twice is allowed; `count` is written to.
        let code = unsafe {
            match (self.functions.init)(0) {
                0 => (self.functions.count)(&raw mut count),
                code => code,
            }
        };
        if code == 0 { Ok(usize::try_from(count).unwrap_or(0)) } else { Err(code) }
    }

    /// Returns the primary context of a device, which libtorch uses too, retained for the rest of the process.
    ///
    /// # Errors
    /// Returns the failing function and its error code.
    pub(crate) fn context(&'static self, device: usize) -> Result<Context, String> {
        let (mut handle, mut capability) = (0, [0; 2]);
        let mut context = std::ptr::null_mut();
        // SAFETY: the places written to are live.
        unsafe {
            ok("cuDeviceGet", (self.functions.device)(&raw mut handle, device as c_int))?;
            for (value, attribute) in capability.iter_mut().zip(CAPABILITY) {
                ok("cuDeviceGetAttribute", (self.functions.attribute)(value, attribute, handle))?;
            }
            ok("cuDevicePrimaryCtxRetain", (self.functions.retain_primary_context)(&raw mut context, handle))?;
        }
        Ok(Context { functions: &self.functions, handle: context, capability: (capability[0], capability[1]) })
    }
}

/// A context of a device, retained for the rest of the process.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    functions: &'static Functions,
    handle: *mut c_void,
    capability: (i32, i32),
}

impl Context {
    /// Returns the compute capability of the device, such as (9, 0).
    pub(crate) fn capability(&self) -> (i32, i32) {
        self.capability
    }

    /// Loads kernels for the rest of the process.
    ///
    /// # Errors
    /// Returns the failing function and its error code.
    pub(crate) fn load(self, binary: &Binary) -> Result<Module, String> {
        let mut module = std::ptr::null_mut();
        self.within(|| {
            // SAFETY: `binary` is a whole CUBIN image, as NVRTC made it; the driver copies it.
            ok("cuModuleLoadData", unsafe {
                (self.functions.load_module)(&raw mut module, binary.bytes().as_ptr().cast())
            })
        })?;
        Ok(Module { context: self, handle: module })
    }

    /// Runs `work` with this context current on this thread, and restores the previous one.
    fn within(self, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        // SAFETY: the context is retained for the rest of the process.
        ok("cuCtxPushCurrent", unsafe { (self.functions.push_context)(self.handle) })?;
        let result = work();
        let mut popped = std::ptr::null_mut();
        // SAFETY: pops the context pushed above.
        ok("cuCtxPopCurrent", unsafe { (self.functions.pop_context)(&raw mut popped) }).and(result)
    }
}

/// Kernels loaded on a device, never unloaded.
pub(crate) struct Module {
    context: Context,
    handle: *mut c_void,
}

// SAFETY: both handles belong to the driver and may be used from any thread.
unsafe impl Send for Module {}
// SAFETY: as above; nothing here changes after loading.
unsafe impl Sync for Module {}

impl Module {
    /// Queues a launch of `kernel` on `stream`, in a grid of blocks of `block` threads. The arguments are copied during
    /// the call.
    ///
    /// # Safety
    /// The kernel must have as many parameters as there are arguments, each of 8 bytes; what they point to must stay
    /// valid until the launch has run.
    ///
    /// # Errors
    /// Returns the failing function and its error code.
    pub(crate) unsafe fn launch(
        &self,
        kernel: &CStr,
        [x, y]: [u32; 2],
        block: u32,
        stream: Stream,
        mut arguments: Vec<u64>,
    ) -> Result<(), String> {
        let mut places: Vec<*mut c_void> = arguments.iter_mut().map(|argument| (&raw mut *argument).cast()).collect();
        let (mut function, none) = (std::ptr::null_mut(), std::ptr::null_mut());
        let Context { functions, .. } = self.context;
        self.context.within(|| {
            // SAFETY: the module is never unloaded; the caller guarantees the arguments.
            unsafe {
                ok("cuModuleGetFunction", (functions.function)(&raw mut function, self.handle, kernel.as_ptr()))?;
                let places = places.as_mut_ptr();
                ok("cuLaunchKernel", (functions.launch)(function, x, y, 1, block, 1, 1, 0, stream.0, places, none))
            }
        })
    }
}

fn ok(function: &str, code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{function} returned {code}")) }
}
