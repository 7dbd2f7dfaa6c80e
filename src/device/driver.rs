//! CUDA devices that NVIDIA's driver offers and libtorch can use.

use std::sync::OnceLock;

use super::{DeviceError, libtorch};
use crate::native::driver::driver;

/// Returns the number of CUDA devices that libtorch can use (at least one); loads libtorch's CUDA library if necessary.
///
/// # Errors
/// Returns a [`DeviceError`] with the first cause found: the driver, its devices, libtorch's CUDA library, or the
/// library's dependencies. The result is determined once per process.
pub fn cuda_devices() -> Result<usize, DeviceError> {
    static ANSWER: OnceLock<Result<usize, DeviceError>> = OnceLock::new();
    let find = || {
        let driver = ask_driver()?;
        libtorch::load_cuda()?;
        match usize::try_from(tch::Cuda::device_count()) {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(DeviceError::Unusable { driver }),
        }
    };
    ANSWER.get_or_init(find).clone()
}

/// Returns the CUDA version of the driver, if there is one that offers a device.
fn ask_driver() -> Result<String, DeviceError> {
    let driver = driver().map_err(DeviceError::NoDriver)?;
    let version = driver.version();
    match driver.device_count() {
        Ok(0) => Err(DeviceError::NoDevice { code: 0 }),
        Ok(_) => Ok(version),
        Err(code) => Err(DeviceError::NoDevice { code }),
    }
}
