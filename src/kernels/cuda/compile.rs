//! Compiles CUDA source to machine code.

use crate::device::libtorch_folder;
use crate::native::nvrtc::{Binary, Nvrtc, nvrtc};

/// Returns NVRTC: the one beside libtorch, otherwise the system's.
pub(super) fn compiler() -> Result<&'static Nvrtc, String> {
    nvrtc(libtorch_folder().as_deref())
}

/// Compiles `source` for devices of this compute capability, such as (9, 0). Needs NVRTC, but no device.
pub(super) fn compile(source: &str, capability: (i32, i32)) -> Result<Binary, String> {
    let architecture = format!("--gpu-architecture=sm_{}{}", capability.0, capability.1);
    // Rounded as on the CPU: multiplications and additions are not fused.
    compiler()?.compile(source, &[&architecture, "--fmad=false"])
}
