//! Networks: described, built, run.
//!
//! | file | holds |
//! |---|---|
//! | `spec.rs`, `layer_spec.rs`, `neuron_spec.rs`, `values.rs` | the network in words ([`NetworkSpec`]) |
//! | `layer_table.rs` | the same as TOML has it |
//! | `builder.rs` | the same in code ([`Builder`]) |
//! | `shape.rs` | what shape each layer makes |
//! | `layer.rs`, `initializer.rs`, `streams.rs` | a layer built: parameters, their first values, randomness |
//! | `neurons.rs`, `batch_norm.rs`, `activation.rs` | layers with formulas of their own |
//! | `sequential.rs`, `state.rs` | the network ([`SpikingSequential`]) and its state in inference ([`State`]) |

mod activation;
mod batch_norm;
mod builder;
mod error;
mod initializer;
mod layer;
mod layer_spec;
mod layer_table;
mod neuron_spec;
mod neurons;
mod sequential;
pub(crate) mod shape;
mod spec;
mod state;
mod streams;
mod values;

pub use activation::LeakyRelu;
pub use batch_norm::BatchNorm;
pub(crate) use batch_norm::Normalization;
pub use builder::Builder;
pub use error::NetworkError;
pub use initializer::Initializer;
pub use layer::Layer;
pub(crate) use layer::Parameters;
pub use layer_spec::{Conv2d, Custom, Dropout, LayerKind, LayerSpec, Linear, Pool};
pub use neuron_spec::{NeuronSpec, Tuning};
pub(crate) use neurons::Neurons;
pub use sequential::SpikingSequential;
pub use spec::NetworkSpec;
pub use state::State;
pub use values::{Distribution, InitialVoltage, Pair};
