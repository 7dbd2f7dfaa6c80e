//! Number types that kernels read and write.

use half::bf16;

use super::{AdvanceBlock, AdvanceGradientBlock, GradientBlock, RateBlock};
use crate::neuron::{Neuron, RateNeuron, Real};

/// A number type that kernels compute with: `f32` or `f64`.
pub trait Number: Real<Mask = bool> + Default + PartialOrd + Stored<Computed = Self> {
    /// Converts to `f64` without loss.
    #[doc(hidden)]
    fn to_f64(self) -> f64;
    #[doc(hidden)]
    fn advance(neuron: &Neuron, block: AdvanceBlock<Self>);
    #[doc(hidden)]
    fn advance_backward(neuron: &Neuron, block: AdvanceGradientBlock<Self>);
}

/// A storage type of a layer's input and output: the type that is computed with, or a shorter one (`bf16`).
pub trait Stored: Copy + std::fmt::Debug + Send + Sync + sealed::Sealed + 'static {
    /// The type that is computed with.
    type Computed: Number;
    /// Converts to the type that is computed with.
    fn load(self) -> Self::Computed;
    /// Rounds `value` to the nearest storable number.
    fn store(value: Self::Computed) -> Self;
    #[doc(hidden)]
    fn rate_forward(neuron: &(dyn RateNeuron + '_), block: RateBlock<Self>);
    #[doc(hidden)]
    fn rate_backward(neuron: &(dyn RateNeuron + '_), block: GradientBlock<Self>);
}

macro_rules! computed {
    ($float:ty, $advance:ident, $advance_backward:ident, $forward:ident, $backward:ident) => {
        impl Number for $float {
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            fn advance(neuron: &Neuron, block: AdvanceBlock<Self>) {
                neuron.$advance(block);
            }
            fn advance_backward(neuron: &Neuron, block: AdvanceGradientBlock<Self>) {
                neuron.$advance_backward(block);
            }
        }

        impl Stored for $float {
            type Computed = $float;
            #[inline(always)]
            fn load(self) -> Self {
                self
            }
            #[inline(always)]
            fn store(value: Self) -> Self {
                value
            }
            fn rate_forward(neuron: &(dyn RateNeuron + '_), block: RateBlock<Self>) {
                neuron.$forward(block);
            }
            fn rate_backward(neuron: &(dyn RateNeuron + '_), block: GradientBlock<Self>) {
                neuron.$backward(block);
            }
        }
    };
}
computed!(f32, advance_f32, advance_backward_f32, forward_f32, backward_f32);
computed!(f64, advance_f64, advance_backward_f64, forward_f64, backward_f64);

/// `bf16` is the upper half of an `f32`. (`half`'s own conversions do not vectorise.)
impl Stored for bf16 {
    type Computed = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    /// Rounds to nearest, ties to even.
    #[inline(always)]
    fn store(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        // Rounding could turn a NaN into a number.
        let nan = (bits >> 16) | 0x40;
        Self::from_bits(if value.is_nan() { nan } else { rounded } as u16)
    }
    fn rate_forward(neuron: &(dyn RateNeuron + '_), block: RateBlock<Self>) {
        neuron.forward_bf16(block);
    }
    fn rate_backward(neuron: &(dyn RateNeuron + '_), block: GradientBlock<Self>) {
        neuron.backward_bf16(block);
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for half::bf16 {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_is_rounded_as_by_the_half_crate() {
        let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-45, -1e-40];
        let ties = (0..1u32 << 16).map(|upper| f32::from_bits(upper << 16 | 0x8000));
        let between = (0..1u32 << 16).map(|upper| f32::from_bits(upper << 16 | upper.wrapping_mul(40_503) & 0xffff));
        for value in special.into_iter().chain(ties).chain(between) {
            let (ours, theirs) = (bf16::store(value), bf16::from_f32(value));
            assert!(ours == theirs || ours.is_nan() && theirs.is_nan(), "{value}: {ours} {theirs}");
        }
        for bits in 0..=u16::MAX {
            let number = bf16::from_bits(bits);
            assert!(number.is_nan() || bf16::store(number.load()) == number);
        }
    }
}
