//! LIF neurons whose input does not change: only those that can spike, side by side.
//!
//! A neuron spikes if its current is above the threshold, or its voltage at the start. What the others do makes no
//! difference to anything.

use super::activity::Activity;
use super::aligned::Aligned;
use super::lif::{LifConstants, LifLanes, bits, count_spikes};
use super::plan::{Shape, Tuning};
use crate::kernels::Number;
use crate::simd::{Kernel, vectorised};

/// Neurons that advance together.
const LANES: usize = 64;

/// The neurons that can spike for this image, in blocks of [`LANES`].
#[derive(Clone, Debug)]
pub(super) struct Spiking<R> {
    /// Where each is stored in its layer.
    stored_at: Vec<u32>,
    current: Aligned<R>,
    voltage: Aligned<R>,
    pending: Aligned<R>,
    counts: Aligned<R>,
    /// How many there are.
    number: usize,
}

impl<R: Number> Spiking<R> {
    /// With room for all `neurons` of a layer.
    pub(super) fn new(neurons: usize) -> Self {
        let room = neurons.next_multiple_of(LANES);
        let numbers = || Aligned::new(room);
        Self {
            stored_at: vec![0; room],
            current: numbers(),
            voltage: numbers(),
            pending: numbers(),
            counts: numbers(),
            number: 0,
        }
    }

    /// Those of a layer for this `input`, from a fresh state.
    pub(super) fn select(&mut self, tuning: &Tuning<R>, input: &[R]) {
        vectorised(Select { spiking: self, tuning, input });
        let padded = self.number.next_multiple_of(LANES);
        self.current[self.number..padded].fill(R::default());
        self.voltage[self.number..padded].fill(R::default());
        self.counts[..padded].fill(R::default());
        // Below any decay: no part of the step is refractory.
        self.pending[..padded].fill(R::constant(-1.0));
    }

    /// Runs `steps` steps, into what the layer passes on and the spike counts of all its neurons.
    pub(super) fn advance(
        &mut self,
        constants: LifConstants<R>,
        steps: usize,
        shape: Shape,
        output: &mut Activity<R>,
        counts: &mut [R],
    ) {
        output.spikes.fill(0);
        output.active.fill(0);
        vectorised(Advance { spiking: self, constants, steps, lanes: shape.lanes(), output });
        for (&at, &count) in self.stored_at[..self.number].iter().zip(&*self.counts) {
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
        let (stored_at, currents) = (&mut spiking.stored_at[..], &mut spiking.current[..]);
        let starts = &mut spiking.voltage[..];
        let mut number = 0;
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
            let mut bits = if any { bits::<W>(|lane| highest[lane] > one) } else { 0 };
            while bits != 0 {
                let lane = bits.trailing_zeros() as usize % W;
                stored_at[number] = (block * W + lane) as u32;
                currents[number] = current[lane];
                starts[number] = voltage[lane];
                number += 1;
                bits &= bits - 1;
            }
        }
        spiking.number = number;
    }
}

struct Advance<'a, R> {
    spiking: &'a mut Spiking<R>,
    constants: LifConstants<R>,
    steps: usize,
    /// Channels of a block of the layer.
    lanes: usize,
    output: &'a mut Activity<R>,
}

impl<R: Number> Kernel for Advance<'_, R> {
    #[inline(always)]
    fn run(self) {
        let Self { spiking, constants, steps, lanes, output } = self;
        let current = spiking.current.as_chunks::<LANES>().0;
        let voltage = spiking.voltage.as_chunks_mut::<LANES>().0;
        let pending = spiking.pending.as_chunks_mut::<LANES>().0;
        let counts = spiking.counts.as_chunks_mut::<LANES>().0;
        let stored_at = spiking.stored_at[..spiking.number].chunks(LANES);
        let blocks = current.iter().zip(voltage).zip(pending).zip(counts).zip(stored_at);
        for ((((current, voltage), pending), counts), stored_at) in blocks {
            let times = LifLanes { voltage, pending }.run(constants, steps, *current, |_, _| ());
            count_spikes(counts, &times);
            for (&at, &times) in stored_at.iter().zip(&times) {
                let at = at as usize;
                output.spikes[at] = times;
                output.active[at / lanes] |= u64::from(times != 0) << (at % lanes);
            }
        }
    }
}
