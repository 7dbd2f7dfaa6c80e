//! Derivatives, forward mode: numbers that carry them along.

use std::array::from_fn;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::Real;

/// A number and its partial derivatives with respect to `N` variables.
///
/// Computing with it computes the derivatives too, by the chain rule. Where a function has none, as usual: the derivative of
/// [`floor`](Real::floor) is 0, that of [`abs`](Real::abs) at 0 is 0, and [`max`](Real::max), [`min`](Real::min) and
/// [`select`](Real::select) have those of the number they give. What is not selected does not matter, NaN included. (What is
/// selected must be finite: infinity times a constant has the derivative NaN.)
///
/// ```
/// use tch_spiking_core::neuron::{Dual, Lif, NeuronModel, StepInput};
/// use tch_spiking_core::surrogate::Surrogate;
///
/// // The derivatives of one step with respect to the current and the voltage.
/// let (current, voltage) = (Dual::variable(2.0, 0), Dual::variable(0.5, 1));
/// let mut state = [voltage, Dual::<f64, 2>::from(0.0)];
/// let output = Lif::default().step(StepInput::new(current, 0.001), &mut state, &Surrogate::default());
/// assert_eq!(output.value, 0.0);
/// assert!(output.partials[0] > 0.0); // the surrogate's
/// assert!((state[0].partials[1] - (-0.001_f64 / 0.02).exp()).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dual<R, const N: usize> {
    /// The number.
    pub value: R,
    /// Its derivative with respect to each variable.
    pub partials: [R; N],
}

impl<R: Real, const N: usize> Dual<R, N> {
    /// The variable numbered `index`, from 0: its derivative with respect to itself is 1.
    #[inline(always)]
    pub fn variable(value: R, index: usize) -> Self {
        Self { value, partials: from_fn(|other| R::constant(if other == index { 1.0 } else { 0.0 })) }
    }

    /// `value`, a function of `self` whose derivative is `slope`.
    #[inline(always)]
    pub(super) fn chain(self, value: R, slope: R) -> Self {
        Self { value, partials: self.partials.map(|partial| partial * slope) }
    }
}

/// A number that depends on no variable.
impl<R: Real, const N: usize> From<R> for Dual<R, N> {
    #[inline(always)]
    fn from(value: R) -> Self {
        Self { value, partials: [R::constant(0.0); N] }
    }
}

impl<R: Real, const N: usize> Add for Dual<R, N> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self { value: self.value + other.value, partials: from_fn(|i| self.partials[i] + other.partials[i]) }
    }
}

impl<R: Real, const N: usize> Sub for Dual<R, N> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, partials: from_fn(|i| self.partials[i] - other.partials[i]) }
    }
}

impl<R: Real, const N: usize> Mul for Dual<R, N> {
    type Output = Self;
    #[inline(always)]
    #[expect(clippy::suspicious_arithmetic_impl, reason = "the product rule")]
    fn mul(self, other: Self) -> Self {
        let partials = from_fn(|i| self.partials[i] * other.value + self.value * other.partials[i]);
        Self { value: self.value * other.value, partials }
    }
}

impl<R: Real, const N: usize> Div for Dual<R, N> {
    type Output = Self;
    #[inline(always)]
    #[expect(clippy::suspicious_arithmetic_impl, reason = "the quotient rule")]
    fn div(self, other: Self) -> Self {
        let value = self.value / other.value;
        Self { value, partials: from_fn(|i| (self.partials[i] - value * other.partials[i]) / other.value) }
    }
}

impl<R: Real, const N: usize> Neg for Dual<R, N> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { value: -self.value, partials: self.partials.map(Neg::neg) }
    }
}

impl<R: Real, const N: usize> Real for Dual<R, N> {
    type Mask = R::Mask;
    #[inline(always)]
    fn constant(value: f64) -> Self {
        Self::from(R::constant(value))
    }
    #[inline(always)]
    fn exp(self) -> Self {
        let value = self.value.exp();
        self.chain(value, value)
    }
    #[inline(always)]
    fn exp_m1(self) -> Self {
        self.chain(self.value.exp_m1(), self.value.exp())
    }
    #[inline(always)]
    fn ln_1p(self) -> Self {
        let one = R::constant(1.0);
        self.chain(self.value.ln_1p(), one / (one + self.value))
    }
    #[inline(always)]
    fn ln_1p_recip(self) -> Self {
        let one = R::constant(1.0);
        self.chain(self.value.ln_1p_recip(), -(one / (self.value * (self.value + one))))
    }
    #[inline(always)]
    fn floor(self) -> Self {
        Self::from(self.value.floor())
    }
    #[inline(always)]
    fn abs(self) -> Self {
        let (zero, one) = (R::constant(0.0), R::constant(1.0));
        let (above, below) = (self.value.greater(zero), zero.greater(self.value));
        self.chain(self.value.abs(), R::select(above, one, R::select(below, -one, zero)))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        Self::select(self.value.greater(other.value), self, other)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        Self::select(other.value.greater(self.value), self, other)
    }
    #[inline(always)]
    fn greater(self, other: Self) -> R::Mask {
        self.value.greater(other.value)
    }
    #[inline(always)]
    fn select(mask: R::Mask, if_true: Self, if_false: Self) -> Self {
        Self {
            value: R::select(mask, if_true.value, if_false.value),
            partials: from_fn(|i| R::select(mask, if_true.partials[i], if_false.partials[i])),
        }
    }
    #[inline(always)]
    fn detach(self) -> Self {
        Self::from(self.value.detach())
    }
}
