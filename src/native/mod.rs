//! All C++ of this library, and every function outside Rust that it calls, behind small safe functions.
//!
//! | file | wraps |
//! |---|---|
//! | `autograd` | an autograd node of libtorch that owns a Rust closure |
//! | `parallel` | libtorch's thread pool |
//! | `allocator` | the allocator of the C library |
//! | `accelerator` | libtorch's CUDA streams and settings |
//!
//! A `.cpp` file is the C++ half of the `.rs` file beside it; `build.rs` compiles them.

#![allow(unsafe_code)]

mod accelerator;
mod allocator;
pub mod autograd;
mod parallel;

pub(crate) use accelerator::{allow_tf32, current_stream};
pub use allocator::keep_freed_memory;
pub(crate) use parallel::parallel_for;
