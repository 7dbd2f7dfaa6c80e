//! libtorch's CUDA library: run-time loading, streams, and matrix multiplication precision.

use std::ffi::{c_int, c_void};
use std::path::Path;

use super::library::{Visibility, open};

// SAFETY: the signatures are those of accelerator.cpp, which build.rs compiles into this very library.
unsafe extern "C" {
    safe fn tch_spiking_allow_tf32(allowed: bool);
    fn tch_spiking_current_stream(device: c_int, stream: *mut *mut c_void) -> bool;
}

/// A CUDA stream of libtorch, used for launches through the driver. Null is the default stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream(pub(crate) *mut c_void);

/// Opens libtorch's CUDA library for the rest of the process; it registers itself with the running libtorch.
///
/// # Errors
/// Returns the loader's message.
pub(crate) fn load_libtorch_cuda(path: &Path) -> Result<(), String> {
    // SAFETY: this runs the initialisers of the CUDA half of the very libtorch that this program is linked to, which
    // are made to run at load time. It is never unloaded, so nothing of it can dangle.
    unsafe { open(path, Visibility::Global) }.map(std::mem::forget)
}

/// Sets whether libtorch may compute `f32` products on CUDA devices in TensorFloat-32, for the whole process.
pub(crate) fn allow_tf32(allowed: bool) {
    tch_spiking_allow_tf32(allowed);
}

/// Returns the stream on which libtorch queues this thread's work; `None` if it has none for this device.
pub(crate) fn current_stream(device: usize) -> Option<Stream> {
    let mut stream = std::ptr::null_mut();
    // SAFETY: `stream` is written to.
    let found = unsafe { tch_spiking_current_stream(device as c_int, &raw mut stream) };
    found.then_some(Stream(stream))
}
