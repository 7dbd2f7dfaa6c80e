//! What a network is given, and how it is run on it.

use super::EventError;
use crate::probe::Probe;

/// The input of a network over time, for one sample or for several.
#[derive(Clone, Copy, Debug)]
pub enum Signal<'a, R> {
    /// `[samples, input]`: the same at every timestep.
    Constant(&'a [R]),
    /// `[steps, samples, input]`: a value for each timestep.
    Varying(&'a [R]),
}

/// How to run samples.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    /// How many timesteps, also of an input that varies.
    pub steps: usize,
    /// The lead of the best output at which a sample is done.
    pub margin: Option<f64>,
    /// What to record beside the output.
    pub probes: &'a [Probe],
    /// The number of the first sample, on which the noise of noisy neurons depends.
    pub first_sample: u64,
}

impl RunOptions<'_> {
    /// All of `steps` timesteps, without probes.
    pub fn new(steps: usize) -> Self {
        Self { steps, margin: None, probes: &[], first_sample: 0 }
    }
}

impl<R> Signal<'_, R> {
    pub(super) fn is_varying(&self) -> bool {
        matches!(self, Self::Varying(_))
    }

    /// How many samples there are, of `size` values (at each timestep).
    pub(super) fn samples(&self, size: usize, steps: usize) -> Result<usize, EventError> {
        match self {
            Self::Constant(values) => match values.len().is_multiple_of(size) {
                true => Ok(values.len() / size),
                false => Err(EventError::Input { expected: size, found: values.len() }),
            },
            Self::Varying(values) => match size.checked_mul(steps) {
                Some(each) if values.len().is_multiple_of(each) => Ok(values.len() / each),
                _ => Err(EventError::Sequence { expected: size, steps, found: values.len() }),
            },
        }
    }
}
