//! How time runs: from an input to spikes over timesteps.
//!
//! | file | holds |
//! |---|---|
//! | `activity.rs` | what flows between the layers ([`Activity`]) |
//! | `probe.rs` | what can be recorded ([`Probe`]) and the result ([`Recording`]) |
//! | `dense.rs` | the engine on libtorch, any device: layer by layer, with time folded into the batch |
//! | `event/` | the engine for sparse spikes on the CPU: one image at a time, arithmetic only where there are spikes |
//! | `simulation.rs` | a whole simulation in pieces that fit into memory ([`Simulation`]) |

mod activity;
pub(crate) mod dense;
pub(crate) mod event;
mod probe;
mod simulation;

pub use activity::Activity;
pub use event::{EventError, EventNetwork, Response};
pub use probe::{Probe, Quantity, Recording};
pub use simulation::Simulation;

use tch::Tensor;

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

/// What drives a network over time.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// `[B, input]`, the same at every timestep.
    Constant(&'a Tensor),
    /// `[T, B, input]`.
    Sequence(&'a Tensor),
}

impl<'a> From<&'a Activity> for Input<'a> {
    fn from(activity: &'a Activity) -> Self {
        match activity {
            Activity::Constant(tensor) => Self::Constant(tensor),
            Activity::Varying(tensor) => Self::Sequence(tensor),
        }
    }
}

impl Input<'_> {
    /// How many images it is for.
    pub(crate) fn batch(&self) -> i64 {
        let (tensor, dimension) = match self {
            Self::Constant(tensor) => (tensor, 0),
            Self::Sequence(tensor) => (tensor, 1),
        };
        tensor.size().get(dimension).copied().unwrap_or(0)
    }
}
