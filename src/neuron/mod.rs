//! Neuron models: a rate to train with, a spiking step to run with.
//!
//! | file | holds |
//! |---|---|
//! | `lif.rs`, `rectified_linear.rs` | one model each: parameters, rate, step, gain and bias |
//! | `model.rs`, `real.rs` | what a model is ([`NeuronModel`]) and the arithmetic it is written in ([`Real`]) |
//! | `dynamic.rs` | any model over tensors ([`Neuron`]) |
//! | `rate_operation.rs`, `spiking_operation.rs` | the two faces over tensors: fused kernels, or tensor operations |
//! | `traced.rs`, `elementary.rs` | formulas as tensor operations; exponentials and logarithms that vectorise |
//! | `registry.rs` | **the list of models that specifications can name** |

mod dynamic;
mod elementary;
mod error;
mod layout;
mod lif;
mod model;
mod rate_operation;
mod real;
mod rectified_linear;
mod registry;
mod spiking_operation;
mod traced;

pub use dynamic::{Neuron, Spikes, SpikingDrive};
pub use error::NeuronError;
pub use layout::Layout;
pub use lif::Lif;
pub use model::{NeuronModel, Rate, StateArray};
pub use real::Real;
pub use rectified_linear::RectifiedLinear;
pub use registry::{is_neuron, neuron_from_parameters, neuron_names};
pub(crate) use traced::Operation;
pub use traced::{Formula, Traced, TracedMask};
