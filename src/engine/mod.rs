//! How time runs: from an input to spikes over timesteps.
//!
//! | file | holds |
//! |---|---|
//! | `probe.rs` | what can be recorded ([`Probe`]) and the result ([`Recording`]) |
//! | `dense.rs` | the engine on libtorch, any device: layer by layer, with time folded into the batch |
//! | `simulation.rs` | a whole simulation in pieces that fit into memory ([`Simulation`]) |

pub(crate) mod dense;
mod probe;
mod simulation;

pub use probe::{Probe, Quantity, Recording};
pub use simulation::Simulation;

use tch::Tensor;

/// What drives a network over time.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// `[B, input]`, the same at every timestep.
    Constant(&'a Tensor),
    /// `[T, B, input]`.
    Sequence(&'a Tensor),
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
