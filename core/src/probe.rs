//! What can be recorded in a simulation.

use std::fmt;

use crate::neuron::Output;
use crate::spec::{LayerKind, NetworkError};

/// Something to record: a quantity of a layer.
///
/// ```
/// use tch_spiking_core::probe::{Probe, Quantity};
///
/// assert_eq!(Probe::output("lif1").to_string(), "lif1/output");
/// assert_eq!(Probe::state("lif1", "voltage"), Probe::new("lif1", Quantity::State("voltage".into())));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// The layer's name.
    pub layer: String,
    /// What of it.
    pub quantity: Quantity,
}

/// What of a layer to record. `T` are timesteps, `B` samples, `S` is the layer's shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// What it passes on, `[T, B, S]`: spikes times amplitude over dt for neurons, the filtered signal for a synapse.
    Output,
    /// How often each neuron spiked in all, `[B, S]`. (An output without the memory of one.)
    SpikeCount,
    /// The current into each neuron, `gain * x + bias`, `[T, B, S]`.
    Current,
    /// A state variable of neurons by its name, `voltage` or `refractory_time` (s), after each step, `[T, B, S]`.
    State(String),
}

impl Probe {
    /// Records `quantity` of the layer called `layer`.
    pub fn new(layer: impl Into<String>, quantity: Quantity) -> Self {
        Self { layer: layer.into(), quantity }
    }

    /// Records what the layer passes on.
    pub fn output(layer: impl Into<String>) -> Self {
        Self::new(layer, Quantity::Output)
    }

    /// Records how often each neuron of the layer spikes.
    pub fn spike_count(layer: impl Into<String>) -> Self {
        Self::new(layer, Quantity::SpikeCount)
    }

    /// Records the current into each neuron of the layer.
    pub fn current(layer: impl Into<String>) -> Self {
        Self::new(layer, Quantity::Current)
    }

    /// Records a state variable of the layer's neurons: `voltage`.
    pub fn state(layer: impl Into<String>, variable: impl Into<String>) -> Self {
        Self::new(layer, Quantity::State(variable.into()))
    }

    /// Checks that a network of these layers, each with its name, has what this asks for.
    ///
    /// # Errors
    /// If there is no such layer, or it has no such quantity.
    pub fn check<'a>(
        &self,
        layers: impl Iterator<Item = (&'a str, &'a LayerKind)> + Clone,
    ) -> Result<(), NetworkError> {
        let fail = |cause: String| {
            Err(NetworkError::Probe { layer: self.layer.clone(), quantity: self.quantity.to_string(), cause })
        };
        let Some((_, kind)) = layers.clone().find(|(name, _)| *name == self.layer) else {
            let names: Vec<_> = layers.map(|(name, _)| name).collect();
            return fail(format!("there is no such layer; available: {}", names.join(", ")));
        };
        match (&self.quantity, kind) {
            (Quantity::Output, _) => Ok(()),
            (Quantity::State(name), LayerKind::Neuron(neurons)) => {
                let names: Vec<_> = neurons.model.state().iter().map(|variable| variable.name).collect();
                if names.contains(&name.as_str()) {
                    return Ok(());
                }
                fail(format!("the state variables of its neurons are {}", names.join(", ")))
            }
            (Quantity::SpikeCount, LayerKind::Neuron(neurons)) if neurons.model.output() == Output::Values => {
                fail(format!("its neurons, {}, do not spike", neurons.model.name()))
            }
            (Quantity::SpikeCount | Quantity::Current, LayerKind::Neuron(_)) => Ok(()),
            (Quantity::SpikeCount | Quantity::Current | Quantity::State(_), _) => {
                fail("it is not a layer of neurons; only its output can be recorded".to_string())
            }
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}/{}", self.layer, self.quantity)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Output => "output",
            Self::SpikeCount => "spike_count",
            Self::Current => "current",
            Self::State(name) => name,
        })
    }
}
