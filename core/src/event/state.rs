//! The memory of a stage: the state of its neurons, and room for a block of them.

use super::aligned::Aligned;
use super::constant::Spiking;
use super::plan::{Sink, Stage};
use super::watch::What;
use crate::kernels::Number;
use crate::neuron::Initial;

/// The state of a stage's neurons.
#[derive(Clone, Debug)]
pub(super) struct StageState<R> {
    /// Of LIF neurons, synapses and delays.
    pub variables: [Aligned<R>; 2],
    /// Of neurons by their model's own step, block by block.
    pub any: Aligned<R>,
    /// Of LIF neurons with an input that does not change.
    pub spiking: Spiking<R>,
    /// Spikes so far.
    pub counts: Aligned<R>,
    /// Whether neurons advance by their model's own step: those without a shortcut, and those of which the state is recorded.
    pub by_own_step: bool,
}

impl<R: Number> StageState<R> {
    pub(super) fn new(stage: &Stage<R>, watches: &[What]) -> Self {
        let storage = |count: usize| Aligned::new(count * stage.output.storage());
        let recorded = watches.iter().any(|what| matches!(what, What::State(_)));
        let (two, own, constant) = match &stage.sink {
            Sink::Lif { .. } if !recorded => (2, 0, stage.is_constant()),
            Sink::Lif { neuron, .. } | Sink::Neurons { neuron, .. } => (0, neuron.state().len(), false),
            Sink::Synapse { variables, .. } => (*variables, 0, false),
            // What a delay passes on at the first step of a stretch.
            Sink::Delay { .. } => (1, 0, false),
            Sink::Values | Sink::Join(_) => (0, 0, false),
        };
        Self {
            variables: [storage(usize::from(two > 0)), storage(usize::from(two > 1))],
            any: storage(own),
            spiking: Spiking::new(if constant { stage.output.storage() } else { 0 }),
            counts: storage(usize::from(stage.has_neurons())),
            by_own_step: own > 0,
        }
    }

    pub(super) fn reset(&mut self, stage: &Stage<R>) {
        self.variables
            .iter_mut()
            .chain([&mut self.any, &mut self.counts])
            .for_each(|numbers| numbers.fill(R::default()));
        let voltage = &stage.tuning.voltage;
        match stage.neuron() {
            Some(neuron) if self.by_own_step => {
                let lanes = stage.output.lanes();
                let blocks = self.any.chunks_exact_mut(lanes * neuron.state().len());
                for (block, voltage) in blocks.zip(voltage.chunks_exact(lanes)) {
                    for (values, variable) in block.chunks_exact_mut(lanes).zip(neuron.state()) {
                        match variable.initial {
                            Initial::Voltage => values.copy_from_slice(voltage),
                            Initial::Value(value) => values.fill(R::constant(value)),
                        }
                    }
                }
            }
            Some(_) => {
                self.variables[0].copy_from_slice(voltage);
                // Below any decay: the whole step is active.
                self.variables[1].fill(R::constant(-1.0));
            }
            None => {}
        }
    }
}

/// Room for a block of a stage.
#[derive(Clone, Debug)]
pub(super) struct Scratch<R> {
    /// The rows of an input, or their sum.
    pub rows: Aligned<R>,
    /// The rows of a second input.
    pub more: Aligned<R>,
    /// Currents and outputs of neurons.
    pub outputs: Aligned<R>,
    /// Their state after each step; empty unless states are recorded.
    pub history: Aligned<R>,
}
