//! What libtorch knows of its CUDA devices: the stream that it queues work on, and how it multiplies.

use std::ffi::{c_int, c_void};

// SAFETY: the signatures are those of accelerator.cpp, which build.rs compiles into this very library.
unsafe extern "C" {
    safe fn tch_spiking_allow_tf32(allowed: bool);
    fn tch_spiking_current_stream(device: c_int, stream: *mut *mut c_void) -> bool;
}

/// A CUDA stream of libtorch's, for a launch by the driver. Null is the default stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream(pub(crate) *mut c_void);

/// Whether libtorch may compute products of `f32` on CUDA devices in TensorFloat-32, for the whole process.
pub(crate) fn allow_tf32(allowed: bool) {
    tch_spiking_allow_tf32(allowed);
}

/// The stream that libtorch queues this thread's work on; `None` if it has none for this device.
pub(crate) fn current_stream(device: usize) -> Option<Stream> {
    let mut stream = std::ptr::null_mut();
    // SAFETY: `stream` is written to.
    let found = unsafe { tch_spiking_current_stream(device as c_int, &raw mut stream) };
    found.then_some(Stream(stream))
}
