//! Libraries opened at run time and never closed, so that building needs no part of CUDA.
//!
//! (`cudarc` does this too, but its loader panics if a library is missing, does not search beside libtorch, and its
//! safe API cannot launch on libtorch's streams.)

use std::path::Path;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

/// The visibility of a library's symbols.
#[derive(Clone, Copy)]
pub(super) enum Visibility {
    /// Symbols are found through this library only.
    Local,
    /// Symbols are visible to every library opened later.
    Global,
}

/// Opens a library; the error is the loader's message.
///
/// # Safety
/// The library's initialisers run and must be safe to run at any time.
pub(super) unsafe fn open(path: &Path, visibility: Visibility) -> Result<Library, String> {
    let visible = match visibility {
        Visibility::Local => RTLD_LOCAL,
        Visibility::Global => RTLD_GLOBAL,
    };
    // SAFETY: guaranteed by the caller.
    unsafe { Library::open(Some(path), RTLD_NOW | visible) }.map_err(|error| loader_text(&error))
}

/// Returns the loader's message, which libloading keeps in the source of its error.
pub(super) fn loader_text(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Declares a table of a library's functions, with a function that loads it.
macro_rules! functions {
    ($($field:ident = $symbol:literal: ($($argument:ty),*);)*) => {
        struct Functions {
            $($field: unsafe extern "C" fn($($argument),*) -> c_int,)*
        }

        impl Functions {
            fn load(library: libloading::os::unix::Library) -> Result<Self, String> {
                let find = || -> Result<Self, libloading::Error> {
                    // SAFETY: the types are those of cuda.h and nvrtc.h of CUDA 12 and 13, where pointers to opaque
                    // structs are `*mut c_void` and enums `int`; the library is never unloaded, so the functions stay.
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
