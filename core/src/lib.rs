//! Spiking neural networks without libtorch.
//!
//! The part of `tch-spiking` that needs no tensors library: it builds anywhere, also for `wasm32-unknown-unknown`.
//!
//! | module | holds |
//! |---|---|
//! | [`neuron`] | neuron models: parameters, rate, spiking step; the arithmetic that they are written in |
//! | [`surrogate`] | derivatives of the spike, for training |
//! | [`synapse`] | filters over time |
//! | [`spec`] | network specifications, checked: graph, shapes, parameters |
//! | [`event`] | the event engine: networks that run on the CPU, with arithmetic only where there are spikes |
//! | [`probe`] | what can be recorded in a simulation |
//! | [`mod@file`] | network files (safetensors), read without libtorch |
//! | [`neuron::kernels`] | what the formulas become over plain memory |

pub mod event;
pub mod file;
mod names;
pub mod neuron;
pub mod probe;
pub mod simd;
pub mod spec;
pub mod surrogate;
pub mod synapse;
pub mod threads;

pub use event::EventNetwork;
pub use neuron::kernels;
pub use spec::NetworkSpec;
pub use synapse::Synapse;
