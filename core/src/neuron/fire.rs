//! The spike as an explicit operation.
//!
//! A model passes the distance to its threshold to a [`Fire`] and gets the spike back. The derivative used for that
//! step (a surrogate) is therefore not part of the model.

use super::formula::{Operation, Traced};
use super::real::Real;

/// Converts the distance to the threshold into spikes.
pub trait Fire<R: Real> {
    /// Returns 1 if `distance` is above 0, otherwise 0.
    fn once(&self, distance: R) -> R;
    /// Returns `floor(level)`, for models that can emit several spikes per timestep.
    fn count(&self, level: R) -> R;
}

/// The Heaviside step, used in inference.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heaviside;

impl<R: Real> Fire<R> for Heaviside {
    #[inline(always)]
    fn once(&self, distance: R) -> R {
        let zero = R::constant(0.0);
        R::select(distance.greater(zero), R::constant(1.0), zero)
    }
    #[inline(always)]
    fn count(&self, level: R) -> R {
        level.floor()
    }
}

/// Records the spike as an operation of a [`Formula`](super::Formula).
#[derive(Clone, Copy, Debug, Default)]
pub struct Recorded;

impl Fire<Traced> for Recorded {
    fn once(&self, distance: Traced) -> Traced {
        distance.then(Operation::Fire)
    }
    fn count(&self, level: Traced) -> Traced {
        level.then(Operation::Count)
    }
}
