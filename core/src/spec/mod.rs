//! Network specifications: the content of a TOML file or a weights file, validated without building the network.
//!
//! | file | holds |
//! |---|---|
//! | `network.rs` | the whole network ([`NetworkSpec`]) |
//! | `layer.rs`, `layers.rs`, `neurons.rs`, `synapses.rs`, `standardize.rs`, `custom.rs` | a layer ([`LayerSpec`]) and the settings of each type |
//! | `table.rs` | layers as TOML tables |
//! | `graph.rs` | the connections, with all shapes and parameters ([`Graph`]) |
//! | `order.rs` | the order of computation, cycles as a whole ([`Section`]) |
//! | `recurrent.rs` | recurrent neurons as layers with a delayed edge ([`Layers`]) |
//! | `demand.rs` | the memory and the multiplications that a graph needs |
//! | `shape.rs`, `parameters.rs` | output shapes and parameters of the layers |
//! | `values.rs`, `initializer.rs`, `streams.rs` | setting types, weight initialisers, random streams |

mod custom;
mod demand;
mod error;
mod graph;
mod initializer;
mod layer;
mod layers;
mod network;
mod neurons;
mod order;
mod parameters;
mod recurrent;
pub mod shape;
mod standardize;
pub mod streams;
mod synapses;
mod table;
mod values;

pub use custom::{Custom, CustomLayer, register_layer};
pub use demand::Demand;
pub use error::NetworkError;
pub use graph::{Edge, Graph, Node, Origin};
pub use initializer::Initializer;
pub use layer::{EdgeSpec, LayerKind, LayerSpec};
pub use layers::{BatchNorm, Conv2d, Dropout, LeakyRelu, Linear, Pool, Scale};
pub use network::NetworkSpec;
pub use neurons::{LearnPer, NeuronSpec, NeuronValues, Tuning};
pub use order::Section;
pub use parameters::{ParameterSpec, Start};
pub use recurrent::Layers;
pub use standardize::{PerChannel, Standardize};
pub use synapses::SynapseSpec;
pub use values::{Distribution, InitialVoltage, Pair};
