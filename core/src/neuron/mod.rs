//! Neuron models: a firing rate for training and a spiking step for inference.
//!
//! | file | holds |
//! |---|---|
//! | `models/` | one model per file: parameters, rate, step, gain and bias |
//! | `model.rs`, `real.rs` | the traits of a model ([`NeuronModel`], [`RateModel`]) and its arithmetic ([`Real`]) |
//! | `learned.rs` | parameters that training can change ([`Learned`]) |
//! | `fire.rs` | the spike as an explicit operation ([`Fire`]) |
//! | `erased.rs` | type-erased models ([`Neuron`]) |
//! | `formula.rs` | formulas recorded as a list of operations ([`Formula`]) |
//! | `dual.rs` | derivatives in forward mode: numbers with their partial derivatives ([`Dual`]) |
//! | `vjp.rs` | derivatives in reverse mode: the formula of a formula's gradient ([`Formula::vjp`]) |
//! | `kernels/` | the CPU kernels of the models |
//! | `surrogate.rs` | derivatives of the spike |
//! | `elementary.rs` | exponentials and logarithms that vectorise |
//! | `registry.rs` | the models available to specifications |

mod dual;
mod elementary;
mod erased;
mod error;
mod fire;
mod formula;
pub mod kernels;
mod learned;
mod model;
mod models;
mod real;
mod registry;
pub mod surrogate;
mod vjp;

pub use dual::Dual;
pub use erased::{Neuron, RateNeuron};
pub use error::NeuronError;
pub use fire::{Fire, Heaviside, Recorded, Smooth};
pub use formula::{Formula, Operation, Traced, TracedMask};
pub use learned::{Learned, Trained};
pub use model::{
    Initial, NeuronModel, Output, Rate, RateModel, Rates, StateArray, StateVariable, StepInput, WithRate, WithoutRate,
};
pub use models::{
    AdaptiveLif, BaseRate, Integration, Izhikevich, Leaky, LeakyIntegrator, LeakyRectifiedLinear, Lif, PoissonSpiking,
    RectifiedLinear, RegularSpiking, Reset, ResetTime, StochasticSpiking, Synaptic,
};
pub use real::Real;
pub use registry::{is_neuron, neuron_from_parameters, neuron_names, register_neuron};
