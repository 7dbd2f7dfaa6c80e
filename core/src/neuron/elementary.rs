//! Exponentials and logarithms in `f32` that the compiler can vectorise: no branches, calls or tables.
//!
//! Results are within 3 units in the last place of the exact value (tested) and bit-identical on all instruction sets,
//! since only additions, multiplications and divisions are used, never a fused multiply-add.

const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// 2^23, the increment of the bit pattern that adds 1 to the exponent.
const BIT_OF_EXPONENT: f32 = 8_388_608.0;
/// 1.5 * 2^23: adding and subtracting it rounds to the nearest integer.
const ROUNDER: f32 = 12_582_912.0;

/// Computes `e^(x - n ln 2) - 1` and `2^n`, where `n` is the integer nearest to `x / ln 2`.
#[inline(always)]
fn reduced_exp(x: f32) -> (f32, f32) {
    let x = if x < 88.0 { x } else { 88.0 };
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let tail = 1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r * (1.0 / 5040.0))));
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32);
    (r + r * r * (0.5 + r * tail), f32::from_bits(((exponent.wrapping_add(127)) << 23) as u32))
}

/// Computes `e^x` for `x` in [-87, 88]; `x` is clamped to that range.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let (reduced, scale) = reduced_exp(x);
    scale + scale * reduced
}

/// Computes `e^x - 1`, accurate near 0, for `x` up to 88.
#[inline(always)]
pub fn exp_m1(x: f32) -> f32 {
    let (reduced, scale) = reduced_exp(x);
    scale * reduced + (scale - 1.0)
}

/// Computes `ln(1 + x)`, accurate near 0, for finite `x` above -1.
#[inline(always)]
pub fn ln_1p(x: f32) -> f32 {
    let u = 1.0 + x;
    let lost = x - (u - 1.0);
    let bits = u.to_bits() as i32;
    // Mantissa in [sqrt(1/2), sqrt(2)).
    let exponent = bits.wrapping_sub(0x3f35_04f3) >> 23;
    let mantissa = f32::from_bits(bits.wrapping_sub(exponent << 23) as u32);
    // Adds back the rounding error of the sum. (For the largest exponents there is none.)
    let shrink = if exponent < 126 { exponent } else { 126 };
    let f = (mantissa - 1.0) + lost * f32::from_bits(((127 - shrink) << 23) as u32);
    let s = f / (2.0 + f);
    // ln(1 + f) = 2s + s * series, and 2s = f - s f keeps the digits of f.
    let n = exponent as f32;
    n * LN2_HIGH + (f - s * (f - series(s)) + n * LN2_LOW)
}

/// Computes `ln(1 + 1/x)` for normal `x` above 0, accurate for large `x`, with one division where `ln_1p(1.0 / x)`
/// needs two.
#[inline(always)]
pub fn ln_1p_recip(x: f32) -> f32 {
    let u = x + 1.0;
    let bits = x.to_bits() as i32;
    // u / x = 2^exponent (1 + s) / (1 - s); the difference of the bits is nearly that of the logarithms.
    let exponent = (u.to_bits() as i32).wrapping_sub(bits).wrapping_add(0x0040_0000) & !0x007f_ffff;
    let scaled = f32::from_bits(bits.wrapping_add(exponent) as u32);
    let difference = if exponent == 0 { 1.0 } else { u - scaled };
    let s = difference / (u + scaled);
    let n = exponent as f32;
    n * (LN2_HIGH / BIT_OF_EXPONENT) + (s * (2.0 + series(s)) + n * (LN2_LOW / BIT_OF_EXPONENT))
}

/// Computes `2 atanh(s) / s - 2` for `s` up to 0.2.
#[inline(always)]
fn series(s: f32) -> f32 {
    let z = s * s;
    z * (2.0 / 3.0 + z * (2.0 / 5.0 + z * (2.0 / 7.0 + z * (2.0 / 9.0))))
}

/// Computes the largest integer not above `x` (the standard library's `floor` cannot be vectorised without SSE4.1).
#[inline(always)]
pub fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    let down = if whole > x { whole - 1.0 } else { whole };
    // From 2^23 on every number is an integer, and `i32` would soon overflow.
    if x.abs() < 8_388_608.0 { down } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error in units in the last place over a sweep of `points`.
    fn worst_ulp(points: impl Iterator<Item = f32>, ours: fn(f32) -> f32, exact: fn(f64) -> f64) -> f64 {
        points
            .map(|x| {
                let want = exact(f64::from(x));
                let ulp =
                    f64::from((want as f32).abs().next_up() - (want as f32).abs()).max(f64::from(f32::MIN_POSITIVE));
                ((f64::from(ours(x)) - want) / ulp).abs()
            })
            .fold(0.0, f64::max)
    }

    fn sweep(low: f32, high: f32) -> impl Iterator<Item = f32> {
        (0..=200_000).map(move |i| low + (high - low) * i as f32 / 200_000.0)
    }

    fn tiny_to_large() -> impl Iterator<Item = f32> {
        (-360..=360).map(|i| 10f32.powf(i as f32 / 10.0))
    }

    #[test]
    fn exponentials_are_within_three_units_in_the_last_place() {
        assert!(worst_ulp(sweep(-86.0, 88.0), exp, f64::exp) < 3.0);
        assert!(worst_ulp(sweep(-20.0, 20.0), exp_m1, f64::exp_m1) < 3.0);
        assert!(worst_ulp(sweep(-0.1, 0.1), exp_m1, f64::exp_m1) < 3.0);
        assert!(worst_ulp(tiny_to_large().map(|x| -x).filter(|x| *x > -80.0), exp_m1, f64::exp_m1) < 3.0);
    }

    #[test]
    fn the_logarithm_is_within_three_units_in_the_last_place() {
        assert!(worst_ulp(sweep(-0.999, 1.0), ln_1p, f64::ln_1p) < 3.0);
        assert!(worst_ulp(sweep(-0.01, 0.01), ln_1p, f64::ln_1p) < 3.0);
        assert!(worst_ulp(tiny_to_large(), ln_1p, f64::ln_1p) < 3.0);
    }

    #[test]
    fn the_logarithm_of_one_and_a_reciprocal_is_within_three_units_in_the_last_place() {
        let exact = |x: f64| (1.0 / x).ln_1p();
        assert!(worst_ulp(sweep(1e-6, 1.0), ln_1p_recip, exact) < 3.0);
        assert!(worst_ulp(sweep(0.3, 20.0), ln_1p_recip, exact) < 3.0);
        assert!(worst_ulp(tiny_to_large(), ln_1p_recip, exact) < 3.0);
    }

    #[test]
    fn floor_is_exact() {
        for x in sweep(-50.0, 50.0).chain([0.0, -0.0, 8_388_607.5, -8_388_607.5, 1e30, -1e30]) {
            assert_eq!(floor(x), x.floor());
        }
    }
}
