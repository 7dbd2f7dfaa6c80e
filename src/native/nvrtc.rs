//! NVIDIA's run-time compiler (NVRTC), opened at run time: compiles CUDA source to machine code.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::library::{Visibility, functions, open};

functions! {
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

/// The compiler; every function in its table returns 0 or an error code.
pub(crate) struct Nvrtc {
    functions: Functions,
}

/// Machine code for a device: a complete CUBIN, as produced by NVRTC.
#[derive(Debug)]
pub(crate) struct Binary(Vec<u8>);

impl Binary {
    /// Returns the CUBIN.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Returns NVRTC, opened once per process: the one beside the libtorch in this folder, otherwise the system's.
///
/// # Errors
/// Returns the loader's message if there is none.
pub(crate) fn nvrtc(libtorch: Option<&Path>) -> Result<&'static Nvrtc, String> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    let load = || {
        let mut cause = String::new();
        for path in places(libtorch) {
            // SAFETY: NVRTC has no initialisers with requirements; it is never unloaded.
            match unsafe { open(&path, Visibility::Local) }.and_then(Functions::load) {
                Ok(functions) => return Ok(Nvrtc { functions }),
                Err(error) => cause = format!("NVRTC cannot be loaded: {error}"),
            }
        }
        Err(cause)
    };
    NVRTC.get_or_init(load).as_ref().map_err(Clone::clone)
}

/// Lists possible locations of NVRTC: libtorch's folder, the Python package beside torch, the loader's path.
fn places(libtorch: Option<&Path>) -> Vec<PathBuf> {
    const NAME: &str = "libnvrtc.so.13";
    let packages = libtorch.and_then(|folder| folder.parent()?.parent());
    let beside = packages.map(|packages| packages.join("nvidia/cu13/lib").join(NAME));
    let mut places: Vec<PathBuf> = libtorch.iter().map(|folder| folder.join(NAME)).chain(beside).collect();
    places.retain(|path| path.exists());
    places.push(NAME.into());
    places
}

impl Nvrtc {
    /// Compiles `source` with these command line options. No device is needed.
    ///
    /// # Errors
    /// Returns the compiler's log.
    pub(crate) fn compile(&'static self, source: &str, options: &[&str]) -> Result<Binary, String> {
        let text = |text: &str| CString::new(text).map_err(|error| error.to_string());
        let options = options.iter().map(|option| text(option)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let source = text(source)?;
        let program = Program::new(&self.functions, &source)?;
        // SAFETY: a live program, and as many live null-terminated options as are said.
        let code = unsafe { (self.functions.compile)(program.handle, options.len() as i32, options.as_ptr()) };
        if code != 0 {
            let log = program.read(self.functions.log_size, self.functions.log).unwrap_or_default();
            return Err(format!("NVRTC error {code}: {}", String::from_utf8_lossy(&log).trim_end_matches('\0')));
        }
        program.read(self.functions.binary_size, self.functions.binary).map(Binary)
    }
}

struct Program {
    functions: &'static Functions,
    handle: *mut c_void,
}

impl Program {
    fn new(functions: &'static Functions, source: &CString) -> Result<Self, String> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: `handle` is written to; the source is null-terminated and copied; there are no headers.
        let code = unsafe {
            (functions.create)(
                &raw mut handle,
                source.as_ptr(),
                c"tch_spiking.cu".as_ptr(),
                0,
                std::ptr::null(),
                std::ptr::null(),
            )
        };
        if code == 0 { Ok(Self { functions, handle }) } else { Err(format!("NVRTC error {code}: no program")) }
    }

    /// Reads a result whose size NVRTC reports first.
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
        unsafe { (self.functions.destroy)(&raw mut self.handle) };
    }
}
