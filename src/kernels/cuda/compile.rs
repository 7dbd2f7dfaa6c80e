//! CUDA source to machine code.

use std::ffi::{CString, c_char, c_void};

use super::libraries::{Nvrtc, nvrtc};

/// Compiles `source` for devices of this compute capability, such as (9, 0). Needs NVRTC, but no device.
pub(super) fn compile(source: &str, capability: (i32, i32)) -> Result<Vec<u8>, String> {
    let nvrtc = nvrtc()?;
    let options = [
        format!("--gpu-architecture=sm_{}{}", capability.0, capability.1),
        // Rounded as on the processor: no multiplication is fused with an addition.
        "--fmad=false".to_string(),
    ];
    let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
    let options = options.iter().map(|option| text(option)).collect::<Result<Vec<_>, _>>()?;
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let source = text(source)?;
    let program = Program::new(nvrtc, &source)?;
    // SAFETY: a live program, and as many live null-terminated options as are said.
    let code = unsafe { (nvrtc.compile)(program.handle, options.len() as i32, options.as_ptr()) };
    if code != 0 {
        let log = program.read(nvrtc.log_size, nvrtc.log).unwrap_or_default();
        return Err(format!("NVRTC error {code}: {}", String::from_utf8_lossy(&log).trim_end_matches('\0')));
    }
    program.read(nvrtc.binary_size, nvrtc.binary)
}

struct Program {
    nvrtc: &'static Nvrtc,
    handle: *mut c_void,
}

impl Program {
    fn new(nvrtc: &'static Nvrtc, source: &CString) -> Result<Self, String> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is written to; the source is null-terminated and copied; there are no headers.
        let code = unsafe {
            (nvrtc.create)(
                &raw mut handle,
                source.as_ptr(),
                c"tch_spiking.cu".as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        if code == 0 { Ok(Self { nvrtc, handle }) } else { Err(format!("NVRTC error {code}: no program")) }
    }

    /// Something of which NVRTC tells the size first.
    fn read(
        &self,
        size: unsafe extern "C" fn(*mut c_void, *mut usize) -> i32,
        get: unsafe extern "C" fn(*mut c_void, *mut c_char) -> i32,
    ) -> Result<Vec<u8>, String> {
        let mut length = 0;
        // SAFETY: a live program; `length` is written to.
        let code = unsafe { size(self.handle, &raw mut length) };
        let mut bytes = vec![0u8; length];
        if code != 0 || length == 0 {
            return Err(format!("NVRTC error {code}: no result"));
        }
        // SAFETY: a live program, and room for as many bytes as it said.
        match unsafe { get(self.handle, bytes.as_mut_ptr().cast()) } {
            0 => Ok(bytes),
            code => Err(format!("NVRTC error {code}: no result")),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program is ours, and not used any more.
        unsafe { (self.nvrtc.destroy)(&raw mut self.handle) };
    }
}
