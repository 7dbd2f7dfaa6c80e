//! A general line chart: response curves, gradients, accuracy over steps, run time against size.

use super::canvas::{Anchor, Canvas, Rect, Stroke, Type};
use super::frame::{Frame, Joint, X_AXIS_HEIGHT, y_axis_width};
use super::scale::{Scale, extent, padded};
use super::style::{LABEL, MUTED, TITLE, series_style};
use super::svg::Svg;
use super::text;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 440.0;
const MARGIN: f64 = 18.0;
const LEGEND_ROW: f64 = 20.0;
const SWATCH: f64 = 22.0;
const LINE: f64 = 2.2;
const DOT: f64 = 6.0;
/// The maximum number of points of a line that are marked, to show the data points.
const MARKED_POINTS: usize = 30;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SeriesStyle {
    /// Points joined by straight lines.
    #[default]
    Line,
    /// Points without lines.
    Dots,
    /// Each value held until the next point.
    Steps,
}

/// One named line of a [`Chart`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend; a series without a name is omitted from the legend.
    pub name: String,
    /// Points `(x, y)` in drawing order. One that cannot be drawn (NaN, infinite) breaks the line.
    pub points: Vec<(f64, f64)>,
    /// The drawing style.
    pub style: SeriesStyle,
}

impl Series {
    /// Points joined by straight lines.
    pub fn line(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name: name.into(), points: points.into_iter().collect(), style: SeriesStyle::Line }
    }

    /// Points without lines.
    pub fn dots(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { style: SeriesStyle::Dots, ..Self::line(name, points) }
    }

    /// Each value held until the next point.
    pub fn steps(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { style: SeriesStyle::Steps, ..Self::line(name, points) }
    }
}

/// The contents of a [`chart`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// The heading.
    pub title: String,
    /// Name and unit of the horizontal axis, such as `time (ms)`.
    pub x_label: String,
    /// Name and unit of the vertical axis, such as `firing rate (Hz)`.
    pub y_label: String,
    /// The series, distinguished by ten colours and then by dash patterns.
    pub series: Vec<Series>,
    /// First and last value of the horizontal axis; without it, the range of the points.
    pub x_range: Option<(f64, f64)>,
    /// First and last value of the vertical axis; without it, the range of the points with a margin.
    pub y_range: Option<(f64, f64)>,
    /// A logarithmic horizontal axis.
    pub x_log: bool,
    /// A logarithmic vertical axis.
    pub y_log: bool,
    /// Ticks of the horizontal axis at whole numbers only, as for epochs.
    pub x_whole: bool,
    /// Places on the horizontal axis that a dotted vertical line marks.
    pub marks: Vec<f64>,
}

/// Draws a line chart of 720 by 440 pixels, with a legend above the plotting area.
///
/// A range that is empty, reversed or beyond the axis (zero on a logarithmic one) is ignored.
pub fn chart(chart: &Chart) -> Svg {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let inner = Rect { left: MARGIN, top: MARGIN, width: WIDTH - 2.0 * MARGIN, height: HEIGHT - 1.5 * MARGIN };
    draw(&mut canvas, inner, chart);
    canvas.finish(&chart.title)
}

/// Draws `chart` with its title, legend and axis labels into `area`.
pub(super) fn draw(canvas: &mut Canvas, area: Rect, chart: &Chart) {
    let mut top = area.top;
    if !chart.title.is_empty() {
        let title = text::fit(&chart.title, TITLE, true, area.width);
        canvas.text((area.left, top + 14.0), &title, Type::new(TITLE).bold());
        top += 30.0;
    }
    top = draw_legend(canvas, Rect { top, ..area }, &chart.series) + 10.0;

    let x_values = chart.series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
    let (x_low, x_high) = range(chart.x_range, x_values, 0.0, chart.x_log);
    let y_values = chart.series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let (y_low, y_high) = range(chart.y_range, y_values, 0.05, chart.y_log);

    let bottom = area.bottom() - X_AXIS_HEIGHT;
    let y = Scale { low: y_low, high: y_high, logarithmic: chart.y_log, from: bottom, to: top };
    let left = area.left + y_axis_width(&y, &chart.y_label).min(0.5 * area.width);
    // Half a tick label may stand out on the right.
    let right = area.right() - 14.0;
    let x = Scale { low: x_low, high: x_high, logarithmic: chart.x_log, from: left, to: right };
    let frame = Frame { area: Rect { left, top, width: right - left, height: bottom - top }, x, y };

    frame.draw_x_axis(canvas, Some(&chart.x_label), chart.x_whole);
    frame.draw_y_axis(canvas, &chart.y_label);
    frame.draw_border(canvas);
    for place in chart.marks.iter().filter(|place| (x_low..=x_high).contains(*place)) {
        if let Some(place) = frame.x.pixel(*place) {
            canvas.line((place, top), (place, bottom), Stroke { colour: MUTED, width: 1.0, dash: "2 4" });
        }
    }
    draw_series(canvas, &frame, &chart.series);
    if chart.series.iter().all(|series| series.points.is_empty()) {
        let middle = ((left + right) / 2.0, (top + bottom) / 2.0);
        canvas.text(middle, "no data", Type::new(LABEL).colour(MUTED).anchor(Anchor::Middle));
    }
}

fn draw_series(canvas: &mut Canvas, frame: &Frame, series: &[Series]) {
    let area = frame.area;
    let pad = LINE / 2.0;
    let clip = Rect {
        left: area.left - pad,
        top: area.top - pad,
        width: area.width + 2.0 * pad,
        height: area.height + 2.0 * pad,
    };
    for (index, Series { points, style, .. }) in series.iter().enumerate() {
        let (colour, dash) = series_style(index);
        let joint = match style {
            SeriesStyle::Line => Some(Joint::Straight),
            SeriesStyle::Steps => Some(Joint::Held),
            SeriesStyle::Dots => None,
        };
        if let Some(data) = joint.map(|joint| frame.trace(points, joint)).filter(|data| !data.is_empty()) {
            canvas.clipped(clip, |canvas| canvas.path(&data, Stroke { colour, width: LINE, dash }));
        }
        let marked = *style == SeriesStyle::Dots || *style == SeriesStyle::Line && points.len() <= MARKED_POINTS;
        let dots = if marked { frame.trace(points, Joint::None) } else { String::new() };
        if !dots.is_empty() {
            canvas.path(&dots, Stroke::solid(colour, DOT));
        }
    }
}

/// Draws the names in rows from the top of `area`; returns where they end.
fn draw_legend(canvas: &mut Canvas, area: Rect, series: &[Series]) -> f64 {
    let (mut x, mut y) = (area.left, area.top);
    for (index, Series { name, style, .. }) in series.iter().enumerate().filter(|(_, series)| !series.name.is_empty()) {
        let name = text::fit(name, LABEL, false, area.width - SWATCH - 8.0);
        let swatch = if *style == SeriesStyle::Dots { DOT } else { SWATCH };
        let width = swatch + 8.0 + text::width(&name, LABEL, false);
        if x > area.left && x + width > area.right() {
            (x, y) = (area.left, y + LEGEND_ROW);
        }
        let (colour, dash) = series_style(index);
        let middle = y + 0.5 * LEGEND_ROW;
        if *style == SeriesStyle::Dots {
            let dot = (x + 0.5 * DOT, middle);
            canvas.line(dot, dot, Stroke::solid(colour, DOT));
        } else {
            canvas.line((x + 1.0, middle), (x + swatch, middle), Stroke { colour, width: 3.0, dash });
        }
        canvas.text((x + swatch + 8.0, middle + 0.35 * LABEL), &name, Type::new(LABEL).colour(MUTED));
        x += width + 22.0;
    }
    if x > area.left { y + LEGEND_ROW } else { y }
}

/// The `wanted` range if it makes sense, else that of the values.
fn range(wanted: Option<(f64, f64)>, values: impl Iterator<Item = f64>, margin: f64, logarithmic: bool) -> (f64, f64) {
    if let Some((low, high)) = wanted
        && extent([low, high].into_iter(), logarithmic) == Some((low, high))
        && low < high
    {
        return (low, high);
    }
    let empty = if logarithmic { (1.0, 10.0) } else { (0.0, 1.0) };
    extent(values, logarithmic).map_or(empty, |extent| padded(extent, margin, logarithmic))
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_drawable;
    use super::*;

    fn one(series: Series) -> Chart {
        Chart { series: vec![series], ..Chart::default() }
    }

    #[test]
    fn odd_series_can_be_drawn() {
        let odd: [Vec<(f64, f64)>; 7] = [
            vec![],
            vec![(1.0, 2.0)],
            vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)],
            vec![(0.0, 3.0), (1.0, 3.0), (2.0, 3.0)],
            vec![(0.0, -1e300), (1.0, 1e300), (2.0, f64::MAX)],
            vec![(0.0, 1.0), (1.0, 1.0 + f64::EPSILON)],
            vec![(-1.0, -1.0), (0.0, 0.0), (1e-12, 1e12)],
        ];
        for points in odd {
            for logarithmic in [false, true] {
                for series in [
                    Series::line("a", points.clone()),
                    Series::dots("b", points.clone()),
                    Series::steps("", points.clone()),
                ] {
                    assert_drawable(&chart(&Chart { x_log: logarithmic, y_log: logarithmic, ..one(series) }));
                }
            }
        }
        assert!(chart(&Chart::default()).as_str().contains("no data"));
    }

    #[test]
    fn a_value_that_cannot_be_drawn_leaves_a_gap() {
        let points = [(0.0, 0.0), (1.0, 1.0), (2.0, f64::NAN), (3.0, 3.0), (4.0, 4.0)];
        let svg = chart(&one(Series { style: SeriesStyle::Steps, ..Series::line("", points) }));
        let path = svg.as_str().lines().find(|line| line.contains(r#"stroke-width="2.2""#)).unwrap();
        assert_eq!(path.matches('M').count(), 2, "{path}");
    }

    #[test]
    fn names_and_labels_are_escaped_and_kept_within_the_figure() {
        let svg = chart(&Chart {
            title: "<&>".repeat(400),
            x_label: "x & ".repeat(400),
            y_label: "\u{1}\"y\"".repeat(400),
            ..one(Series::line("a < b ".repeat(400), [(0.0, 1.0)]))
        });
        assert_drawable(&svg);
        assert!(!svg.as_str().contains("<&>"));
    }

    #[test]
    fn an_impossible_range_is_ignored() {
        let series = Series::line("", [(1.0, 1.0), (2.0, 2.0)]);
        let automatic = chart(&one(series.clone()));
        for y_range in [(2.0, 1.0), (1.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert_eq!(chart(&Chart { y_range: Some(y_range), ..one(series.clone()) }), automatic);
        }
    }
}
