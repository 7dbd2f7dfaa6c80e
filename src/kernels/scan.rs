//! Spiking neurons over all timesteps, one pass.

use super::simd::{Kernel, vectorised};
use super::threads::{SharedMut, parallel_for};
use super::{Drive, Element};
use crate::neuron::{NeuronModel, StateArray};

/// Neurons that advance together through time, their state in registers or the first-level cache.
const LANES: usize = 64;
/// Neuron timesteps below which a second thread costs more than it saves.
const GRAIN: usize = 8 * 1024;
/// The most state variables that a model can have.
pub const MAX_STATE: usize = 4;

/// What [`scan`] reads and writes. `steps` timesteps of `batch` rows of `neurons`.
#[derive(Debug)]
pub struct Scan<'a, R> {
    /// `input` is `[batch, neurons]`, constant over time, or `[steps, batch, neurons]`.
    pub drive: Drive<'a, R>,
    /// How many timesteps.
    pub steps: usize,
    /// The length of a timestep (s).
    pub dt: f64,
    /// One `[batch, neurons]` slice a state variable: the state before, then the state after.
    pub state: Vec<&'a mut [R]>,
    /// `[steps, batch, neurons]`: spikes times amplitude over dt.
    pub output: &'a mut [R],
    /// `[batch, neurons]`: the sum of the output over the steps, while it is in registers.
    pub total: &'a mut [R],
    /// For each state variable to be recorded, its value after every step, `[steps, batch, neurons]`.
    pub record: Vec<Option<&'a mut [R]>>,
}

/// Runs the spiking step of `model` over time.
pub fn scan<M: NeuronModel, R: Element>(model: &M, scan: Scan<R>) {
    let Scan { drive, steps, dt, state, output, total, record } = scan;
    let neurons = drive.neurons();
    let size = state.first().map_or(0, |state| state.len());
    let variables = M::STATE.len();
    assert!(variables == <M::State<R> as StateArray<R>>::LEN && variables <= MAX_STATE);
    assert_eq!(state.len(), variables);
    assert_eq!(record.len(), variables);
    assert!(state.iter().all(|state| state.len() == size));
    assert_eq!(output.len(), steps * size);
    assert_eq!(total.len(), size);
    assert!(record.iter().flatten().all(|record| record.len() == steps * size));
    let varying = drive.rows() * neurons == steps * size && steps != 1;
    assert!(varying || drive.rows() * neurons == size);
    if size == 0 {
        return;
    }

    let state: Vec<_> = state.into_iter().map(SharedMut::new).collect();
    let record: Vec<_> = record.into_iter().map(|record| record.map(SharedMut::new)).collect();
    let (output, total) = (SharedMut::new(output), SharedMut::new(total));
    let blocks = neurons.div_ceil(LANES);
    parallel_for(size / neurons * blocks, GRAIN.div_ceil(LANES * steps.max(1)), |tasks| {
        for task in tasks {
            let (row, block) = (task / blocks, task % blocks);
            let columns = block * LANES..((block + 1) * LANES).min(neurons);
            vectorised(Lanes {
                model,
                drive,
                varying,
                steps,
                dt,
                size,
                start: row * neurons + columns.start,
                columns,
                state: &state,
                output: &output,
                total: &total,
                record: &record,
            });
        }
    });
}

struct Lanes<'a, M, R> {
    model: &'a M,
    drive: Drive<'a, R>,
    varying: bool,
    steps: usize,
    dt: f64,
    size: usize,
    start: usize,
    columns: std::ops::Range<usize>,
    state: &'a [SharedMut<R>],
    output: &'a SharedMut<R>,
    total: &'a SharedMut<R>,
    record: &'a [Option<SharedMut<R>>],
}

impl<M: NeuronModel, R: Element> Kernel for Lanes<'_, M, R> {
    #[inline(always)]
    fn run(self) {
        // A copy, so that the compiler sees its parameters as constants of the loop.
        let model = self.model.clone();
        let width = self.columns.len();
        let here = self.start..self.start + width;
        let zero = R::default();
        let (mut gain, mut bias, mut current) = ([zero; LANES], [zero; LANES], [zero; LANES]);
        let (mut spikes, mut total) = ([zero; LANES], [zero; LANES]);
        let mut state = [[zero; LANES]; MAX_STATE];
        gain[..width].copy_from_slice(&self.drive.gain[self.columns.clone()]);
        bias[..width].copy_from_slice(&self.drive.bias[self.columns.clone()]);
        for (lanes, shared) in state.iter_mut().zip(self.state) {
            // SAFETY: these neurons of this row are this task's alone, here and below.
            lanes[..width].copy_from_slice(unsafe { shared.range_mut(here.clone()) });
        }
        for step in 0..self.steps {
            let now = here.start + step * self.size..here.end + step * self.size;
            if step == 0 || self.varying {
                let input = &self.drive.input[if self.varying { now.clone() } else { here.clone() }];
                current[..width].copy_from_slice(input);
                for lane in 0..LANES {
                    current[lane] = gain[lane] * current[lane] + bias[lane];
                }
            }
            for lane in 0..LANES {
                let mut one = M::State::<R>::from_fn(|variable| state[variable][lane]);
                spikes[lane] = model.step(current[lane], &mut one, self.dt);
                total[lane] = total[lane] + spikes[lane];
                for (variable, &value) in one.as_ref().iter().enumerate() {
                    state[variable][lane] = value;
                }
            }
            // SAFETY: as above.
            unsafe { self.output.range_mut(now.clone()) }.copy_from_slice(&spikes[..width]);
            for (lanes, record) in state.iter().zip(self.record) {
                if let Some(record) = record {
                    // SAFETY: as above.
                    unsafe { record.range_mut(now.clone()) }.copy_from_slice(&lanes[..width]);
                }
            }
        }
        // SAFETY: as above.
        unsafe { self.total.range_mut(here.clone()) }.copy_from_slice(&total[..width]);
        for (lanes, shared) in state.iter().zip(self.state) {
            // SAFETY: as above.
            unsafe { shared.range_mut(here.clone()) }.copy_from_slice(&lanes[..width]);
        }
    }
}
