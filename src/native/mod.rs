//! All C++ of this library, and every function outside Rust that it calls, behind small safe functions.
//!
//! | file | wraps |
//! |---|---|
//! | `autograd` | an autograd node of libtorch that owns a Rust closure |
//! | `parallel` | libtorch's thread pool |
//! | `allocator` | the allocator of the C library |
//! | `accelerator` | libtorch's CUDA half: opened at run time, its streams and settings |
//! | `driver`, `nvrtc` | NVIDIA's driver and run-time compiler, opened at run time (`library`) |
//!
//! A `.cpp` file is the C++ half of the `.rs` file beside it; `build.rs` compiles them.

#![allow(unsafe_code)]

mod accelerator;
mod allocator;
pub mod autograd;
pub(crate) mod driver;
mod library;
pub(crate) mod nvrtc;
mod parallel;

pub(crate) use accelerator::{allow_tf32, current_stream, load_libtorch_cuda};
pub use allocator::keep_freed_memory;
pub(crate) use parallel::parallel_for;
