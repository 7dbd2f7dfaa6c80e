//! Forward passes and simulation over time.
//!
//! | file | holds |
//! |---|---|
//! | `activity.rs` | the data that flows between layers ([`Activity`]) |
//! | `pass.rs` | the forward pass, in any mode ([`forward`]) |
//! | `place.rs` | a layer, computed in a mode of the pass |
//! | `recurrent.rs` | delayed connections, and cycles step by step |
//! | `observer.rs` | observers of a pass ([`Observer`]) |
//! | `methods.rs` | the methods of [`Network`](crate::Network): `forward_rates`, `simulate` .. |
//! | `recording.rs`, `observers.rs` | the [`Recording`] of a simulation and the observers that make it |
//! | `simulation.rs` | a whole simulation, split to fit into memory ([`Simulation`]) |
//! | `event.rs` | adapter to the core's event engine |

mod activity;
pub(crate) mod event;
mod methods;
mod observer;
mod observers;
mod pass;
mod place;
mod recording;
mod recurrent;
mod simulation;

pub use activity::Activity;
pub use observer::{Observer, Recorded, Visit};
pub(crate) use observers::FirstNonFinite;
pub use pass::{Mode, Pass, TrainingStep, forward};
pub use recording::Recording;
pub use simulation::Simulation;
pub(crate) use simulation::record;
pub use tch_spiking_core::event::{EventError, EventNetwork, EventState, Response};
pub use tch_spiking_core::probe::{Probe, Quantity};

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
