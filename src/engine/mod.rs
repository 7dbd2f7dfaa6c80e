//! How activity goes through a network, and how time runs.
//!
//! | file | holds |
//! |---|---|
//! | `activity.rs` | what flows between layers ([`Activity`]) |
//! | `pass.rs` | the one propagation, in any mode ([`forward`]) |
//! | `observer.rs` | what looks at a pass ([`Observer`]) |
//! | `methods.rs` | what a [`Network`](crate::Network) does by name: `forward_rates`, `simulate` .. |
//! | `recording.rs`, `observers.rs` | the [`Recording`] of a simulation, and what makes it |
//! | `simulation.rs` | a whole simulation in pieces that fit into memory ([`Simulation`]) |
//! | `event.rs` | networks and recordings of the core's event engine |

mod activity;
pub(crate) mod event;
mod methods;
mod observer;
mod observers;
mod pass;
mod recording;
mod simulation;

pub use activity::Activity;
pub use observer::{Observer, Recorded, Visit};
pub use pass::{Mode, Pass, TrainingStep, forward};
pub use recording::Recording;
pub use simulation::Simulation;
pub(crate) use simulation::record;
pub use tch_spiking_core::event::{EventError, EventNetwork, EventState, Response};
pub use tch_spiking_core::probe::{Probe, Quantity};

/// What computes a simulation. All give the same spikes, up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The event engine where it can run the network and little enough is active in the first images; else the dense one.
    #[default]
    Auto,
    /// libtorch, any device: every layer computes all timesteps at once.
    Dense,
    /// The CPU, one image at a time, arithmetic only where there are spikes.
    Event,
}
