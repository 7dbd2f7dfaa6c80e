//! NVIDIA's driver and run-time compiler (NVRTC), opened at run time: nothing of CUDA is needed to build.
//!
//! (`cudarc` would do this too, but its loader panics where a library is missing, does not look beside libtorch, and its
//! safe half cannot launch on a stream of libtorch's.)

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::device;

/// Declares a table of functions of a library, and how it is loaded.
macro_rules! functions {
    ($(#[$docs:meta])* $table:ident { $($field:ident = $symbol:literal: ($($argument:ty),*);)* }) => {
        $(#[$docs])*
        pub(super) struct $table {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl $table {
            fn load(library: Library) -> Result<Self, libloading::Error> {
                // SAFETY: the types are those of cuda.h and nvrtc.h of CUDA 12 and 13, where pointers to opaque structs
                // are `*mut c_void` and enums `int`; the library is never unloaded, so the functions stay.
                let table = unsafe { Self { $($field: *library.get(concat!($symbol, "\0").as_bytes())?,)* } };
                std::mem::forget(library);
                Ok(table)
            }
        }
    };
}

functions! {
    /// The driver; every function returns 0 or an error code.
    Driver {
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
}

functions! {
    /// The run-time compiler; every function returns 0 or an error code.
    Nvrtc {
        create = "nvrtcCreateProgram": (
            *mut *mut c_void, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char
        );
        compile = "nvrtcCompileProgram": (*mut c_void, c_int, *const *const c_char);
        log_size = "nvrtcGetProgramLogSize": (*mut c_void, *mut usize);
        log = "nvrtcGetProgramLog": (*mut c_void, *mut c_char);
        binary_size = "nvrtcGetCUBINSize": (*mut c_void, *mut usize);
        binary = "nvrtcGetCUBIN": (*mut c_void, *mut c_char);
        destroy = "nvrtcDestroyProgram": (*mut *mut c_void);
    }
}

/// The driver, loaded once.
pub(super) fn driver() -> Result<&'static Driver, String> {
    static DRIVER: OnceLock<Result<Driver, String>> = OnceLock::new();
    let load = || {
        // SAFETY: the driver's library is loaded as every CUDA program loads it.
        let library = unsafe { Library::open(Some("libcuda.so.1"), RTLD_NOW | RTLD_LOCAL) };
        library.and_then(Driver::load).map_err(|error| format!("the NVIDIA driver cannot be used: {error}"))
    };
    DRIVER.get_or_init(load).as_ref().map_err(Clone::clone)
}

/// NVRTC, loaded once: the one that libtorch brings along, else the system's.
pub(super) fn nvrtc() -> Result<&'static Nvrtc, String> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    let load = || {
        let mut cause = String::new();
        for path in places() {
            // SAFETY: NVRTC has no initialisers with requirements; it is never unloaded.
            let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) };
            match library.and_then(Nvrtc::load) {
                Ok(table) => return Ok(table),
                Err(error) => cause = format!("NVRTC cannot be loaded: {error}"),
            }
        }
        Err(cause)
    };
    NVRTC.get_or_init(load).as_ref().map_err(Clone::clone)
}

/// Where NVRTC may be: in libtorch's folder, in that of the Python package beside torch, on the loader's path.
fn places() -> Vec<PathBuf> {
    const NAME: &str = "libnvrtc.so.13";
    let folder = device::libtorch_folder();
    let packages = folder.as_deref().and_then(|folder| folder.parent()?.parent());
    let beside = packages.map(|packages| packages.join("nvidia/cu13/lib").join(NAME));
    let mut places: Vec<PathBuf> = folder.iter().map(|folder| folder.join(NAME)).chain(beside).collect();
    places.retain(|path| path.exists());
    places.push(NAME.into());
    places
}
