//! The spiking kernel: all timesteps in one pass.

use std::ops::Range;

use tch_spiking_core::kernels::{AdvanceBlock, Drive, NeuronOrder, Noise, NoiseKey, Number, Stored};
use tch_spiking_core::neuron::Neuron;
use tch_spiking_core::simd::{Kernel, vectorised};

use super::rows;
use super::threads::{SharedMut, parallel_for};

/// Number of neurons that advance through time together.
pub(super) const LANES: usize = 64;
/// Number of timesteps per block: its currents and spikes stay in the L1 cache.
pub(super) const STRETCH: usize = 32;
/// Number of neuron timesteps below which a second thread costs more than it saves.
pub(super) const GRAIN: usize = 8 * 1024;

/// The arguments of [`scan`]: `steps` timesteps of `batch` rows of `neurons`. Input and output are stored as `S`, all else is of
/// the type that is computed with.
#[derive(Debug)]
pub(crate) struct Scan<'a, S: Stored> {
    /// Input, gain and bias; the input is `[batch, neurons]`, constant over time, or `[steps, batch, neurons]`.
    pub drive: Drive<'a, S::Computed, S>,
    /// Number of timesteps.
    pub steps: usize,
    /// Timestep (s).
    pub dt: f64,
    /// Each learned parameter with one value per neuron, `[neurons]`.
    pub learned: Vec<&'a [S::Computed]>,
    /// Source of random numbers for noisy models.
    pub noise: Option<NoiseRows>,
    /// One `[batch, neurons]` slice per state variable, advanced in place.
    pub state: Vec<&'a mut [S::Computed]>,
    /// Output, `[steps, batch, neurons]`: spikes times amplitude over dt.
    pub output: &'a mut [S],
    /// Sum of the output over the steps, `[batch, neurons]`.
    pub total: &'a mut [S::Computed],
    /// For each recorded state variable, its value after every step, `[steps, batch, neurons]`.
    pub record: Vec<Option<&'a mut [S::Computed]>>,
}

/// The random numbers of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoiseRows {
    /// The layer's key.
    pub key: NoiseKey,
    /// Index of the first sample.
    pub first_sample: u64,
    /// Index of the first timestep.
    pub first_step: u64,
    /// Memory order of the neurons.
    pub order: NeuronOrder,
}

impl NoiseRows {
    /// The random numbers of a row, from its neuron `first` on.
    pub(super) fn row(&self, row: usize, first: usize) -> Noise {
        let sample = self.key.sample(self.first_sample + row as u64);
        sample.starting_at(first as u32, self.first_step, self.order)
    }
}

/// Runs the spiking step of `neuron` over time.
pub(crate) fn scan<S: Stored>(neuron: &Neuron, scan: Scan<S>) {
    let Scan { drive, steps, dt, learned, noise, state, output, total, record } = scan;
    let neurons = drive.neurons();
    let size = state.first().map_or(0, |state| state.len());
    assert_eq!(state.len(), neuron.state().len());
    assert_eq!(record.len(), state.len());
    assert_eq!(learned.len(), neuron.learned().len());
    assert!(learned.iter().all(|values| values.len() == neurons));
    assert!(state.iter().all(|state| state.len() == size));
    assert_eq!(output.len(), steps * size);
    assert_eq!(total.len(), size);
    assert!(record.iter().flatten().all(|record| record.len() == steps * size));
    let rows = rows(&drive);
    let varying = rows * neurons == steps * size && steps != 1;
    assert!(varying || rows * neurons == size);
    if size == 0 {
        return;
    }

    let layer = Layer {
        neuron,
        drive,
        varying,
        steps,
        dt,
        size,
        learned: &learned,
        noise,
        state: state.into_iter().map(SharedMut::new).collect(),
        output: SharedMut::new(output),
        total: SharedMut::new(total),
        record: record.into_iter().map(|record| record.map(SharedMut::new)).collect(),
    };
    let blocks = neurons.div_ceil(LANES);
    parallel_for(size / neurons * blocks, GRAIN.div_ceil(LANES * steps.max(1)), |tasks| {
        let mut room = Room::new(&layer);
        for task in tasks {
            let (row, block) = (task / blocks, task % blocks);
            layer.advance(row, block * LANES..((block + 1) * LANES).min(neurons), &mut room);
        }
    });
}

struct Layer<'a, S: Stored> {
    neuron: &'a Neuron,
    drive: Drive<'a, S::Computed, S>,
    varying: bool,
    steps: usize,
    dt: f64,
    size: usize,
    learned: &'a [&'a [S::Computed]],
    noise: Option<NoiseRows>,
    state: Vec<SharedMut<S::Computed>>,
    output: SharedMut<S>,
    total: SharedMut<S::Computed>,
    record: Vec<Option<SharedMut<S::Computed>>>,
}

/// A task's buffers for one block of timesteps.
struct Room<R> {
    currents: Vec<R>,
    learned: Vec<R>,
    state: Vec<R>,
    output: Vec<R>,
    /// Empty if no state is recorded.
    history: Vec<R>,
}

impl<R: Number> Room<R> {
    fn new<S: Stored<Computed = R>>(layer: &Layer<S>) -> Self {
        let numbers = |count: usize| vec![R::default(); count * LANES];
        let (stretch, variables) = (STRETCH.min(layer.steps), layer.state.len());
        let recorded = if layer.record.iter().any(Option::is_some) { variables * stretch } else { 0 };
        Self {
            currents: numbers(if layer.varying { stretch } else { 1 }),
            learned: numbers(layer.learned.len()),
            state: numbers(variables),
            output: numbers(stretch),
            history: numbers(recorded),
        }
    }
}

impl<S: Stored> Layer<'_, S> {
    /// Runs all timesteps of the neurons `columns` of a row.
    fn advance(&self, row: usize, columns: Range<usize>, room: &mut Room<S::Computed>) {
        let (width, neurons) = (columns.len(), self.drive.neurons());
        let here = row * neurons + columns.start..row * neurons + columns.end;
        let Room { currents, learned, state, output, history } = room;
        for (to, values) in learned.chunks_exact_mut(width).zip(self.learned) {
            to.copy_from_slice(&values[columns.clone()]);
        }
        let state = &mut state[..self.state.len() * width];
        for (to, shared) in state.chunks_exact_mut(width).zip(&self.state) {
            // SAFETY: these neurons of this row belong to this task alone, here and below.
            to.copy_from_slice(unsafe { shared.range_mut(here.clone()) });
        }
        // SAFETY: as above.
        let total = unsafe { self.total.range_mut(here.clone()) };
        total.fill(Default::default());
        let input = |rows: Range<usize>| Rows { data: self.drive.input, first: here.start, stride: self.size, rows };
        let currents_of = |rows: Range<usize>, currents: &mut [S::Computed]| {
            let (gain, bias) = (&self.drive.gain[columns.clone()], &self.drive.bias[columns.clone()]);
            vectorised(Currents { input: input(rows), gain, bias, currents });
        };
        if !self.varying {
            currents_of(0..1, &mut currents[..width]);
        }
        let noise = self.noise.map(|noise| noise.row(row, columns.start));
        for start in (0..self.steps).step_by(STRETCH) {
            let steps = STRETCH.min(self.steps - start);
            let at = |step: usize| here.start + (start + step) * self.size..here.end + (start + step) * self.size;
            if self.varying {
                currents_of(start..start + steps, &mut currents[..steps * width]);
            }
            let rows = if self.varying { steps } else { 1 };
            let recorded = if history.is_empty() { 0 } else { steps * self.state.len() * width };
            self.neuron.advance(AdvanceBlock {
                width,
                steps,
                dt: self.dt,
                currents: &currents[..rows * width],
                learned: &learned[..self.learned.len() * width],
                noise: noise.map(|noise| noise.later(start as u64)),
                state: &mut *state,
                output: &mut output[..steps * width],
                history: &mut history[..recorded],
            });
            for (step, spikes) in output.chunks_exact(width).take(steps).enumerate() {
                // SAFETY: as above.
                let to = unsafe { self.output.range_mut(at(step)) };
                to.iter_mut().zip(spikes).for_each(|(to, &spikes)| *to = S::store(spikes));
            }
            vectorised(Total { spikes: &output[..steps * width], total: &mut *total });
            for (index, values) in history[..recorded].chunks_exact(width).enumerate() {
                let (step, variable) = (index / self.state.len(), index % self.state.len());
                if let Some(record) = &self.record[variable] {
                    // SAFETY: as above.
                    unsafe { record.range_mut(at(step)) }.copy_from_slice(values);
                }
            }
        }
        for (values, shared) in state.chunks_exact(width).zip(&self.state) {
            // SAFETY: as above.
            unsafe { shared.range_mut(here.clone()) }.copy_from_slice(values);
        }
    }
}

/// Adjacent neurons in several rows of a larger array.
pub(super) struct Rows<'a, S> {
    pub data: &'a [S],
    /// Index of the first neuron in row 0.
    pub first: usize,
    /// Distance of rows.
    pub stride: usize,
    pub rows: Range<usize>,
}

/// The input currents of adjacent neurons, `[rows, neurons]`.
pub(super) struct Currents<'a, S: Stored> {
    pub input: Rows<'a, S>,
    pub gain: &'a [S::Computed],
    pub bias: &'a [S::Computed],
    pub currents: &'a mut [S::Computed],
}

impl<S: Stored> Kernel for Currents<'_, S> {
    #[inline(always)]
    fn run(self) {
        let (width, Rows { data, first, stride, rows }) = (self.gain.len(), self.input);
        for (currents, row) in self.currents.chunks_exact_mut(width).zip(rows) {
            let input = &data[first + row * stride..][..width];
            for (((current, &input), &gain), &bias) in currents.iter_mut().zip(input).zip(self.gain).zip(self.bias) {
                *current = gain * input.load() + bias;
            }
        }
    }
}

/// Adds the spikes of several steps, `[steps, neurons]`, to their total.
struct Total<'a, R> {
    spikes: &'a [R],
    total: &'a mut [R],
}

impl<R: Number> Kernel for Total<'_, R> {
    #[inline(always)]
    fn run(self) {
        // A copy of fixed length, which stays in registers.
        let mut sums = [R::default(); LANES];
        let width = self.total.len().min(LANES);
        sums[..width].copy_from_slice(&self.total[..width]);
        for spikes in self.spikes.chunks_exact(width) {
            for (sum, &spikes) in sums.iter_mut().zip(spikes) {
                *sum = *sum + spikes;
            }
        }
        self.total[..width].copy_from_slice(&sums[..width]);
    }
}
