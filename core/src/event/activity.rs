//! What flows between stages.

use super::aligned::Aligned;
use super::gather::Source;
use super::plan::{Flow, Shape, Stretch};
use crate::kernels::Number;

/// What a stage passes on; which of the two is used is up to its [`Flow`].
#[derive(Clone, Debug)]
pub(super) struct Activity<R> {
    pub values: Aligned<R>,
    /// The spike times of each neuron in the stretch, a bit for each step, stored as the neurons are.
    pub spikes: Aligned<u32>,
    /// A bit for each channel of a block that spikes at all in the stretch, `[position, block]`.
    pub active: Vec<u64>,
}

impl<R: Number> Activity<R> {
    pub(super) fn new(flow: Flow<R>, shape: Shape, capacity: usize) -> Self {
        let (values, spikes, active) = match flow {
            Flow::Constant => (shape.storage(), 0, 0),
            Flow::Values => (shape.storage() * capacity, 0, 0),
            Flow::Spikes(_) => (0, shape.storage(), shape.positions() * shape.blocks()),
        };
        Self { values: Aligned::new(values), spikes: Aligned::new(spikes), active: vec![0; active] }
    }

    /// The values of a block at one step.
    #[inline(always)]
    pub(super) fn row_mut<const W: usize>(
        &mut self,
        position: usize,
        step: usize,
        block: usize,
        shape: Shape,
        capacity: usize,
    ) -> &mut [R] {
        &mut self.values[(position * capacity + step) * shape.padded() + block * W..][..W]
    }

    /// The same to be read.
    #[inline(always)]
    pub(super) fn source(&self, flow: Flow<R>, shape: Shape, time: Stretch) -> Source<'_, R> {
        Source { values: &self.values, spikes: &self.spikes, active: &self.active, flow, shape, time }
    }

    /// Writes the values at one step, which come in the order of tensors.
    pub(super) fn write(&mut self, flow: Flow<R>, shape: Shape, capacity: usize, step: usize, values: &[R]) {
        let (rows, step) = if flow == Flow::Constant { (1, 0) } else { (capacity, step) };
        for (channel, values) in values.chunks_exact(shape.positions().max(1)).enumerate() {
            for (position, &value) in values.iter().enumerate() {
                self.values[(position * rows + step) * shape.padded() + channel] = value;
            }
        }
    }

    /// Appends the values at one step in the order of tensors.
    pub(super) fn read(&self, flow: Flow<R>, shape: Shape, capacity: usize, step: usize, to: &mut Vec<R>) {
        let source = self.source(flow, shape, Stretch { first: 0, steps: capacity, capacity });
        for channel in 0..shape.channels {
            to.extend((0..shape.positions()).map(|position| source.value(position, step, channel)));
        }
    }
}
