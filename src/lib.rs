//! Spiking neural networks on libtorch: trained with differentiable firing rates, run with spikes.
//!
//! The method is that of Hunsberger & Eliasmith (2016): a network is trained with the firing rates of its neurons,
//! and run with spiking neurons over discrete timesteps; a lowpass filter decodes the output.
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
//! | [`neuron`], [`spec`], [`surrogate`] | neuron models, network specifications and surrogate derivatives, from the `core` crate |
//! | [`network`] | networks with their tensors ([`Network`]), the builder, and the state in inference |
//! | [`engine`] | forward passes, simulation over time, probes, recordings |
//! | [`operation`] | neurons and synapses as tensor operations |
//! | [`autograd`], [`kernels`] | custom gradients; fused kernels for CPU and CUDA |
//! | [`device`] | device selection, libtorch, threads |
//! | [`train`], [`evaluate`] | training with checkpoints; evaluation of accuracy and loss with rates and spikes |
//! | [`convert`] | conversion of analog networks to spiking networks |
//! | [`run`], [`experiment`] | experiment files, training runs and their run folders |
//! | [`data`] | datasets: MNIST, Fashion-MNIST, built-in digits |
//! | [`report`] | figures |
//! | [`torchscript`] | export to TorchScript, for use in PyTorch |
//! | [`pretrained`] | pretrained networks |
//! | [`weights`] | weights files of several formats; network files that include the specification |
//! | [`atomic_file`], [`error`] | atomic file writes; the error type |
//!
//! | feature | brings |
//! |---|---|
//! | `cli` | the command line, `clap::ValueEnum` for enums used as arguments, and the features below |
//! | `figures` | [`report`], and the figures of runs, conversions and datasets |
//! | `datasets` | dataset downloads; without it, datasets are read from local files only |
//!
//! All are on by default: a program that embeds the library sets `default-features = false`. The matching version of
//! [`tch`] is re-exported as `tch_spiking::tch`.

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
mod text_file;
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
