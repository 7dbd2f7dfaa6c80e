//! The driver asked and libtorch's CUDA half opened, when a CUDA device is first asked for. [`crate::device`] decides when.

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

use crate::device::{DeviceError, libtorch_folder, why_unloadable};

/// The CUDA version of the driver, if there is one that offers a device.
pub(crate) fn ask_driver() -> Result<String, DeviceError> {
    // SAFETY: the driver's library is loaded as every CUDA program loads it, and stays until the end of the process. The
    // three functions are declared as in NVIDIA's cuda.h: an integer or a pointer to one in, a result code out. `count`
    // and `version` live longer than the calls.
    let (code, count, version) = unsafe {
        let no_driver = |error: libloading::Error| DeviceError::NoDriver(loader_text(&error));
        let driver = Library::open(Some("libcuda.so.1"), RTLD_NOW | RTLD_LOCAL).map_err(no_driver)?;
        let init = *driver.get::<unsafe extern "C" fn(u32) -> i32>(b"cuInit").map_err(no_driver)?;
        let get_count = *driver.get::<unsafe extern "C" fn(*mut i32) -> i32>(b"cuDeviceGetCount").map_err(no_driver)?;
        let get_version =
            *driver.get::<unsafe extern "C" fn(*mut i32) -> i32>(b"cuDriverGetVersion").map_err(no_driver)?;
        std::mem::forget(driver);
        let (mut count, mut version) = (0, 0);
        get_version(&mut version);
        let code = match init(0) {
            0 => get_count(&mut count),
            code => code,
        };
        (code, count, version)
    };
    if code != 0 || count < 1 {
        return Err(DeviceError::NoDevice { code });
    }
    Ok(format!("{}.{}", version / 1000, version % 1000 / 10))
}

/// Opens `libtorch_cuda.so` beside the running libtorch, for good; it registers itself there.
pub(crate) fn load_libtorch_cuda() -> Result<(), DeviceError> {
    let path = libtorch_folder().unwrap_or_default().join("libtorch_cuda.so");
    if !path.exists() {
        return Err(DeviceError::NotInstalled(path));
    }
    // SAFETY: this runs the initialisers of the CUDA half of the very libtorch that this program is linked to, which are
    // made to run at load time, and `cuda_devices` calls it once. It is never unloaded, so nothing of it can dangle.
    match unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(why_unloadable(&loader_text(&error))),
    }
}

/// The loader's own words: libloading keeps them in the source of its error.
fn loader_text(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
