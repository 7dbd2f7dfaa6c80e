//! What the loss reads of a pass beside the network's output.

use super::{Method, Readout};
use crate::engine::{Activity, Observer, TrainingStep, Visit};
use crate::error::Result;
use crate::network::{LayerKind, Origin, SpikingSequential};

/// Observes what a network's last synapses receive, and the activity of layers.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The layer whose output the last synapses filter, if the objective reads it.
    unfiltered: Option<usize>,
    seen: Option<Activity>,
    watched: Vec<usize>,
    /// The outputs of the watched layers, by index.
    pub(super) outputs: Vec<(usize, Activity)>,
}

impl Watch {
    /// An observer for an objective that reads `readout` of `network`.
    pub(super) fn new(network: &SpikingSequential, readout: Readout) -> Self {
        let unfiltered = match readout {
            Readout::Filtered => None,
            Readout::Unfiltered => before_last_synapses(network),
        };
        Self { unfiltered, ..Self::default() }
    }

    /// The same that keeps the outputs of these layers too.
    pub(super) fn and_layers(self, watched: Vec<usize>) -> Self {
        Self { watched, ..self }
    }

    /// Runs `network` on `input` with `method`, and returns what the objective reads.
    pub(super) fn run(
        &mut self,
        method: Method,
        network: &SpikingSequential,
        input: &Activity,
        training: Option<TrainingStep>,
        first_sample: u64,
    ) -> Result<Activity> {
        let output = method.forward(network, input, training, first_sample, Some(self))?;
        match self.seen.take() {
            Some(unfiltered) => Ok(unfiltered.to_kind(network.kind())?),
            None => Ok(output),
        }
    }
}

impl Observer for Watch {
    fn after(&mut self, visit: &mut Visit) -> Result<()> {
        if self.unfiltered == Some(visit.index) {
            self.seen = Some(visit.output.shallow_clone());
        }
        if self.watched.contains(&visit.index) {
            self.outputs.push((visit.index, visit.output.shallow_clone()));
        }
        Ok(())
    }
}

/// The layer that the synapses at the end of `network` read; `None` if it does not end in synapses, or has nothing else.
fn before_last_synapses(network: &SpikingSequential) -> Option<usize> {
    let layers = network.layers();
    let last = layers.len().checked_sub(1)?;
    let mut index = last;
    while let LayerKind::Synapse(_) = layers[index].kind() {
        match layers[index].inputs().first()?.from {
            Origin::Node(from) => index = from,
            Origin::Input => return None,
        }
    }
    (index < last).then_some(index)
}
