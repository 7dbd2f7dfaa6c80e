//! Where tensors are stored and computed: the processor, or a CUDA device.
//!
//! | file | does |
//! |---|---|
//! | `choice.rs` | a device as the user names it, and what it means on this machine |
//! | `driver.rs` | the CUDA devices that the driver offers and libtorch can use |
//! | `libtorch.rs` | where libtorch is, which version, its CUDA half |
//! | `threads.rs` | the number of threads that libtorch computes with |
//!
//! Nothing of CUDA is linked. `libtorch_cuda.so` is opened at run time, the first time a CUDA device is asked for: a run on
//! the processor starts without its 450 MB, and a program built on a machine without CUDA finds it where there is one.

mod choice;
mod driver;
mod error;
mod libtorch;
mod threads;

pub use choice::{DeviceChoice, resolve};
pub use driver::cuda_devices;
pub use error::DeviceError;
pub use libtorch::{allow_tf32, libtorch_folder, libtorch_version};
pub use threads::{MAX_THREADS, set_threads};
