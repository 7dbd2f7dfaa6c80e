//! Networks: described, built, run.
//!
//! | file | holds |
//! |---|---|
//! | `spec.rs`, `layer_spec.rs`, `neuron_spec.rs`, `values.rs` | the network in words ([`NetworkSpec`]), as TOML has it |
//! | `builder.rs` | the same in code ([`Builder`]) |
//! | `shape.rs` | what shape each layer makes |
//! | `layer.rs`, `initializer.rs`, `streams.rs` | a layer built: parameters, their first values, randomness |
//! | `linear.rs` | the product of a linear layer |
//! | `sequential.rs`, `state.rs` | the network ([`SpikingSequential`]) and its state in inference ([`State`]) |

mod builder;
mod error;
mod initializer;
mod layer;
mod layer_spec;
mod linear;
mod neuron_spec;
mod sequential;
pub(crate) mod shape;
mod spec;
mod state;
mod streams;
mod values;

pub use builder::Builder;
pub use error::NetworkError;
pub use initializer::Initializer;
pub use layer::Layer;
pub(crate) use layer::{Parameters, gain_like};
pub use layer_spec::{Conv2d, Custom, Dropout, LayerKind, LayerSpec, Linear, Pool};
pub use linear::linear;
pub use neuron_spec::{NeuronSpec, Tuning};
pub use sequential::SpikingSequential;
pub use spec::NetworkSpec;
pub use state::State;
pub use values::{Distribution, InitialVoltage, Pair};
