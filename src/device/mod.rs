//! Devices: where tensors are stored and computed, the CPU or a CUDA device.
//!
//! | file | does |
//! |---|---|
//! | `choice.rs` | device names and what they resolve to on this machine |
//! | `driver.rs` | CUDA devices that the driver offers and libtorch can use |
//! | `libtorch.rs` | libtorch's folder, version and CUDA library |
//! | `memory.rs` | the memory that may be planned for |
//! | `threads.rs` | libtorch's number of threads |
//!
//! No part of CUDA is linked. `libtorch_cuda.so` is opened at run time, the first time a CUDA device is requested: a
//! run on the CPU starts without its 450 MB, and a program built on a machine without CUDA uses CUDA where it is
//! installed.

mod choice;
mod driver;
mod error;
mod libtorch;
mod memory;
mod threads;

pub use choice::{DeviceChoice, resolve};
pub use driver::cuda_devices;
pub use error::DeviceError;
pub use libtorch::{allow_tf32, libtorch_folder, libtorch_version};
pub(crate) use memory::check_memory;
pub use memory::{memory_limit, set_memory_limit};
pub use threads::{MAX_THREADS, set_threads};
