//! From values to pixels, and the round numbers along an axis.

use super::text::{group_thousands, power_of_ten};

/// Larger magnitudes are as good as infinite: their differences overflow.
const LARGEST: f64 = 1e300;

/// Maps the values `low..=high` of an axis to the pixels `from..=to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    pub low: f64,
    pub high: f64,
    pub logarithmic: bool,
    pub from: f64,
    pub to: f64,
}

/// A labelled position on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub pixel: f64,
    pub label: String,
}

/// Whether a value has a place on such an axis at all.
pub(super) fn drawable(value: f64, logarithmic: bool) -> bool {
    value.abs() <= LARGEST && (!logarithmic || value > 1.0 / LARGEST)
}

/// The least and greatest drawable value.
pub(super) fn extent(values: impl Iterator<Item = f64>, logarithmic: bool) -> Option<(f64, f64)> {
    values.filter(|&value| drawable(value, logarithmic)).fold(None, |extent, value| {
        extent.map_or(Some((value, value)), |(low, high): (f64, f64)| Some((low.min(value), high.max(value))))
    })
}

/// `extent` widened by the share `margin` on both sides, and to something visible if all values are the same. Where
/// values come near zero from above, a range with a margin starts at zero.
pub(super) fn padded((low, high): (f64, f64), margin: f64, logarithmic: bool) -> (f64, f64) {
    if logarithmic {
        let (low, high) = (low.log10(), high.log10());
        let pad = if high - low < 1e-6 { 0.5 } else { margin * (high - low) };
        return (10f64.powf(low - pad), 10f64.powf(high + pad));
    }
    let magnitude = low.abs().max(high.abs());
    if high - low <= 1e-9 * magnitude || magnitude == 0.0 {
        let pad = if magnitude == 0.0 { 1.0 } else { 0.1 * magnitude };
        return (if low == 0.0 { 0.0 } else { low - pad }, high + pad);
    }
    let pad = margin * (high - low);
    let near_zero = margin > 0.0 && (0.0..0.35 * high).contains(&low);
    (if near_zero { 0.0 } else { low - pad }, high + pad)
}

impl Scale {
    /// The pixel of `value`, which may lie beyond the ends; none for one that is not [`drawable`].
    pub fn pixel(&self, value: f64) -> Option<f64> {
        if !drawable(value, self.logarithmic) {
            return None;
        }
        let share = if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        // Far outside is outside: drawing programs differ in how large a coordinate they stand.
        Some(self.from + share.clamp(-10.0, 10.0) * (self.to - self.from))
    }

    /// About `count` ticks at 1, 2 or 5 times a power of ten; whole numbers only if `whole`.
    pub fn ticks(&self, count: f64, whole: bool) -> Vec<Tick> {
        let logarithmic = if self.logarithmic { self.logarithmic_ticks(count) } else { Vec::new() };
        if logarithmic.len() < 2 { self.linear_ticks(count, whole) } else { logarithmic }
    }

    fn tick(&self, value: f64, label: String) -> Option<Tick> {
        Some(Tick { pixel: self.pixel(value)?, label })
    }

    fn linear_ticks(&self, count: f64, whole: bool) -> Vec<Tick> {
        let span = self.high - self.low;
        let step = round_step(span / count.max(1.0)).max(if whole { 1.0 } else { 0.0 });
        let magnitude = self.low.abs().max(self.high.abs());
        let first = (self.low / step - 1e-6).ceil();
        let inside = |index: u32| Some((first + f64::from(index)) * step).filter(|&v| v <= self.high + 1e-6 * step);
        (0..100).map_while(inside).filter_map(|value| self.tick(value, number(value, step, magnitude))).collect()
    }

    fn logarithmic_ticks(&self, count: f64) -> Vec<Tick> {
        let (first, last) = ((self.low.log10() - 1e-9).ceil() as i32, (self.high.log10() + 1e-9).floor() as i32);
        let stride = (f64::from(last - first) / count.max(1.0)).ceil().max(1.0) as usize;
        let factors: &[f64] = if last - first >= 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let label = |exponent: i32, value: f64| match exponent {
            -3..=3 => group_thousands(&format!("{value:.*}", (-exponent).max(0) as usize)),
            _ if factors.len() == 1 => power_of_ten(exponent),
            _ => number(value, 10f64.powi(exponent), value),
        };
        (first - 1..=last)
            .filter(|exponent| ((exponent - first).unsigned_abs() as usize).is_multiple_of(stride))
            .flat_map(|exponent| factors.iter().map(move |factor| (exponent, factor * 10f64.powi(exponent))))
            .filter(|&(_, value)| value >= self.low * (1.0 - 1e-9) && value <= self.high * (1.0 + 1e-9))
            .filter_map(|(exponent, value)| self.tick(value, label(exponent, value)))
            .collect()
    }
}

/// The least of 1, 2 and 5 times a power of ten that is no less than `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= step * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

/// A tick's label: as many decimals as `step` needs, with a power of ten where the axis reaches `magnitude` far from 1.
fn number(value: f64, step: f64, magnitude: f64) -> String {
    let decimals = |step: f64| (-(step.log10() + 1e-9).floor()).clamp(0.0, 15.0) as usize;
    if value == 0.0 || (1e-3..1e6).contains(&magnitude) {
        let text = if value == 0.0 { "0".to_owned() } else { format!("{value:.*}", decimals(step)) };
        return group_thousands(&text);
    }
    let exponent = magnitude.log10().floor() as i32;
    let unit = 10f64.powi(exponent);
    let mantissa = group_thousands(&format!("{:.*}", decimals(step / unit), value / unit));
    format!("{mantissa}×{}", power_of_ten(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, logarithmic: bool, count: f64) -> Vec<String> {
        let scale = Scale { low, high, logarithmic, from: 0.0, to: 100.0 };
        scale.ticks(count, false).into_iter().map(|tick| tick.label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_inside_the_range() {
        assert_eq!(labels(0.0, 1.0, false, 5.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(-3.0, 7.0, false, 4.0), ["0", "5"]);
        assert_eq!(labels(97.13, 98.97, false, 4.0), ["97.5", "98.0", "98.5"]);
        assert_eq!(labels(0.0, 25_000.0, false, 3.0), ["0", "10,000", "20,000"]);
        assert_eq!(labels(0.0, 3e-5, false, 3.0), ["0", "1×10⁻⁵", "2×10⁻⁵", "3×10⁻⁵"]);
        assert_eq!(labels(1.0, 1e6, true, 10.0), ["1", "10", "100", "1,000", "10⁴", "10⁵", "10⁶"]);
        assert_eq!(labels(0.03, 0.3, true, 10.0), ["0.05", "0.1", "0.2"]);
    }

    #[test]
    fn any_range_yields_finitely_many_ticks_within_it() {
        for (low, high) in [(1.0, 1.0 + 1e-8), (-1e300, 1e300), (0.0, 1e-300), (1e15, 1.1e15), (5.0, 5.5)] {
            let (low, high) = padded((low, high), 0.05, false);
            let scale = Scale { low, high, logarithmic: false, from: 10.0, to: 90.0 };
            let ticks = scale.ticks(6.0, false);
            assert!((1..=20).contains(&ticks.len()), "{low} to {high}: {ticks:?}");
            assert!(ticks.iter().all(|tick| (9.9..90.1).contains(&tick.pixel)), "{low} to {high}: {ticks:?}");
        }
    }

    #[test]
    fn extent_passes_over_what_cannot_be_drawn() {
        let values = [f64::NAN, 3.0, f64::INFINITY, -1.0, 0.0];
        assert_eq!(extent(values.into_iter(), false), Some((-1.0, 3.0)));
        assert_eq!(extent(values.into_iter(), true), Some((3.0, 3.0)));
        assert_eq!(extent([f64::NAN].into_iter(), false), None);
    }

    #[test]
    fn constant_values_get_a_visible_range() {
        assert_eq!(padded((0.0, 0.0), 0.05, false), (0.0, 1.0));
        let (low, high) = padded((0.9, 0.9), 0.05, false);
        assert!(low < 0.9 && high > 0.9);
    }
}
