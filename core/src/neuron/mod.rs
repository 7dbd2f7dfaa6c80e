//! Neuron models: a rate to train with, a spiking step to run with.
//!
//! | file | holds |
//! |---|---|
//! | `models/` | one model each: parameters, rate, step, gain and bias |
//! | `model.rs`, `real.rs` | what a model is ([`NeuronModel`], [`RateModel`]) and the arithmetic it is written in ([`Real`]) |
//! | `fire.rs` | the spike as an explicit operation ([`Fire`]) |
//! | `erased.rs` | any model behind one type ([`Neuron`]) |
//! | `formula.rs` | formulas recorded as a list of operations ([`Formula`]) |
//! | `dual.rs` | derivatives, forward mode: numbers that carry them ([`Dual`]) |
//! | `vjp.rs` | derivatives, reverse mode: the formula of a formula's gradient ([`Formula::vjp`]) |
//! | `kernels/` | what the formulas become over plain memory |
//! | `elementary.rs` | exponentials and logarithms that vectorise |
//! | `registry.rs` | the models that specifications can name |

mod dual;
mod elementary;
mod erased;
mod error;
mod fire;
mod formula;
pub mod kernels;
mod model;
mod models;
mod real;
mod registry;
mod vjp;

pub use dual::Dual;
pub use erased::{Neuron, RateNeuron};
pub use error::NeuronError;
pub use fire::{Fire, Heaviside, Recorded, Smooth};
pub use formula::{Formula, Operation, Traced, TracedMask};
pub use model::{
    Initial, Learned, NeuronModel, Rate, RateModel, Rates, StateArray, StateVariable, StepInput, WithRate, WithoutRate,
};
pub use models::{Lif, RectifiedLinear};
pub use real::Real;
pub use registry::{is_neuron, neuron_from_parameters, neuron_names, register_neuron};
