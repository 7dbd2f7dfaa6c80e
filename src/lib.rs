//! Spiking neural networks on libtorch: train as smooth rates, run as real spikes.
//!
//! The method is that of Hunsberger & Eliasmith (2016): a network is trained with the differentiable firing rate of its
//! neurons, and run with the spiking neurons themselves, over timesteps, read out through a lowpass filter.
//!
//! ```
//! use tch::{Device, Kind, Tensor, nn};
//! use tch_spiking::{NetworkSpec, SpikingSequential};
//!
//! let vs = nn::VarStore::new(Device::Cpu);
//! let net = SpikingSequential::new(&vs.root(), &NetworkSpec::reference(), 0)?;
//! let images = Tensor::rand([2, 1, 28, 28], (Kind::Float, Device::Cpu)) * 255.0;
//!
//! let rates = net.forward_training(&images, 0)?; // [2, 10], differentiable
//! let spikes = net.simulate(&images, 30, &[])?; // 30 timesteps of 1 ms
//! assert_eq!(spikes.output.size(), [30, 2, 10]);
//! # Ok::<(), tch_spiking::Error>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`neuron`] | neuron models: parameters, rate, spiking step, gain and bias |
//! | [`network`] | [`SpikingSequential`], its builder, specification and state |
//! | [`engine`] | simulation over time, probes, recordings |
//! | [`autograd`], [`kernels`] | custom gradients; fused kernels for the processor and CUDA |
//! | [`train`], [`evaluate`] | training as rates, with checkpoints, on anything; accuracy as rates and as spikes |
//! | [`convert`] | analog networks to spiking ones |
//! | [`run`] | the experiment file that says all a run depends on, the run itself, and the folder that it leaves behind |
//! | [`data`] | MNIST, Fashion-MNIST, built-in digits |
//! | [`report`] | pictures |
//! | [`torchscript`] | networks as files that PyTorch runs |
//! | [`pretrained`] | networks that come trained |
//! | [`weights`] | weights files: tensors by name, and networks that describe themselves |
//!
//! | feature | brings |
//! |---|---|
//! | `cli` | the command line, `clap::ValueEnum` of what it names, and the features below |
//! | `figures` | [`report`], and the pictures of a run, of a conversion and of data |
//! | `datasets` | the download of data sets; without it they are read from where they are |
//!
//! All are on by default: a program that embeds the library sets `default-features = false`. The version of [`tch`] that
//! belongs to it is `tch_spiking::tch`.

pub mod atomic_file;
pub mod convert;
pub mod data;
pub mod device;
pub mod engine;
pub mod error;
pub mod evaluate;
mod formats;
pub mod kernels;
mod native;
pub mod network;
pub mod operation;
pub mod pretrained;
mod registry;
#[cfg(feature = "figures")]
pub mod report;
pub mod run;
pub mod train;

pub use atomic_file::write_atomically;
pub use device::{DeviceChoice, DeviceError};
pub use error::{Error, Result};
pub use formats::{torchscript, weights};
pub use native::autograd;
pub use network::{Network, NetworkSpec, SpikingSequential};
pub use run::{Experiment, experiment};
pub use tch;
pub use tch_spiking_core::{self as core, Synapse, neuron, spec, surrogate};

/// The README's Rust code runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
