//! The input of one block of neurons over time, gathered from what is active before it.
//!
//! The sums of a block's channels stay in vector registers while the weights of everything active are added row by row.

use super::plan::{Flow, Operation, Shape, Stretch, Tap, Weights};
use crate::kernels::Number;

/// What a stage reads.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, R> {
    pub values: &'a [R],
    pub spikes: &'a [u32],
    pub active: &'a [u64],
    pub flow: Flow<R>,
    pub shape: Shape,
    pub time: Stretch,
}

impl<R: Number> Source<'_, R> {
    /// How many rows a block of this source has: one if it is constant.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        if self.flow == Flow::Constant { 1 } else { self.time.steps }
    }

    #[inline(always)]
    pub(super) fn values_at(&self, position: usize, step: usize) -> &[R] {
        let padded = self.shape.padded();
        let row = match self.flow {
            Flow::Constant => position,
            Flow::Values | Flow::Spikes(_) => position * self.time.capacity + self.time.first + step,
        };
        &self.values[row * padded..][..padded]
    }

    /// The spike times of a neuron by where it is stored, counted from the first step.
    #[inline(always)]
    fn times(&self, stored_at: usize) -> u32 {
        self.spikes[stored_at] >> self.time.first & self.time.bits()
    }

    /// The value of one channel, whatever the flow.
    #[inline(always)]
    pub(super) fn value(&self, position: usize, step: usize, channel: usize) -> R {
        match self.flow {
            Flow::Spikes(height) => {
                let times = self.spikes[position * self.shape.padded() + channel];
                if times >> (self.time.first + step) & 1 == 1 { height } else { R::default() }
            }
            _ => self.values_at(position, step)[channel],
        }
    }
}

/// Writes a row for each step (or one, if the source is constant), and returns them.
#[inline(always)]
pub(super) fn gather<'b, R: Number, const W: usize>(
    operation: &Operation<R>,
    source: Source<R>,
    position: usize,
    block: usize,
    rows: &'b mut [[R; W]],
) -> &'b [[R; W]] {
    let rows = &mut rows[..source.rows()];
    match operation {
        Operation::Affine { windows, weights } => match source.flow {
            Flow::Spikes(_) => add_spiking(&weights[block], windows.at(position), source, rows),
            _ => add_values(&weights[block], windows.at(position), source, rows),
        },
        Operation::Identity => copy(source, position, block, rows),
        Operation::Scale { weights } => {
            copy(source, position, block, rows);
            let weights = &weights[position * source.shape.padded() + block * W..][..W];
            for row in rows.iter_mut() {
                for (value, &weight) in row.iter_mut().zip(weights) {
                    *value = *value * weight;
                }
            }
        }
        Operation::AveragePool { windows, area } => {
            each_value(windows.at(position), source, block, rows, R::default(), |sum, value| sum + value);
            for row in rows.iter_mut() {
                for sum in row {
                    *sum = *sum / *area;
                }
            }
        }
        Operation::Standardize { mean, std } => {
            copy(source, position, block, rows);
            let at = position * source.shape.padded() + block * W;
            let (mean, std) = (first::<R, W>(&mean[at..]), first::<R, W>(&std[at..]));
            for row in rows.iter_mut() {
                for lane in 0..W {
                    row[lane] = (row[lane] - mean[lane]) / std[lane];
                }
            }
        }
        Operation::MaxPool { windows } => {
            let lowest = R::constant(f64::NEG_INFINITY);
            each_value(windows.at(position), source, block, rows, lowest, |highest, value| highest.max(value));
        }
    }
    rows
}

/// Sums of the weights of all that spikes: neuron by neuron, whose weights stay in registers while they are added to the sums
/// of the steps at which it spikes.
#[inline(always)]
fn add_spiking<R: Number, const W: usize>(weights: &Weights<R>, taps: &[Tap], source: Source<R>, sums: &mut [[R; W]]) {
    let (blocks, padded) = (source.shape.blocks(), source.shape.padded());
    let channels = weights.channels.len();
    let (rows, _) = weights.rows.as_chunks::<W>();
    sums.fill(first::<R, W>(&weights.bias));
    for tap in taps {
        let input = tap.input as usize;
        let row_of_first = (tap.kernel as usize * channels).wrapping_sub(weights.channels.start);
        for (block, &mask) in weights.mask.iter().enumerate() {
            let mut active = source.active[input * blocks + block] & mask;
            while active != 0 {
                let channel = block * 64 + active.trailing_zeros() as usize;
                let mut times = source.times(input * padded + channel);
                active &= active - 1;
                if times == 0 {
                    // It spikes in other steps of the stretch.
                    continue;
                }
                let row = rows[row_of_first.wrapping_add(channel)];
                while times != 0 {
                    let sum = &mut sums[times.trailing_zeros() as usize];
                    for lane in 0..W {
                        sum[lane] = sum[lane] + row[lane];
                    }
                    times &= times - 1;
                }
            }
        }
    }
}

/// Sums of the weights times the values, zeros left out.
#[inline(always)]
fn add_values<R: Number, const W: usize>(weights: &Weights<R>, taps: &[Tap], source: Source<R>, rows: &mut [[R; W]]) {
    let channels = weights.channels.clone();
    let (weight_rows, _) = weights.rows.as_chunks::<W>();
    let bias = first::<R, W>(&weights.bias);
    let zero = R::default();
    for (step, row) in rows.iter_mut().enumerate() {
        let mut sums = bias;
        for tap in taps {
            let values = &source.values_at(tap.input as usize, step)[channels.clone()];
            let of_tap = &weight_rows[tap.kernel as usize * channels.len()..][..channels.len()];
            for (&value, weights) in values.iter().zip(of_tap) {
                if value != zero {
                    for lane in 0..W {
                        sums[lane] = sums[lane] + value * weights[lane];
                    }
                }
            }
        }
        *row = sums;
    }
}

/// The source as it is.
#[inline(always)]
fn copy<R: Number, const W: usize>(source: Source<R>, position: usize, block: usize, rows: &mut [[R; W]]) {
    let Flow::Spikes(height) = source.flow else {
        for (step, row) in rows.iter_mut().enumerate() {
            row.copy_from_slice(&source.values_at(position, step)[block * W..][..W]);
        }
        return;
    };
    rows.fill([R::default(); W]);
    let first = position * source.shape.padded() + block * W;
    let mut active = source.active[position * source.shape.blocks() + block];
    while active != 0 {
        let lane = active.trailing_zeros() as usize % W;
        let mut times = source.times(first + lane);
        while times != 0 {
            rows[times.trailing_zeros() as usize][lane] = height;
            times &= times - 1;
        }
        active &= active - 1;
    }
}

/// Folds the values of each channel over the window.
#[inline(always)]
fn each_value<R: Number, const W: usize>(
    taps: &[Tap],
    source: Source<R>,
    block: usize,
    rows: &mut [[R; W]],
    start: R,
    fold: impl Fn(R, R) -> R,
) {
    let channels = block * W..((block + 1) * W).min(source.shape.channels);
    for (step, row) in rows.iter_mut().enumerate() {
        *row = [R::default(); W];
        for (channel, folded) in channels.clone().zip(row) {
            *folded =
                taps.iter().fold(start, |so_far, tap| fold(so_far, source.value(tap.input as usize, step, channel)));
        }
    }
}

/// The first `W` numbers.
#[inline(always)]
pub(super) fn first<R: Number, const W: usize>(numbers: &[R]) -> [R; W] {
    let mut lanes = [R::default(); W];
    lanes.copy_from_slice(&numbers[..W]);
    lanes
}
