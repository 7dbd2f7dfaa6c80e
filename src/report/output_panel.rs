//! The filtered output of every class over time, each class named at the end of its line.

use super::canvas::{Canvas, Rect, Stroke, Type};
use super::frame::{Frame, Joint, y_axis_width};
use super::scale::{Scale, extent, padded};
use super::simulation::SimulationFigure;
use super::style::{LABEL, MUTED, RIGHT, TICK, series_style};
use super::text;

const AXIS_LABEL: &str = "filtered output";
/// Class names at the ends of their lines: the distance between two, and how wide one may be.
const NAME_HEIGHT: f64 = 16.5;
const NAME_WIDTH: f64 = 130.0;
const LEADER: f64 = 22.0;

/// How a class's line is set apart; lines of higher rank lie on top.
struct Emphasis {
    colour: &'static str,
    dash: &'static str,
    width: f64,
    rank: u8,
}

/// Draws the output of `figure` into `area`, axes, lines and names; returns the plotting area, whose horizontal scale
/// other panels may share.
pub(super) fn draw_output(canvas: &mut Canvas, area: Rect, figure: &SimulationFigure) -> Frame {
    let frame = output_frame(area, figure);
    frame.draw_x_axis(canvas, figure.layers.is_empty().then_some(figure.time_unit().1), false);
    frame.draw_y_axis(canvas, AXIS_LABEL);
    frame.draw_border(canvas);
    draw_lines(canvas, &frame, figure);
    name_lines(canvas, &frame, figure);
    frame
}

fn output_frame(area: Rect, figure: &SimulationFigure) -> Frame {
    let values = figure.output.iter().flatten().map(|&value| f64::from(value));
    let (low, high) = extent(values, false).map_or((0.0, 1.0), |extent| padded(extent, 0.06, false));
    let y = Scale { low, high, logarithmic: false, from: area.bottom(), to: area.top };
    let widest = (0..figure.classes())
        .map(|class| text::width(&line_name(figure, class), LABEL, emphasis(figure, class).rank > 0))
        .fold(0.0, f64::max);
    let left = area.left + y_axis_width(&y, AXIS_LABEL);
    let right = area.right() - LEADER - widest;
    let steps = figure.steps() as f64 + 0.5;
    let x = Scale { low: 0.0, high: steps * figure.time_unit().0, logarithmic: false, from: left, to: right };
    Frame { area: Rect { left, width: right - left, ..area }, x, y }
}

/// One line a class, those that stand out on top; a value counts at the end of its step.
fn draw_lines(canvas: &mut Canvas, frame: &Frame, figure: &SimulationFigure) {
    let step = figure.time_unit().0;
    let mut order: Vec<usize> = (0..figure.classes()).collect();
    order.sort_by_key(|&class| emphasis(figure, class).rank);
    for class in order {
        let value = |outputs: &Vec<f32>| outputs.get(class).map_or(f64::NAN, |&value| value.into());
        let points: Vec<_> =
            figure.output.iter().enumerate().map(|(k, outputs)| ((k + 1) as f64 * step, value(outputs))).collect();
        let Emphasis { colour, dash, width, .. } = emphasis(figure, class);
        // A single point as small as a line is thin would hardly be seen.
        let width = if points.len() == 1 { 2.0 * width } else { width };
        canvas.path(&frame.trace(&points, Joint::Straight), Stroke { colour, width, dash });
    }
}

/// Names the classes at the ends of their lines, greatest output first, as many as there is room for.
fn name_lines(canvas: &mut Canvas, frame: &Frame, figure: &SimulationFigure) {
    let Some(last) = figure.output.last() else { return };
    let end = |class: usize| last.get(class).and_then(|&value| frame.y.pixel(value.into()));
    let mut ends: Vec<(usize, f64)> = (0..figure.classes()).filter_map(|class| Some((class, end(class)?))).collect();
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let room = (frame.area.height / NAME_HEIGHT) as usize;
    let hidden = if ends.len() > room { ends.len() - (room - 1) } else { 0 };
    ends.truncate(ends.len() - hidden);

    let mut wanted: Vec<f64> = ends.iter().map(|end| end.1).collect();
    if hidden > 0 {
        wanted.push(frame.area.bottom());
    }
    let places = spread(&wanted, frame.area.top, frame.area.bottom());
    let right = frame.area.right();
    let line_end = frame.x.pixel(figure.output.len() as f64 * figure.time_unit().0).unwrap_or(right);
    for (&(class, y), &place) in ends.iter().zip(&places) {
        let Emphasis { colour, rank, .. } = emphasis(figure, class);
        let leader =
            [(line_end + 3.0, y), (right + 2.0, y), (right + LEADER - 9.0, place), (right + LEADER - 5.0, place)];
        let data: Vec<String> =
            leader.iter().map(|(x, y)| format!("{} {}", text::coordinate(*x), text::coordinate(*y))).collect();
        canvas.path(&format!("M{}", data.join("L")), Stroke::solid(colour, if rank > 0 { 1.6 } else { 0.9 }));
        let set = Type::new(LABEL);
        let set = if rank > 0 { set.bold().colour(colour) } else { set.colour(MUTED) };
        canvas.text((right + LEADER, place + 0.35 * LABEL), &line_name(figure, class), set);
    }
    if let (true, Some(place)) = (hidden > 0, places.last()) {
        let more = format!("+ {} more", text::thousands(hidden));
        canvas.text((right + LEADER, place + 0.35 * TICK), &more, Type::new(TICK).colour(MUTED));
    }
}

/// Moves ascending places apart until neighbours are [`NAME_HEIGHT`] from each other, within `top..=bottom`.
fn spread(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut places = wanted.to_vec();
    let mut least = top;
    for place in &mut places {
        *place = place.max(least);
        least = *place + NAME_HEIGHT;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - NAME_HEIGHT;
    }
    places
}

/// Prediction and true class stand out, in the colours of the verdict.
fn emphasis(figure: &SimulationFigure, class: usize) -> Emphasis {
    let (colour, dash) = series_style(class);
    if figure.prediction() == Some(class) {
        Emphasis { colour: figure.verdict_colour(), dash: "", width: 3.4, rank: 2 }
    } else if figure.label == Some(class) {
        Emphasis { colour: RIGHT, dash: "", width: 2.6, rank: 1 }
    } else {
        Emphasis { colour, dash, width: 1.6, rank: 0 }
    }
}

/// What stands at the end of a class's line.
fn line_name(figure: &SimulationFigure, class: usize) -> String {
    let name = text::fit(&figure.class_name(class), LABEL, emphasis(figure, class).rank > 0, NAME_WIDTH);
    let missed = figure.label == Some(class) && figure.prediction() != Some(class);
    if missed { format!("{name} (true)") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_apart_in_order_and_within_the_panel() {
        for wanted in [vec![5.0, 5.0, 6.0, 90.0], vec![99.0, 99.5, 100.0], vec![-20.0, 40.0, 300.0], vec![]] {
            let places = spread(&wanted, 0.0, 100.0);
            assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= NAME_HEIGHT - 1e-9), "{places:?}");
            assert!(places.iter().all(|place| (-1e-9..=100.0).contains(place)), "{places:?}");
        }
        assert_eq!(spread(&[10.0, 50.0], 0.0, 100.0), [10.0, 50.0]);
    }
}
