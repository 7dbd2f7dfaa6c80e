//! Counts over images: correct answers at each step, spikes of each layer.

use tch_spiking_core::event::{highest, lead};
use tch_spiking_core::kernels::Number;
use tch_spiking_core::simd::{Kernel, vectorised};

/// Sums over images: integers, so that the order in which threads add them does not matter.
#[derive(Default)]
pub(super) struct Tally {
    /// The number of correct images at each step.
    pub(super) right: Vec<u64>,
    /// The sum of the steps until the answer, over all images.
    pub(super) answered: usize,
    pub(super) simulated: usize,
    pub(super) layers: Vec<LayerTally>,
}

/// The same for a layer of neurons.
#[derive(Default)]
pub(super) struct LayerTally {
    pub(super) spikes: f64,
    pub(super) highest: f64,
    pub(super) silent: u64,
    pub(super) saturated: u64,
    pub(super) ever: Vec<bool>,
}

impl Tally {
    /// Compares the output over time `[up to steps, outputs]` of an image with its label.
    pub(super) fn judge<R: Number>(
        &mut self,
        output: &[R],
        outputs: usize,
        label: i64,
        steps: usize,
        margin: Option<f64>,
    ) {
        self.right.resize(steps, 0);
        let mut answer = 0;
        let mut open = true;
        let mut at_step = output.chunks_exact(outputs);
        for right in &mut self.right {
            if let (true, Some(now)) = (open, at_step.next()) {
                self.answered += 1;
                answer = highest(now) as i64;
                open = !margin.is_some_and(|margin| lead(now).is_some_and(|lead| lead >= margin));
            }
            *right += u64::from(answer == label);
        }
    }

    pub(super) fn layer(&mut self, number: usize) -> &mut LayerTally {
        if self.layers.len() <= number {
            self.layers.resize_with(number + 1, LayerTally::default);
        }
        &mut self.layers[number]
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.right.resize(self.right.len().max(other.right.len()), 0);
        self.right.iter_mut().zip(other.right).for_each(|(sum, right)| *sum += right);
        self.answered += other.answered;
        self.simulated += other.simulated;
        for (number, other) in other.layers.into_iter().enumerate() {
            self.layer(number).merge(other);
        }
    }
}

impl LayerTally {
    /// Adds an image's spike counts, of neurons that can spike at most `most` times (infinite for those without a
    /// bound).
    pub(super) fn add<'a, R: Number>(&mut self, counts: impl Iterator<Item = &'a [R]>, most: f64) {
        let mut start = 0;
        for counts in counts {
            let end = start + counts.len();
            if self.ever.len() < end {
                self.ever.resize(end, false);
            }
            vectorised(Add { tally: self, start, counts, saturated: R::constant(0.95 * most) });
            start = end;
        }
    }

    fn merge(&mut self, other: Self) {
        self.spikes += other.spikes;
        self.highest = self.highest.max(other.highest);
        self.silent += other.silent;
        self.saturated += other.saturated;
        self.ever.resize(self.ever.len().max(other.ever.len()), false);
        self.ever.iter_mut().zip(other.ever).for_each(|(ever, other)| *ever |= other);
    }
}

/// Adds the counts of neurons side by side, the first of which is the layer's number `start`.
struct Add<'a, R> {
    tally: &'a mut LayerTally,
    start: usize,
    counts: &'a [R],
    saturated: R,
}

impl<R: Number> Kernel for Add<'_, R> {
    #[inline(always)]
    fn run(self) {
        const W: usize = 16;
        let Self { tally, start, counts, saturated } = self;
        let zero = R::default();
        // Of each lane by itself, so that the compiler may add them side by side.
        let (mut spikes, mut highest, mut silent, mut often) = ([zero; W], [zero; W], [0u32; W], [0u32; W]);
        let ever = &mut tally.ever[start..start + counts.len()];
        for (counts, ever) in counts.chunks(W).zip(ever.chunks_mut(W)) {
            for (lane, (&count, ever)) in counts.iter().zip(ever).enumerate() {
                spikes[lane] = spikes[lane] + count;
                highest[lane] = highest[lane].max(count);
                silent[lane] += u32::from(count == zero);
                often[lane] += u32::from(count >= saturated);
                *ever |= count > zero;
            }
        }
        tally.spikes += spikes.iter().map(|spikes| spikes.to_f64()).sum::<f64>();
        tally.highest = highest.iter().fold(tally.highest, |highest, of_lane| highest.max(of_lane.to_f64()));
        tally.silent += silent.iter().map(|&silent| u64::from(silent)).sum::<u64>();
        tally.saturated += often.iter().map(|&often| u64::from(often)).sum::<u64>();
    }
}
