//! LIF neurons whose input does not change: only those that can spike, side by side.
//!
//! A neuron spikes if its current is above the threshold, or its voltage at the start. What the others do makes no
//! difference to anything.

use super::lif::{LifConstants, LifLanes, above};
use super::plan::{Shape, Tuning};
use super::workspace::Activity;
use crate::kernels::{Kernel, Number, vectorised};

/// Neurons that advance together.
const LANES: usize = 64;

/// The neurons that can spike for this image, in blocks of [`LANES`].
#[derive(Debug, Default)]
pub(super) struct Spiking<R> {
    /// Where each is stored in its layer.
    stored_at: Vec<u32>,
    current: Vec<R>,
    voltage: Vec<R>,
    pending: Vec<R>,
    counts: Vec<R>,
}

impl<R: Number> Spiking<R> {
    /// Those of a layer for this `input`, from a fresh state.
    pub(super) fn select(&mut self, tuning: &Tuning<R>, input: &[R]) {
        self.stored_at.clear();
        self.current.clear();
        self.voltage.clear();
        vectorised(Select { spiking: self, tuning, input });
        let padded = self.stored_at.len().next_multiple_of(LANES);
        self.current.resize(padded, R::default());
        self.voltage.resize(padded, R::default());
        self.counts.clear();
        self.counts.resize(padded, R::default());
        self.pending.clear();
        // Below any decay: no part of the step is refractory.
        self.pending.resize(padded, R::constant(-1.0));
    }

    /// Runs `steps` steps, into what the layer passes on and the spike counts of all its neurons.
    pub(super) fn advance(
        &mut self,
        constants: LifConstants<R>,
        steps: usize,
        capacity: usize,
        shape: Shape,
        output: &mut Activity<R>,
        counts: &mut [R],
    ) {
        output.spikes.fill(0);
        output.active.fill(0);
        vectorised(Advance { spiking: self, constants, steps, capacity, lanes: shape.lanes(), output });
        for (&at, &count) in self.stored_at.iter().zip(&self.counts) {
            counts[at as usize] = count;
        }
    }
}

struct Select<'a, R> {
    spiking: &'a mut Spiking<R>,
    tuning: &'a Tuning<R>,
    input: &'a [R],
}

impl<R: Number> Kernel for Select<'_, R> {
    #[inline(always)]
    fn run(self) {
        const W: usize = 16;
        let Self { spiking, tuning, input } = self;
        let one = R::constant(1.0);
        let (gains, biases) = (tuning.gain.as_chunks::<W>().0, tuning.bias.as_chunks::<W>().0);
        let (inputs, voltages) = (input.as_chunks::<W>().0, tuning.voltage.as_chunks::<W>().0);
        for (block, (((gain, bias), input), voltage)) in gains.iter().zip(biases).zip(inputs).zip(voltages).enumerate()
        {
            let mut current = [one; W];
            let mut highest = [one; W];
            let mut any = false;
            for lane in 0..W {
                current[lane] = gain[lane] * input[lane] + bias[lane];
                highest[lane] = current[lane].max(voltage[lane]);
                any |= highest[lane] > one;
            }
            let mut bits = if any { above(&highest, one) } else { 0 };
            while bits != 0 {
                let lane = bits.trailing_zeros() as usize % W;
                spiking.stored_at.push((block * W + lane) as u32);
                spiking.current.push(current[lane]);
                spiking.voltage.push(voltage[lane]);
                bits &= bits - 1;
            }
        }
    }
}

struct Advance<'a, R> {
    spiking: &'a mut Spiking<R>,
    constants: LifConstants<R>,
    steps: usize,
    capacity: usize,
    /// Channels of a block of the layer.
    lanes: usize,
    output: &'a mut Activity<R>,
}

impl<R: Number> Kernel for Advance<'_, R> {
    #[inline(always)]
    fn run(self) {
        let Self { spiking, constants, steps, capacity, lanes, output } = self;
        let mut words = [0u64; super::STRETCH];
        let words = &mut words[..steps];
        let current = spiking.current.as_chunks::<LANES>().0;
        let voltage = spiking.voltage.as_chunks_mut::<LANES>().0;
        let pending = spiking.pending.as_chunks_mut::<LANES>().0;
        let counts = spiking.counts.as_chunks_mut::<LANES>().0;
        let blocks = current.iter().zip(voltage).zip(pending).zip(counts).zip(spiking.stored_at.chunks(LANES));
        for ((((current, voltage), pending), counts), stored_at) in blocks {
            let mut spiked = 0;
            LifLanes { voltage, pending, counts }.run(
                constants,
                steps,
                *current,
                |_, _| (),
                |step, bits| {
                    words[step] = bits;
                    spiked |= bits;
                },
            );
            for (lane, &at) in stored_at.iter().enumerate().filter(|(lane, _)| spiked >> lane & 1 == 1) {
                let (block, channel) = (at as usize / lanes, at as usize % lanes);
                output.active[block] |= 1 << channel;
                let spikes = &mut output.spikes[block * capacity..][..steps];
                for (to, &word) in spikes.iter_mut().zip(&*words) {
                    *to |= (word >> lane & 1) << channel;
                }
            }
        }
    }
}
