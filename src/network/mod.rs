//! Networks with their tensors: layers built from a specification, their parameters and their state.
//!
//! | file | holds |
//! |---|---|
//! | `network.rs` | the network ([`Network`]) |
//! | `layer.rs`, `parameters.rs` | a layer, its tensors and what it computes on a batch |
//! | `neurons.rs`, `batch_norm.rs`, `standardization.rs`, `linear.rs`, `custom.rs` | the computations of individual layer types |
//! | `state.rs` | the state of a network in inference ([`State`]) |
//! | `builder.rs` | building specifications in code ([`Builder`]) |
//!
//! Specifications themselves are in the core's [`spec`](tch_spiking_core::spec), re-exported here.

mod batch_norm;
mod builder;
mod custom;
mod layer;
mod linear;
#[allow(clippy::module_inception)]
mod network;
mod neurons;
mod parameters;
mod standardization;
mod state;

pub(crate) use batch_norm::Normalization;
pub use builder::Builder;
pub use custom::{TensorLayer, custom, register_layer};
pub use layer::Layer;
pub(crate) use layer::dropout_mask;
pub use linear::linear;
pub use network::Network;
pub(crate) use neurons::Neurons;
pub(crate) use parameters::Parameters;
pub(crate) use standardization::Standardization;
pub use state::{State, Voltage};

/// The former name of [`Network`].
pub type SpikingSequential = Network;

pub use tch_spiking_core::spec::{
    BatchNorm, Conv2d, Custom, CustomLayer, Distribution, Dropout, Edge, EdgeSpec, Graph, InitialVoltage, Initializer,
    LayerKind, LayerSpec, Layers, LeakyRelu, LearnPer, Linear, NetworkError, NetworkSpec, NeuronSpec, Node, Origin,
    Pair, ParameterSpec, PerChannel, Pool, Scale, Standardize, Start, SynapseSpec, Tuning, shape, streams,
};
