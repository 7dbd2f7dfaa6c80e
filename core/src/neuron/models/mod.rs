//! The built-in models, one per file; `discrete.rs` and `base_rate.rs` hold what several of them share.

mod adaptive_lif;
mod base_rate;
mod discrete;
mod izhikevich;
mod leaky;
mod leaky_integrator;
mod leaky_rectified_linear;
mod lif;
mod poisson_spiking;
mod rectified_linear;
mod regular_spiking;
mod stochastic_spiking;
mod synaptic;

pub use adaptive_lif::AdaptiveLif;
pub use base_rate::BaseRate;
pub use discrete::{Integration, Reset, ResetTime};
pub use izhikevich::Izhikevich;
pub use leaky::Leaky;
pub use leaky_integrator::LeakyIntegrator;
pub use leaky_rectified_linear::LeakyRectifiedLinear;
pub use lif::Lif;
pub use poisson_spiking::PoissonSpiking;
pub use rectified_linear::RectifiedLinear;
pub use regular_spiking::RegularSpiking;
pub use stochastic_spiking::StochasticSpiking;
pub use synaptic::Synaptic;
