//! The output of a network over time.

use crate::kernels::Number;

/// The output of a network over time for one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Response<R> {
    pub(super) outputs: usize,
    pub(super) values: Vec<R>,
}

impl<R: Number> Response<R> {
    /// How many timesteps it took.
    pub fn steps(&self) -> usize {
        self.values.len() / self.outputs.max(1)
    }

    /// The output at each step, in the order of the output's shape.
    pub fn over_time(&self) -> impl Iterator<Item = &[R]> {
        self.values.chunks_exact(self.outputs.max(1))
    }

    /// The output at the last step.
    pub fn last(&self) -> &[R] {
        &self.values[self.values.len() - self.outputs..]
    }

    /// The index of the highest output at the last step (the first of equals).
    pub fn prediction(&self) -> usize {
        highest(self.last())
    }
}

/// The index of the highest value, the first of equals.
pub fn highest<R: PartialOrd>(values: &[R]) -> usize {
    (0..values.len()).reduce(|best, index| if values[index] > values[best] { index } else { best }).unwrap_or(0)
}

/// By how much the best output leads; nothing where there is only one.
pub fn lead<R: Number>(values: &[R]) -> Option<f64> {
    let (best, second) = values.iter().fold((f64::NEG_INFINITY, f64::NEG_INFINITY), |(best, second), value| {
        let value = value.to_f64();
        if value > best { (value, best) } else { (best, second.max(value)) }
    });
    (values.len() > 1).then_some(best - second)
}

/// A [`Response`] with what was probed.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded<R> {
    /// The output over time.
    pub response: Response<R>,
    /// Of each probe, in the order of the probes, what it recorded: `[steps, S]`, or `[S]` for a spike count, where `S` is the
    /// shape of the probe's layer.
    pub probed: Vec<Vec<R>>,
}
