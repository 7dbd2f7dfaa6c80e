//! Forward passes and simulation over time.
//!
//! | file | holds |
//! |---|---|
//! | `activity.rs` | the data that flows between layers ([`Activity`]) |
//! | `pass.rs` | the forward pass, in any mode ([`forward`]) |
//! | `methods.rs` | the methods of [`Network`](crate::Network): `forward_rates`, `simulate` .. |
//! | `probe.rs`, `observers.rs` | probes ([`Probe`]) and the observers that record them |
//! | `simulation.rs` | a whole simulation, split to fit into memory ([`Simulation`]) |
//! | `event.rs` | adapter to the core's event engine |

mod activity;
pub(crate) mod event;
mod methods;
mod observers;
mod pass;
mod probe;
mod simulation;

pub use activity::Activity;
pub use pass::{Mode, Observer, Pass, Recorded, TrainingStep, Visit, forward};
pub use probe::{Probe, Quantity, Recording};
pub use simulation::Simulation;
pub(crate) use simulation::record;
pub use tch_spiking_core::event::{EventError, EventNetwork, Response};

/// The engine that runs a simulation. All give the same spikes, up to rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The event engine if it supports the network and the activity of the first samples is sparse enough; otherwise
    /// the dense one.
    #[default]
    Auto,
    /// libtorch, on any device: every layer computes all timesteps at once.
    Dense,
    /// The CPU, one sample at a time, computing only where there are spikes.
    Event,
}
