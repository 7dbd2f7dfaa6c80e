//! The numbers that kernels read and write.

use half::bf16;
use tch::Kind;

use crate::neuron::Real;

/// A number type that kernels compute with.
pub trait Element: Real + Default + tch::kind::Element + Stored<Computed = Self> {}
impl Element for f32 {}
impl Element for f64 {}

/// A number type that a layer's input and output lie in memory as: the one computed with, or a shorter one.
pub trait Stored: Copy + Send + Sync + 'static {
    /// The kind of tensors of it. (`tch::kind::Element` takes `bf16` for `Half`.)
    const TENSOR_KIND: Kind;
    /// What is computed with.
    type Computed: Element;
    /// The number itself.
    fn load(self) -> Self::Computed;
    /// The nearest number to `value` that can be stored.
    fn store(value: Self::Computed) -> Self;
}

macro_rules! stored_as_computed {
    ($float:ty, $kind:expr) => {
        impl Stored for $float {
            const TENSOR_KIND: Kind = $kind;
            type Computed = $float;
            #[inline(always)]
            fn load(self) -> Self {
                self
            }
            #[inline(always)]
            fn store(value: Self) -> Self {
                value
            }
        }
    };
}
stored_as_computed!(f32, Kind::Float);
stored_as_computed!(f64, Kind::Double);

/// The upper half of an `f32`. (The conversions are ours because those of `half` do not vectorise.)
impl Stored for bf16 {
    const TENSOR_KIND: Kind = Kind::BFloat16;
    type Computed = f32;
    #[inline(always)]
    fn load(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
    /// Rounded to nearest, ties to even.
    #[inline(always)]
    fn store(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        // Rounding could carry a NaN over into a number.
        let nan = (bits >> 16) | 0x40;
        Self::from_bits(if value.is_nan() { nan } else { rounded } as u16)
    }
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
