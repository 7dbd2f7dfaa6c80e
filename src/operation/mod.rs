//! Neurons and synapses over tensors.
//!
//! | file | holds |
//! |---|---|
//! | `rate.rs` | the rate with its custom gradient ([`rate`]) |
//! | `spike.rs` | spikes over time ([`spike`]), and with the rate's gradient ([`spike_aware`]) |
//! | `drive.rs` | what drives a layer of neurons ([`SpikingDrive`]) |
//! | `synapse.rs` | filters over time ([`filter`]) |
//! | `formula.rs` | recorded formulas as tensor operations ([`evaluate`]) |
//! | `layout.rs` | how a layer's neurons lie in memory |

mod drive;
mod formula;
mod layout;
mod rate;
mod spike;
mod synapse;

pub use drive::{DriveNoise, Spikes, SpikingDrive};
pub use formula::evaluate;
pub use layout::Layout;
pub use rate::rate;
pub use spike::{spike, spike_aware};
pub use synapse::filter;
