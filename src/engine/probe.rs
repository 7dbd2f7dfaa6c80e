//! Probes and recordings of a simulation.

use std::collections::BTreeMap;
use std::fmt;

use tch::{TchError, Tensor};

use crate::network::{LayerKind, Network, NetworkError};

/// A probe: a quantity of a layer to record.
///
/// ```
/// use tch_spiking::engine::{Probe, Quantity};
///
/// assert_eq!(Probe::output("lif1").to_string(), "lif1/output");
/// assert_eq!(Probe::new("lif1", Quantity::State("voltage".into())).to_string(), "lif1/voltage");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// Name of the layer.
    pub layer: String,
    /// Quantity to record.
    pub quantity: Quantity,
}

/// A quantity of a layer that can be recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// The output, `[T, B, S]`: spikes times amplitude over dt for neurons, the filtered signal for a synapse.
    Output,
    /// The number of spikes of each neuron, `[B, S]`. (It needs far less memory than the output.)
    SpikeCount,
    /// The input current of each neuron, `gain * x + bias`, `[T, B, S]`.
    Current,
    /// A state variable of neurons by name, `voltage` or `refractory_time` (s), after each step, `[T, B, S]`.
    State(String),
}

impl Probe {
    /// Creates a probe of `quantity` of the layer named `layer`.
    pub fn new(layer: impl Into<String>, quantity: Quantity) -> Self {
        Self { layer: layer.into(), quantity }
    }

    /// Creates a probe of the layer's output.
    pub fn output(layer: impl Into<String>) -> Self {
        Self::new(layer, Quantity::Output)
    }

    /// Creates a probe of the number of spikes of each neuron of the layer.
    pub fn spike_count(layer: impl Into<String>) -> Self {
        Self::new(layer, Quantity::SpikeCount)
    }

    /// Checks that `network` has the probed quantity.
    pub(super) fn check(&self, network: &Network) -> Result<(), NetworkError> {
        let fail = |cause: String| {
            Err(NetworkError::Probe { layer: self.layer.clone(), quantity: self.quantity.to_string(), cause })
        };
        let Some(layer) = network.layer(&self.layer) else {
            let names: Vec<_> = network.layers().iter().map(|layer| layer.name()).collect();
            return fail(format!("there is no such layer; available: {}", names.join(", ")));
        };
        match (&self.quantity, layer.kind()) {
            (Quantity::Output, _) => Ok(()),
            (Quantity::State(name), LayerKind::Neuron(neurons)) => {
                let names: Vec<_> = neurons.model.state().iter().map(|variable| variable.name).collect();
                if names.contains(&name.as_str()) {
                    return Ok(());
                }
                fail(format!("the state variables of its neurons are {}", names.join(", ")))
            }
            (_, LayerKind::Neuron(_)) => Ok(()),
            _ => fail("it is not a layer of neurons; only its output can be recorded".to_string()),
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

/// The result of a simulation.
#[derive(Debug)]
pub struct Recording {
    /// The network's output over time, `[T, B, output]`.
    pub output: Tensor,
    /// Recorded quantities; their shapes are documented in [`Quantity`].
    pub probed: BTreeMap<Probe, Tensor>,
}

impl Recording {
    /// Returns the output at the last step, `[B, output]`.
    pub fn last_output(&self) -> Tensor {
        self.output.get(-1)
    }

    /// Returns the recording of `probe`, if it was requested.
    pub fn get(&self, probe: &Probe) -> Option<&Tensor> {
        self.probed.get(probe)
    }

    /// Joins the recordings of several batches.
    pub(super) fn of_batches(parts: &[Self]) -> Result<Self, TchError> {
        // Samples are the first dimension of a count, the second of everything over time.
        Self::join(parts, 1, |counts| Tensor::f_cat(counts, 0))
    }

    /// Joins the recordings of consecutive time intervals.
    pub(super) fn of_stretches(parts: &[Self]) -> Result<Self, TchError> {
        Self::join(parts, 0, |counts| Tensor::f_stack(counts, 0)?.f_sum_dim_intlist(0, false, counts[0].kind()))
    }

    fn join(
        parts: &[Self],
        dimension: i64,
        join_counts: impl Fn(&[&Tensor]) -> Result<Tensor, TchError>,
    ) -> Result<Self, TchError> {
        let output = Tensor::f_cat(&parts.iter().map(|part| &part.output).collect::<Vec<_>>(), dimension)?;
        let probes = parts.first().into_iter().flat_map(|part| part.probed.keys().cloned());
        let probed = probes.map(|probe| {
            let tensors: Vec<&Tensor> = parts.iter().filter_map(|part| part.probed.get(&probe)).collect();
            let joined = match probe.quantity {
                Quantity::SpikeCount => join_counts(&tensors)?,
                _ => Tensor::f_cat(&tensors, dimension)?,
            };
            Ok((probe, joined))
        });
        Ok(Self { output, probed: probed.collect::<Result<_, TchError>>()? })
    }
}
