//! The spiking kernel: all timesteps in one pass.

use std::ops::Range;

use tch_spiking_core::kernels::{AdvanceBlock, Drive, NeuronOrder, NoiseKey, Number};
use tch_spiking_core::neuron::Neuron;
use tch_spiking_core::simd::{Kernel, vectorised};

use super::rows;
use super::threads::{SharedMut, parallel_for};

/// Number of neurons that advance through time together.
const LANES: usize = 64;
/// Number of timesteps per block: its currents and spikes stay in the L1 cache.
const STRETCH: usize = 32;
/// Number of neuron timesteps below which a second thread costs more than it saves.
const GRAIN: usize = 8 * 1024;

/// The arguments of [`scan`]: `steps` timesteps of `batch` rows of `neurons`.
#[derive(Debug)]
pub(crate) struct Scan<'a, R> {
    /// Input, gain and bias; the input is `[batch, neurons]`, constant over time, or `[steps, batch, neurons]`.
    pub drive: Drive<'a, R>,
    /// Number of timesteps.
    pub steps: usize,
    /// Timestep (s).
    pub dt: f64,
    /// Each learned parameter with one value per neuron, `[neurons]`.
    pub learned: Vec<&'a [R]>,
    /// Source of random numbers for noisy models.
    pub noise: Option<NoiseRows>,
    /// One `[batch, neurons]` slice per state variable, advanced in place.
    pub state: Vec<&'a mut [R]>,
    /// Output, `[steps, batch, neurons]`: spikes times amplitude over dt.
    pub output: &'a mut [R],
    /// Sum of the output over the steps, `[batch, neurons]`.
    pub total: &'a mut [R],
    /// For each recorded state variable, its value after every step, `[steps, batch, neurons]`.
    pub record: Vec<Option<&'a mut [R]>>,
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

/// Runs the spiking step of `neuron` over time.
pub(crate) fn scan<R: Number>(neuron: &Neuron, scan: Scan<R>) {
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

struct Layer<'a, R> {
    neuron: &'a Neuron,
    drive: Drive<'a, R>,
    varying: bool,
    steps: usize,
    dt: f64,
    size: usize,
    learned: &'a [&'a [R]],
    noise: Option<NoiseRows>,
    state: Vec<SharedMut<R>>,
    output: SharedMut<R>,
    total: SharedMut<R>,
    record: Vec<Option<SharedMut<R>>>,
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
    fn new(layer: &Layer<R>) -> Self {
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

impl<R: Number> Layer<'_, R> {
    /// Runs all timesteps of the neurons `columns` of a row.
    fn advance(&self, row: usize, columns: Range<usize>, room: &mut Room<R>) {
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
        total.fill(R::default());
        let constants =
            Drive { input: &[][..], gain: &self.drive.gain[columns.clone()], bias: &self.drive.bias[columns.clone()] };
        if !self.varying {
            vectorised(Currents {
                drive: Drive { input: &self.drive.input[here.clone()], ..constants },
                currents: &mut currents[..width],
            });
        }
        let noise = self.noise.map(|noise| {
            let first = noise.key.sample(noise.first_sample + row as u64);
            first.starting_at(columns.start as u32, noise.first_step, noise.order)
        });
        for start in (0..self.steps).step_by(STRETCH) {
            let steps = STRETCH.min(self.steps - start);
            let at = |step: usize| here.start + (start + step) * self.size..here.end + (start + step) * self.size;
            if self.varying {
                for (step, currents) in currents.chunks_exact_mut(width).take(steps).enumerate() {
                    vectorised(Currents { drive: Drive { input: &self.drive.input[at(step)], ..constants }, currents });
                }
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
                vectorised(Collect { spikes, output: to, total: &mut *total });
            }
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

/// The input currents of a row of neurons.
struct Currents<'a, R> {
    drive: Drive<'a, R>,
    currents: &'a mut [R],
}

impl<R: Number> Kernel for Currents<'_, R> {
    #[inline(always)]
    fn run(self) {
        let Drive { input, gain, bias } = self.drive;
        for (((current, &input), &gain), &bias) in self.currents.iter_mut().zip(input).zip(gain).zip(bias) {
            *current = gain * input + bias;
        }
    }
}

/// Writes the spikes of a step and adds them to the total.
struct Collect<'a, R> {
    spikes: &'a [R],
    output: &'a mut [R],
    total: &'a mut [R],
}

impl<R: Number> Kernel for Collect<'_, R> {
    #[inline(always)]
    fn run(self) {
        for ((output, total), &spikes) in self.output.iter_mut().zip(self.total).zip(self.spikes) {
            *output = spikes;
            *total = *total + spikes;
        }
    }
}
