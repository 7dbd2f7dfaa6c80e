//! Libraries that are opened at run time, for good: nothing of CUDA is needed to build.
//!
//! (`cudarc` would do this too, but its loader panics where a library is missing, does not look beside libtorch, and its
//! safe half cannot launch on a stream of libtorch's.)

use std::path::Path;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

/// Who sees the symbols of an opened library.
#[derive(Clone, Copy)]
pub(super) enum Visibility {
    /// Whoever asks this library.
    Local,
    /// Every library that is opened later.
    Global,
}

/// Opens a library; the error is the loader's own text.
///
/// # Safety
/// The library's initialisers run, and must be fit to run at any time.
pub(super) unsafe fn open(path: &Path, visibility: Visibility) -> Result<Library, String> {
    let visible = match visibility {
        Visibility::Local => RTLD_LOCAL,
        Visibility::Global => RTLD_GLOBAL,
    };
    // SAFETY: the caller's promise.
    unsafe { Library::open(Some(path), RTLD_NOW | visible) }.map_err(|error| loader_text(&error))
}

/// The loader's own text: libloading keeps it in the source of its error.
pub(super) fn loader_text(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Declares a table of functions of a library, and how it is loaded.
macro_rules! functions {
    ($($field:ident = $symbol:literal: ($($argument:ty),*);)*) => {
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            fn load(library: libloading::os::unix::Library) -> Result<Self, String> {
                let find = || -> Result<Self, libloading::Error> {
                    // SAFETY: the types are those of cuda.h and nvrtc.h of CUDA 12 and 13, where pointers to opaque structs
                    // are `*mut c_void` and enums `int`; the library is never unloaded, so the functions stay.
                    Ok(unsafe { Self { $($field: *library.get(concat!($symbol, "\0").as_bytes())?,)* } })
                };
                let table = find().map_err(|error| $crate::native::library::loader_text(&error))?;
                std::mem::forget(library);
                Ok(table)
            }
        }
    };
}
pub(super) use functions;
