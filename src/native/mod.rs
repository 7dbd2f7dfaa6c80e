//! All C++ and all foreign functions of this library, behind small safe functions.
//!
//! | file | wraps |
//! |---|---|
//! | `autograd` | a libtorch autograd node that owns a Rust closure |
//! | `parallel` | libtorch's thread pool |
//! | `allocator` | the C library's allocator |
//! | `signals` | which signals the process ignores |
//! | `accelerator` | libtorch's CUDA library: run-time loading, streams and settings |
//! | `driver`, `nvrtc` | NVIDIA's driver and run-time compiler, opened at run time (`library`) |
//!
//! A `.cpp` file is the C++ part of the `.rs` file beside it; `build.rs` compiles them.

#![allow(unsafe_code)]

mod accelerator;
mod allocator;
pub mod autograd;
pub(crate) mod driver;
mod library;
pub(crate) mod nvrtc;
mod parallel;
mod signals;

pub(crate) use accelerator::{allow_tf32, current_stream, load_libtorch_cuda};
pub use allocator::keep_freed_memory;
pub(crate) use parallel::parallel_for;
pub use signals::IgnoredSignals;
