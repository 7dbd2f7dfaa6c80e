//! Spikes as ticks, one row a neuron.

use super::canvas::{Anchor, Canvas, Type};
use super::frame::Frame;
use super::simulation::RasterLayer;
use super::style::{LABEL, MUTED, SPIKE};
use super::text::coordinate as c;

/// A tick is at most so many pixels wide, and at most this share of a step.
const TICK_WIDTH: f64 = 2.0;
const STEP_SHARE: f64 = 0.6;
/// A tick takes this share of its row, but is at least so many pixels high: a single spike must be seen.
const ROW_SHARE: f64 = 0.8;
const TICK_HEIGHT: f64 = 3.0;

/// Draws the spikes of `layer` as a single path; a spike counts at the end of its step of `step` time units.
pub(super) fn draw_raster(canvas: &mut Canvas, frame: &Frame, layer: &RasterLayer, steps: usize, step: f64) {
    let area = frame.area;
    let inside = |&&(at, row): &&(u32, u32)| (at as usize) < steps && (row as usize) < layer.shown;
    let row_height = (area.height - TICK_HEIGHT) / layer.shown.max(1) as f64;
    let length = ROW_SHARE.max(TICK_HEIGHT / row_height);
    // In units of steps and rows, the path is a third as long as in pixels.
    let tick = format!("v{}", c(length));
    let data: String = layer.spikes.iter().filter(inside).map(|(at, row)| format!("M{at} {row}{tick}")).collect();
    if data.is_empty() {
        let middle = (area.left + area.width / 2.0, area.top + area.height / 2.0 + 0.35 * LABEL);
        let note = if layer.shown == 0 { "no neurons shown" } else { "no spikes" };
        canvas.text(middle, note, Type::new(LABEL).colour(MUTED).anchor(Anchor::Middle));
        return;
    }
    let (Some(first), Some(second)) = (frame.x.pixel(step), frame.x.pixel(2.0 * step)) else { return };
    let step_width = second - first;
    let width = STEP_SHARE.min(TICK_WIDTH / step_width);
    canvas.element(&format!(
        r#"<path transform="translate({} {}) scale({step_width:.5} {row_height:.5})" d="{data}" fill="none" stroke="{SPIKE}" stroke-width="{width:.4}"/>"#,
        c(first),
        c(area.top + 0.5 * TICK_HEIGHT + 0.5 * (1.0 - length) * row_height),
    ));
}
