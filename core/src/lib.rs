//! The part of `tch-spiking` that does not need libtorch: neuron models, network specifications and the event engine.
//!
//! It has no tensor library among its dependencies and builds on any target, including `wasm32-unknown-unknown`.
//!
//! | module | holds |
//! |---|---|
//! | [`neuron`] | neuron models (parameters, firing rate, spiking step) and the arithmetic they are written in |
//! | [`surrogate`] | surrogate derivatives of the spike for training |
//! | [`synapse`] | synaptic filters over time |
//! | [`spec`] | network specifications, validated: graph, shapes, parameters |
//! | [`event`] | the event-driven engine: runs networks on the CPU and computes only where there are spikes |
//! | [`probe`] | what can be recorded in a simulation |
//! | [`mod@file`] | network files (safetensors), read without libtorch |
//! | [`neuron::kernels`] | CPU kernels of the neuron models, on slices |

pub mod event;
pub mod file;
mod names;
pub mod neuron;
pub mod probe;
pub mod simd;
pub mod spec;
pub mod synapse;
pub mod threads;

pub use event::EventNetwork;
pub use neuron::{kernels, surrogate};
pub use spec::NetworkSpec;
pub use synapse::Synapse;
