//! Tensor operations of neurons and synapses.
//!
//! | file | holds |
//! |---|---|
//! | `rate.rs` | the rate with its custom gradient ([`rate`]) |
//! | `spike.rs` | spikes over time ([`spike`]), and with the rate's gradient ([`spike_aware`]) |
//! | `through_time.rs` | spikes over time with surrogate gradients ([`through_time`]) |
//! | `fused_gradients.rs` | their gradients by a fused kernel |
//! | `drive.rs` | the inputs of a layer of neurons ([`SpikingDrive`]) |
//! | `synapse.rs` | filters over time ([`filter`], [`filter_learned`]) |
//! | `formula.rs` | recorded formulas as tensor operations ([`evaluate`]) |
//! | `layout.rs` | the memory order of a layer's neurons |

mod drive;
mod formula;
mod fused_gradients;
mod layout;
mod rate;
mod spike;
mod synapse;
mod through_time;

pub use drive::{DriveNoise, Spikes, SpikingDrive};
pub use formula::evaluate;
pub use layout::Layout;
pub use rate::rate;
pub use spike::{spike, spike_aware};
pub use synapse::{filter, filter_learned};
pub use through_time::through_time;
