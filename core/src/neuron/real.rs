//! The arithmetic that neuron models are written in.

use std::ops::{Add, Div, Mul, Neg, Sub};

use super::elementary;

/// A number type that neuron models compute with. Implemented by this crate only.
///
/// A model's formula is written once, generic over `Real`, and runs as `f32` and `f64` (inlined into the fused CPU
/// kernels, where the compiler turns it into vector instructions), as [`Traced`](super::Traced) (recorded, then
/// evaluated with tensors on any device) and as [`Dual`](super::Dual) (with its derivatives). There is no branching on
/// values, only [`select`](Real::select): both sides are computed, and the value of the unselected side (NaN included)
/// does not matter.
pub trait Real:
    sealed::Sealed
    + Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The result of a comparison.
    type Mask: Copy;

    /// Creates a constant.
    fn constant(value: f64) -> Self;
    /// Computes `e^self`.
    fn exp(self) -> Self;
    /// Computes `e^self - 1`, accurate near 0.
    fn exp_m1(self) -> Self;
    /// Computes `ln(1 + self)`, accurate near 0.
    fn ln_1p(self) -> Self;
    /// Computes `ln(1 + 1/self)` for `self` above 0, accurate for large `self`.
    fn ln_1p_recip(self) -> Self {
        (Self::constant(1.0) / self).ln_1p()
    }
    /// Computes the largest integer not above `self`.
    fn floor(self) -> Self;
    /// Computes the absolute value.
    fn abs(self) -> Self;
    /// Returns the larger of the two.
    fn max(self, other: Self) -> Self;
    /// Returns the smaller of the two.
    fn min(self, other: Self) -> Self;
    /// Compares `self > other`.
    fn greater(self, other: Self) -> Self::Mask;
    /// Returns `if_true` where `mask` is true, otherwise `if_false`.
    fn select(mask: Self::Mask, if_true: Self, if_false: Self) -> Self;
    /// The same number, through which no gradient flows.
    fn detach(self) -> Self;

    /// Limits the number to the largest finite number of the type, so that results computed from it stay finite.
    #[inline(always)]
    fn finite(self) -> Self {
        self.min(Self::constant(f64::from(f32::MAX)))
    }
}

macro_rules! float {
    ($float:ty, $exp:path, $exp_m1:path, $ln_1p:path, $ln_1p_recip:expr, $floor:path) => {
        impl Real for $float {
            type Mask = bool;
            #[inline(always)]
            fn constant(value: f64) -> Self {
                value as $float
            }
            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn exp_m1(self) -> Self {
                $exp_m1(self)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                $ln_1p(self)
            }
            #[inline(always)]
            fn ln_1p_recip(self) -> Self {
                $ln_1p_recip(self)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                $floor(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$float>::abs(self)
            }
            // Comparisons rather than `f32::max`: one vector instruction, and a NaN as first operand yields the second.
            #[inline(always)]
            fn max(self, other: Self) -> Self {
                if self > other { self } else { other }
            }
            #[inline(always)]
            fn min(self, other: Self) -> Self {
                if self < other { self } else { other }
            }
            #[inline(always)]
            fn greater(self, other: Self) -> bool {
                self > other
            }
            #[inline(always)]
            fn select(mask: bool, if_true: Self, if_false: Self) -> Self {
                if mask { if_true } else { if_false }
            }
            #[inline(always)]
            fn detach(self) -> Self {
                self
            }
        }
    };
}

float!(f32, elementary::exp, elementary::exp_m1, elementary::ln_1p, elementary::ln_1p_recip, elementary::floor);
float!(f64, f64::exp, f64::exp_m1, f64::ln_1p, |x: f64| x.recip().ln_1p(), f64::floor);

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for crate::neuron::Traced {}
    impl<R: super::Real, const N: usize> Sealed for crate::neuron::Dual<R, N> {}
}
