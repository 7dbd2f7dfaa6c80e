//! The spike as an explicit operation.
//!
//! A model passes the distance to its threshold to a [`Fire`] and gets the spike back. The derivative used for that
//! step (a surrogate) is therefore not part of the model.

use super::dual::Dual;
use super::formula::{Operation, Traced};
use super::real::Real;
use crate::surrogate::Surrogate;

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

/// The Heaviside step with this derivative in place of its own, for training. That of [`count`](Fire::count) is 1
/// (straight through): `floor` follows its argument on average, and has no threshold that a surrogate could be centred on.
impl<R: Real, const N: usize> Fire<Dual<R, N>> for Surrogate {
    #[inline(always)]
    fn once(&self, distance: Dual<R, N>) -> Dual<R, N> {
        distance.chain(Heaviside.once(distance.value), self.derivative(distance.value))
    }
    #[inline(always)]
    fn count(&self, level: Dual<R, N>) -> Dual<R, N> {
        level.chain(level.value.floor(), R::constant(1.0))
    }
}

/// The surrogate's antiderivative as the spike, and the level itself as the count: functions whose exact derivatives are those
/// that training takes. With it, gradients can be checked against differences.
#[derive(Clone, Copy, Debug)]
pub struct Smooth(pub Surrogate);

impl Fire<f64> for Smooth {
    fn once(&self, distance: f64) -> f64 {
        self.0.antiderivative(distance)
    }
    fn count(&self, level: f64) -> f64 {
        level
    }
}

impl<R: Real, const N: usize> Fire<Dual<R, N>> for Smooth
where
    Self: Fire<R>,
{
    fn once(&self, distance: Dual<R, N>) -> Dual<R, N> {
        distance.chain(Fire::<R>::once(self, distance.value), self.0.derivative(distance.value))
    }
    fn count(&self, level: Dual<R, N>) -> Dual<R, N> {
        level.chain(Fire::<R>::count(self, level.value), R::constant(1.0))
    }
}
