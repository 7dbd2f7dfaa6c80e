//! One image run as spikes: the input, the output of every class over time, the spikes of every layer.

use super::canvas::{Canvas, Rect, Type};
use super::frame::{Frame, X_AXIS_HEIGHT};
use super::output_panel::draw_output;
use super::pixels::draw_pixels;
use super::raster::draw_raster;
use super::style::{INK, LABEL, MUTED, RIGHT, TICK, TITLE, WRONG};
use super::svg::Svg;
use super::text;

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 20.0;
/// The column of the input image and of what is said about each layer.
const SIDE: f64 = 178.0;
const SIDE_GAP: f64 = 16.0;
const IMAGE: f64 = 168.0;
const HEADING: f64 = 66.0;
const OUTPUT_HEIGHT: f64 = 216.0;
const RASTER_HEIGHT: f64 = 104.0;
const RASTER_GAP: f64 = 14.0;

/// The spikes of one layer in a [`SimulationFigure`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RasterLayer {
    /// The layer's name.
    pub name: String,
    /// The number of neurons in the layer.
    pub neurons: usize,
    /// The number of neurons shown, one per row.
    pub shown: usize,
    /// Every spike of a shown neuron as (step from 0, row from 0). Those outside the figure are omitted.
    pub spikes: Vec<(u32, u32)>,
    /// Mean firing rate of the whole layer in Hz.
    pub mean_rate: f64,
}

/// The contents of a [`simulation`] figure.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SimulationFigure {
    /// The heading, such as the network and the image's number.
    pub title: String,
    /// The input, row by row, 0 black to 255 white.
    pub image: Vec<u8>,
    /// Rows of the input.
    pub image_height: usize,
    /// Columns of the input.
    pub image_width: usize,
    /// Length of a step in s.
    pub dt: f64,
    /// Names of the classes; the index is used for a class without a name.
    pub class_names: Vec<String>,
    /// The filtered output, `[step][class]`.
    pub output: Vec<Vec<f32>>,
    /// The true class, if known.
    pub label: Option<usize>,
    /// The spiking layers, in order.
    pub layers: Vec<RasterLayer>,
}

impl SimulationFigure {
    /// The class with the greatest output at the last step.
    pub fn prediction(&self) -> Option<usize> {
        let last = self.output.last()?.iter().enumerate().filter(|(_, value)| value.is_finite());
        // The first of equals, as argmax has it.
        last.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(class, _)| class)
    }

    pub(super) fn class_name(&self, class: usize) -> String {
        self.class_names.get(class).filter(|name| !name.is_empty()).cloned().unwrap_or_else(|| class.to_string())
    }

    pub(super) fn classes(&self) -> usize {
        self.output.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The colour that marks the prediction as right or wrong, if the label is known.
    pub(super) fn verdict_colour(&self) -> &'static str {
        match (self.prediction(), self.label) {
            (Some(prediction), Some(label)) if prediction == label => RIGHT,
            (Some(_), Some(_)) => WRONG,
            _ => INK,
        }
    }

    pub(super) fn steps(&self) -> usize {
        let last_spike = self.layers.iter().flat_map(|layer| layer.spikes.iter().map(|spike| spike.0 as usize)).max();
        if self.output.is_empty() { last_spike.map_or(1, |step| step + 1) } else { self.output.len() }
    }

    /// Seconds a step, and what an axis in the handier of ms and s multiplies them by.
    pub(super) fn time_unit(&self) -> (f64, &'static str) {
        let step = if self.dt.is_finite() && self.dt > 0.0 { self.dt } else { 1e-3 };
        if step * self.steps() as f64 > 2.0 { (step, "time (s)") } else { (1e3 * step, "time (ms)") }
    }
}

/// Draws a simulation: the input image, the filtered output of every class over time with each named at the end of
/// its line (prediction bold), and under the same time axis a spike raster a layer. 960 pixels wide, as high as needed.
pub fn simulation(figure: &SimulationFigure) -> Svg {
    let rasters = figure.layers.len() as f64 * (RASTER_HEIGHT + RASTER_GAP);
    let height = HEADING + OUTPUT_HEIGHT + rasters + X_AXIS_HEIGHT + 0.5 * MARGIN;
    let mut canvas = Canvas::new(WIDTH, height);
    draw_heading(&mut canvas, figure);

    let image = Rect { left: MARGIN, top: HEADING, width: IMAGE, height: IMAGE };
    let drawn = draw_pixels(&mut canvas, image, &figure.image, figure.image_width, figure.image_height);
    let caption = if figure.image.is_empty() {
        "no input image".to_owned()
    } else {
        format!("input, {} × {} pixels", figure.image_width, figure.image_height)
    };
    canvas.text((MARGIN, drawn.bottom() + 18.0), &caption, Type::new(TICK).colour(MUTED));

    let left = MARGIN + SIDE + SIDE_GAP;
    let area = Rect { left, top: HEADING, width: WIDTH - MARGIN - left, height: OUTPUT_HEIGHT };
    let frame = draw_output(&mut canvas, area, figure);

    let mut top = frame.area.bottom() + RASTER_GAP;
    for (index, layer) in figure.layers.iter().enumerate() {
        let area = Rect { top, height: RASTER_HEIGHT, ..frame.area };
        let frame = Frame { area, ..frame };
        let last = index + 1 == figure.layers.len();
        frame.draw_x_axis(&mut canvas, last.then_some(figure.time_unit().1), false);
        draw_raster(&mut canvas, &frame, layer, figure.steps(), figure.time_unit().0);
        frame.draw_border(&mut canvas);
        describe_layer(&mut canvas, Rect { left: MARGIN, width: SIDE, ..area }, layer);
        top = area.bottom() + RASTER_GAP;
    }
    canvas.finish(&figure.title)
}

fn draw_heading(canvas: &mut Canvas, figure: &SimulationFigure) {
    let room = WIDTH - 2.0 * MARGIN;
    canvas.text((MARGIN, 32.0), &text::fit(&figure.title, TITLE, true, room), Type::new(TITLE).bold());
    let name = |class| text::fit(&figure.class_name(class), LABEL, true, 300.0);
    let verdict = match (figure.prediction(), figure.label) {
        (None, _) => "no prediction: the output is empty".to_owned(),
        (Some(class), None) => format!("predicted {}", name(class)),
        (Some(class), Some(label)) if class == label => format!("✓ predicted {}, correct", name(class)),
        (Some(class), Some(label)) => format!("✗ predicted {}, wrong: the label is {}", name(class), name(label)),
    };
    canvas.text((MARGIN, 53.0), &verdict, Type::new(LABEL + 1.0).bold().colour(figure.verdict_colour()));
}

fn describe_layer(canvas: &mut Canvas, area: Rect, layer: &RasterLayer) {
    let x = area.left;
    let name = text::fit(&layer.name, LABEL + 1.0, true, area.width);
    canvas.text((x, area.top + 14.0), &name, Type::new(LABEL + 1.0).bold());
    let neurons = match layer.neurons {
        neurons if neurons == layer.shown => format!("{} neurons", text::thousands(neurons)),
        neurons => format!("{} of {} neurons shown", text::thousands(layer.shown), text::thousands(neurons)),
    };
    let neurons = text::fit(&neurons, TICK, false, area.width + SIDE_GAP);
    canvas.text((x, area.top + 33.0), &neurons, Type::new(TICK).colour(MUTED));
    let rate = if layer.mean_rate.is_finite() {
        format!("mean rate {:.1} Hz", layer.mean_rate)
    } else {
        "mean rate unknown".to_owned()
    };
    canvas.text((x, area.top + 51.0), &rate, Type::new(TICK).colour(MUTED));
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_drawable;
    use super::*;

    fn figure() -> SimulationFigure {
        let layer =
            RasterLayer { name: "a<b>".into(), neurons: 3200, shown: 4, spikes: vec![(0, 0), (2, 3)], mean_rate: 12.5 };
        SimulationFigure {
            title: "R&D".into(),
            image: vec![0, 255, 255, 0],
            image_height: 2,
            image_width: 2,
            dt: 1e-3,
            class_names: vec!["cat".into(), "dog".into()],
            output: vec![vec![0.0, 0.0, 0.0], vec![0.1, 0.3, f32::NAN], vec![0.2, 0.9, 0.4]],
            label: Some(1),
            layers: vec![layer],
        }
    }

    #[test]
    fn says_whether_the_prediction_is_right() {
        let right = simulation(&figure());
        assert_drawable(&right);
        assert!(right.as_str().contains("predicted dog, correct") && right.as_str().contains("a&lt;b&gt;"));
        let wrong = simulation(&SimulationFigure { label: Some(2), ..figure() });
        assert!(
            wrong.as_str().contains("predicted dog, wrong: the label is 2") && wrong.as_str().contains(">2 (true)<")
        );
        let unknown = simulation(&SimulationFigure { label: None, ..figure() });
        assert!(unknown.as_str().contains(">predicted dog<"));
    }

    #[test]
    fn every_layer_is_one_path_of_its_spikes_with_count_and_rate() {
        let svg = simulation(&figure());
        assert!(svg.as_str().contains("M0 0v") && svg.as_str().contains("M2 3v"));
        assert!(svg.as_str().contains("4 of 3,200 neurons shown") && svg.as_str().contains("mean rate 12.5 Hz"));
        let mut outside = figure();
        outside.layers[0].spikes = vec![(3, 0), (0, 4), (u32::MAX, u32::MAX)];
        let svg = simulation(&outside);
        assert_drawable(&svg);
        assert!(svg.as_str().contains("no spikes"));
    }

    #[test]
    fn prediction_is_the_greatest_finite_output_of_the_last_step() {
        let predict = |last: Vec<f32>| SimulationFigure { output: vec![vec![9.0], last], ..figure() }.prediction();
        assert_eq!(predict(vec![0.1, 0.7, 0.7]), Some(1));
        assert_eq!(predict(vec![f32::NAN, -2.0, f32::INFINITY]), Some(1));
        assert_eq!(predict(vec![f32::NAN]), None);
        assert_eq!(predict(vec![]), None);
    }

    #[test]
    fn odd_figures_can_be_drawn() {
        assert_drawable(&simulation(&SimulationFigure::default()));
        let one_step = SimulationFigure { output: vec![vec![0.5]], layers: Vec::new(), ..figure() };
        let many = SimulationFigure {
            output: vec![(0..300).map(|class| class as f32).collect(); 2],
            class_names: vec!["name ".repeat(50); 300],
            title: "title ".repeat(99),
            ..figure()
        };
        let strange = SimulationFigure {
            output: vec![vec![f32::MAX, f32::MIN, f32::NAN], vec![]],
            image: vec![1, 2, 3],
            dt: f64::NAN,
            label: Some(usize::MAX),
            layers: vec![RasterLayer { mean_rate: f64::INFINITY, shown: usize::MAX, ..figure().layers[0].clone() }],
            ..figure()
        };
        let only_spikes = SimulationFigure { output: Vec::new(), image_width: 0, ..figure() };
        for figure in [one_step, many, strange, only_spikes] {
            assert_drawable(&simulation(&figure));
        }
    }
}
