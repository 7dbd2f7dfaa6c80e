//! Counting over images: right answers at each step, spikes of each layer.

use crate::engine::event::{highest, lead};
use crate::kernels::Number;

/// Sums over the images seen so far: whole numbers, so that the order in which threads add them does not matter.
#[derive(Default)]
pub(super) struct Tally {
    /// Images classified right at each step.
    pub(super) right: Vec<u64>,
    /// Steps until the answer, of all images.
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
    /// Adds an image's spike counts, of neurons that can spike at most `most` times (infinite for those without a bound).
    pub(super) fn add<'a, R: Number>(&mut self, counts: impl Iterator<Item = &'a [R]>, most: f64) {
        let (zero, saturated) = (R::default(), R::constant(0.95 * most));
        let mut start = 0;
        for counts in counts {
            let end = start + counts.len();
            if self.ever.len() < end {
                self.ever.resize(end, false);
            }
            let (mut spikes, mut highest, mut silent, mut often) = (zero, zero, 0, 0);
            for (&count, ever) in counts.iter().zip(&mut self.ever[start..end]) {
                spikes = spikes + count;
                highest = highest.max(count);
                silent += u32::from(count == zero);
                often += u32::from(count >= saturated);
                *ever |= count > zero;
            }
            self.spikes += spikes.to_f64();
            self.highest = self.highest.max(highest.to_f64());
            self.silent += u64::from(silent);
            self.saturated += u64::from(often);
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
