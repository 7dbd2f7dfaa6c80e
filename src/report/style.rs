//! Colours, line widths and type sizes shared by all figures.

/// Ten colours told apart with any colour vision, in the order of Petroff, "Accessible color sequences for data
/// visualization" (2021), found by a search that keeps them distinct under simulated deficiencies.
pub(super) const PALETTE: [&str; 10] =
    ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];

/// Dash patterns that tell apart the series sharing a colour.
const DASHES: [&str; 4] = ["", "6 3", "2 3", "8 3 2 3"];

pub(super) const INK: &str = "#1d2329";
pub(super) const MUTED: &str = "#5a646e";
pub(super) const AXIS: &str = "#59636e";
pub(super) const GRID: &str = "#e4e7eb";
pub(super) const SPIKE: &str = "#24425f";
/// Right and wrong; always said in words too.
pub(super) const RIGHT: &str = "#12753a";
pub(super) const WRONG: &str = "#b3261e";

/// Type sizes in CSS pixels.
pub(super) const TITLE: f64 = 17.0;
pub(super) const LABEL: f64 = 12.5;
pub(super) const TICK: f64 = 11.5;

/// Colour and dash pattern of the `index`-th series.
pub(super) fn series_style(index: usize) -> (&'static str, &'static str) {
    (PALETTE[index % PALETTE.len()], DASHES[index / PALETTE.len() % DASHES.len()])
}
