//! Why a network or a simulation is not for the event engine.

use crate::file::FileError;
use crate::spec::NetworkError;

/// The event engine cannot do this; the dense engine can.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A layer that is a tensor operation of the user's own, or one of analog networks.
    #[error("the event engine cannot run layer {layer} ({kind}), a tensor operation: use the dense engine")]
    Layer {
        /// The layer's name.
        layer: String,
        /// Its type.
        kind: String,
    },
    /// The network is not on the CPU.
    #[error("the event engine runs on the CPU, this network is on {0}: use the dense engine there")]
    Device(String),
    /// Windows of which there are too many.
    #[error("layer {layer}: its windows have {taps} elements in all, expected at most {most}: choose smaller sizes")]
    Windows {
        /// The layer's name.
        layer: String,
        /// How many elements there are.
        taps: usize,
        /// How many there may be.
        most: usize,
    },
    /// An input of another size.
    #[error("an image of this network has {expected} values, got {found}")]
    Input {
        /// What the network takes.
        expected: usize,
        /// What came.
        found: usize,
    },
    /// An input over time of another size.
    #[error(
        "a sequence of {steps} timesteps has {expected} values at each timestep of a sample, got {found} values in all"
    )]
    Sequence {
        /// What the network takes at each timestep.
        expected: usize,
        /// How many timesteps there are.
        steps: usize,
        /// How many values came.
        found: usize,
    },
    /// A state that another network made.
    #[error("this state is of another network: make one with state()")]
    State,
    /// No timesteps, or more than memory is for.
    #[error("{steps} steps: expected 1 to {most} for a network with this many outputs")]
    Steps {
        /// How many were asked for.
        steps: usize,
        /// How many there may be.
        most: usize,
    },
    /// The specification does not make a network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A parameter is missing or has another size.
    #[error("parameter {name}: expected {expected} numbers, got {found}")]
    Parameter {
        /// Its name.
        name: String,
        /// How many numbers it has by the specification.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// The file is not a network of ours.
    #[error(transparent)]
    File(#[from] FileError),
}
