//! The plotting area: axes, ticks, grid, and traces through points.

use super::canvas::{Anchor, Canvas, Rect, Stroke, Type};
use super::scale::{Scale, Tick};
use super::style::{AXIS, GRID, LABEL, MUTED, TICK};
use super::text::{self, coordinate as c};

/// Room below a plotting area for tick labels and the axis label.
pub(super) const X_AXIS_HEIGHT: f64 = 42.0;
/// Pixels an axis leaves to a tick, about.
const X_TICK_SPACING: f64 = 54.0;
const Y_TICK_SPACING: f64 = 42.0;

/// How points are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    Straight,
    Held,
    None,
}

/// A plotting area with its two scales.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub area: Rect,
    pub x: Scale,
    pub y: Scale,
}

impl Frame {
    /// Vertical grid lines, and with `label` the tick labels and the axis label too.
    pub fn draw_x_axis(&self, canvas: &mut Canvas, label: Option<&str>, whole: bool) {
        let area = self.area;
        let mut free_from = f64::NEG_INFINITY;
        for Tick { pixel, label: number } in x_ticks(&self.x, area.width, whole) {
            canvas.line((pixel, area.top), (pixel, area.bottom()), Stroke::solid(GRID, 1.0));
            let half = text::width(&number, TICK, false) / 2.0;
            if label.is_some() && pixel - half > free_from {
                let set = Type::new(TICK).colour(MUTED).anchor(Anchor::Middle);
                canvas.text((pixel, area.bottom() + 17.0), &number, set);
                free_from = pixel + half + 6.0;
            }
        }
        if let Some(label) = label {
            let label = text::fit(label, LABEL, false, area.width);
            let middle = area.left + area.width / 2.0;
            canvas.text((middle, area.bottom() + 36.0), &label, Type::new(LABEL).anchor(Anchor::Middle));
        }
    }

    /// Horizontal grid lines, tick labels left of the area, and the axis label left of those.
    pub fn draw_y_axis(&self, canvas: &mut Canvas, label: &str) {
        let area = self.area;
        let ticks = y_ticks(&self.y);
        for Tick { pixel, label } in &ticks {
            canvas.line((area.left, *pixel), (area.right(), *pixel), Stroke::solid(GRID, 1.0));
            let set = Type::new(TICK).colour(MUTED).anchor(Anchor::End);
            canvas.text((area.left - 8.0, pixel + 0.35 * TICK), label, set);
        }
        let x = area.left - widest(&ticks) - 18.0;
        let label = text::fit(label, LABEL, false, area.height + 20.0);
        let set = Type::new(LABEL).anchor(Anchor::Middle).upwards();
        canvas.text((x, area.top + area.height / 2.0), &label, set);
    }

    /// The left and bottom border, over grid and traces.
    pub fn draw_border(&self, canvas: &mut Canvas) {
        let Rect { left, top, .. } = self.area;
        let (right, bottom) = (self.area.right(), self.area.bottom());
        let data = format!("M{} {}V{}H{}", c(left), c(top), c(bottom), c(right));
        canvas.path(&data, Stroke::solid(AXIS, 1.0));
    }

    /// Path data through `points`. A point without a place on the axes breaks the line.
    pub fn trace(&self, points: &[(f64, f64)], joint: Joint) -> String {
        let mut data = String::new();
        let mut pen: Option<(String, String)> = None;
        for &(x, y) in points {
            let (Some(x), Some(y)) = (self.x.pixel(x), self.y.pixel(y)) else {
                pen = None;
                continue;
            };
            if joint == Joint::None && !self.shows(x, y) {
                continue;
            }
            let next = (c(x), c(y));
            if pen.as_ref() == Some(&next) {
                continue;
            }
            let (x, y) = &next;
            data += &match joint {
                Joint::Straight if pen.is_some() => format!("L{x} {y}"),
                Joint::Held if pen.is_some() => format!("H{x}V{y}"),
                // With round ends a line of no length is a dot.
                _ => format!("M{x} {y}h0"),
            };
            pen = Some(next);
        }
        data
    }

    fn shows(&self, x: f64, y: f64) -> bool {
        let area = self.area;
        (area.left - 1.0..=area.right() + 1.0).contains(&x) && (area.top - 1.0..=area.bottom() + 1.0).contains(&y)
    }
}

/// Room left of a plotting area for the tick labels of `scale` and, if there is one, the axis label.
pub(super) fn y_axis_width(scale: &Scale, label: &str) -> f64 {
    widest(&y_ticks(scale)) + if label.is_empty() { 12.0 } else { 32.0 }
}

fn y_ticks(scale: &Scale) -> Vec<Tick> {
    scale.ticks((scale.to - scale.from).abs() / Y_TICK_SPACING, false)
}

fn x_ticks(scale: &Scale, width: f64, whole: bool) -> Vec<Tick> {
    let ticks = scale.ticks(width / X_TICK_SPACING, whole);
    let spacing = widest(&ticks) + 16.0;
    if spacing > X_TICK_SPACING { scale.ticks(width / spacing, whole) } else { ticks }
}

fn widest(ticks: &[Tick]) -> f64 {
    ticks.iter().map(|tick| text::width(&tick.label, TICK, false)).fold(0.0, f64::max)
}
