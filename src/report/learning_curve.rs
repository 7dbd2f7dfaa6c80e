//! Loss and accuracy over the epochs of a training run.

use super::canvas::{Canvas, Rect, Type};
use super::chart::{Chart, Series, draw};
use super::scale::extent;
use super::style::TITLE;
use super::svg::Svg;
use super::text;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 400.0;
const MARGIN: f64 = 18.0;
const GAP: f64 = 24.0;
/// Widths relative to the accuracy panel's, which is the widest: its legend has three entries, and it is what is looked at.
const LOSS_SHARE: f64 = 0.62;
const SPIKES_SHARE: f64 = 0.5;
/// A loss that falls by more than this factor is drawn on a logarithmic axis.
const LOGARITHMIC_FROM: f64 = 20.0;

/// One epoch of a training run. Accuracies are fractions, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CurvePoint {
    /// The epoch, from 1.
    pub epoch: f64,
    /// Mean training loss.
    pub loss: f64,
    /// Accuracy on the training set, as rates, if the objective defines correct answers.
    pub train_accuracy: Option<f64>,
    /// Accuracy on the validation set, as rates, if there is one.
    pub validation_accuracy: Option<f64>,
    /// Accuracy as spikes on a subset of the validation set, if it was measured.
    pub spiking_accuracy: Option<f64>,
    /// The number of timesteps as spikes.
    pub spiking_steps: Option<i64>,
    /// The mean number of spikes per image, if they were counted.
    pub spikes_per_image: Option<f64>,
    /// The stage of the training, from 1, if it has several.
    pub stage: Option<u64>,
    /// Mean loss on the validation set, as rates, if it was measured.
    pub validation_loss: Option<f64>,
    /// Mean loss as spikes on a subset of the validation set, if it was measured.
    pub spiking_loss: Option<f64>,
}

impl CurvePoint {
    fn has_accuracy(&self) -> bool {
        self.train_accuracy.or(self.validation_accuracy).or(self.spiking_accuracy).is_some()
    }
}

/// Draws loss (left), accuracy in per cent (middle) and spikes per image (right) over the epochs, with the last value of
/// each in its legend.
///
/// A loss that falls by more than a factor of 20 gets a logarithmic axis; where there are no accuracies or no spikes, the
/// others get the room. Dotted lines are between the stages of a training.
pub fn learning_curve(title: &str, points: &[CurvePoint]) -> Svg {
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    let heading = text::fit(title, TITLE, true, WIDTH - 2.0 * MARGIN);
    canvas.text((MARGIN, MARGIN + 14.0), &heading, Type::new(TITLE).bold());
    let mut panels = vec![(LOSS_SHARE, loss_chart(points))];
    if points.is_empty() || points.iter().any(CurvePoint::has_accuracy) {
        panels.push((1.0, accuracy_chart(points)));
    }
    if points.iter().any(|point| point.spikes_per_image.is_some()) {
        panels.push((SPIKES_SHARE, spikes_chart(points)));
    }
    let top = MARGIN + 30.0;
    let gaps = GAP * (panels.len() - 1) as f64;
    let unit = (WIDTH - 2.0 * MARGIN - gaps) / panels.iter().map(|(share, _)| share).sum::<f64>();
    let mut left = MARGIN;
    for (share, chart) in panels {
        let area = Rect { left, top, width: share * unit, height: HEIGHT - top - 0.5 * MARGIN };
        draw(&mut canvas, area, &Chart { marks: stage_changes(points), ..chart });
        left = area.right() + GAP;
    }
    canvas.finish(title)
}

/// The places between the epochs of different stages.
fn stage_changes(points: &[CurvePoint]) -> Vec<f64> {
    let changes = points.windows(2).filter(|pair| pair[0].stage != pair[1].stage);
    changes.map(|pair| (pair[0].epoch + pair[1].epoch) / 2.0).collect()
}

fn spikes_chart(points: &[CurvePoint]) -> Chart {
    let spikes: Vec<_> = points.iter().filter_map(|point| Some((point.epoch, point.spikes_per_image?))).collect();
    let top = extent(spikes.iter().map(|point| point.1), false).map(|(_, high)| (0.0, (1.06 * high).max(1.0)));
    Chart {
        x_label: "epoch".into(),
        y_label: "spikes per image".into(),
        x_whole: true,
        y_range: top,
        series: vec![with_last("spikes", spikes, |value| format!("{value:.0}"))],
        ..Chart::default()
    }
}

fn loss_chart(points: &[CurvePoint]) -> Chart {
    let losses = |value: fn(&CurvePoint) -> Option<f64>| -> Vec<_> {
        points.iter().filter_map(|point| Some((point.epoch, value(point)?))).collect()
    };
    let lines = [
        ("training", losses(|point| Some(point.loss))),
        ("validation", losses(|point| point.validation_loss)),
        ("spiking", losses(|point| point.spiking_loss)),
    ];
    let logarithmic = extent(lines.iter().flat_map(|(_, line)| line.iter().map(|point| point.1)), false)
        .is_some_and(|(low, high)| low > 0.0 && high > LOGARITHMIC_FROM * low);
    Chart {
        x_label: "epoch".into(),
        y_label: if logarithmic { "loss (log scale)" } else { "loss" }.into(),
        x_whole: true,
        y_log: logarithmic,
        series: lines
            .into_iter()
            .filter(|(name, line)| *name == "training" || !line.is_empty())
            .map(|(name, line)| with_last(name, line, loss_text))
            .collect(),
        ..Chart::default()
    }
}

fn accuracy_chart(points: &[CurvePoint]) -> Chart {
    let percent = |value: fn(&CurvePoint) -> Option<f64>| -> Vec<_> {
        points.iter().filter_map(|point| Some((point.epoch, 100.0 * value(point)?))).collect()
    };
    let steps = points.last().and_then(|point| point.spiking_steps);
    let spiking = steps.map_or("spiking".to_string(), |steps| format!("spiking, {steps} steps"));
    let lines = [
        ("training", percent(|point| point.train_accuracy)),
        ("validation", percent(|point| point.validation_accuracy)),
        (spiking.as_str(), percent(|point| point.spiking_accuracy)),
    ];
    let values = lines.iter().flat_map(|(_, line)| line.iter().map(|point| point.1));
    let y_range = extent(values, false).map(|(low, high)| {
        let pad = (0.06 * (high - low)).max(0.5);
        // Nothing is above 100 %, so no room for it; what claims to be is shown all the same.
        ((low - pad).max(low.min(0.0)), (high + pad).min(high.max(100.0)))
    });
    let series = lines.into_iter().filter(|(_, line)| !line.is_empty());
    Chart {
        x_label: "epoch".into(),
        y_label: "accuracy (%)".into(),
        x_whole: true,
        y_range,
        series: series.map(|(name, line)| with_last(name, line, |value| format!("{value:.2} %"))).collect(),
        ..Chart::default()
    }
}

/// A loss to a thousandth, or to three digits where it is smaller.
fn loss_text(loss: f64) -> String {
    if loss == 0.0 || loss.abs() >= 0.01 { format!("{loss:.3}") } else { format!("{loss:.2e}") }
}

/// A series whose name ends with its last value.
fn with_last(name: &str, points: Vec<(f64, f64)>, write: impl Fn(f64) -> String) -> Series {
    let last = points.last().map(|point| point.1).filter(|value| value.is_finite());
    let name = last.map_or_else(|| name.to_owned(), |value| format!("{name} {}", write(value)));
    Series::line(name, points)
}

#[cfg(test)]
mod tests {
    use super::super::svg::assert_drawable;
    use super::*;

    fn points(count: u32) -> Vec<CurvePoint> {
        let point = |epoch: u32| CurvePoint {
            epoch: epoch.into(),
            loss: 1.0 / f64::from(epoch),
            train_accuracy: Some(1.0 - 0.1 / f64::from(epoch)),
            validation_accuracy: Some(0.98),
            spiking_accuracy: epoch.is_multiple_of(2).then_some(0.975),
            ..CurvePoint::default()
        };
        (1..=count).map(point).collect()
    }

    #[test]
    fn any_number_of_epochs_can_be_drawn() {
        for count in [0, 1, 2, 100] {
            assert_drawable(&learning_curve("a run", &points(count)));
        }
        let nan = CurvePoint { epoch: 1.0, loss: f64::NAN, train_accuracy: Some(f64::NAN), ..CurvePoint::default() };
        assert_drawable(&learning_curve("", &[nan]));
    }

    #[test]
    fn legend_holds_the_last_values_of_what_was_measured() {
        let svg = learning_curve("a run", &points(4));
        for text in ["training 0.250", "training 97.50 %", "validation 98.00 %", "spiking 97.50 %", ">accuracy (%)<"] {
            assert!(svg.as_str().contains(text), "{text}");
        }
        assert!(!learning_curve("a run", &points(1)).as_str().contains("spiking"));
    }

    #[test]
    fn stages_and_spikes_are_shown() {
        let point = |epoch: u32| CurvePoint {
            stage: Some(if epoch > 3 { 2 } else { 1 }),
            spiking_steps: Some(8),
            spikes_per_image: Some(100.0 * f64::from(epoch)),
            ..points(6)[epoch as usize - 1]
        };
        let svg = learning_curve("a run", &(1..=6).map(point).collect::<Vec<_>>());
        for text in ["spiking, 8 steps 97.50 %", "spikes 600", ">spikes per image<"] {
            assert!(svg.as_str().contains(text), "{text}");
        }
        let dotted = |svg: &Svg| svg.as_str().matches("stroke-dasharray=\"2 4\"").count();
        assert_eq!((dotted(&svg), dotted(&learning_curve("a run", &points(6)))), (3, 0));
        assert_drawable(&svg);
    }

    #[test]
    fn losses_alone_have_all_the_room() {
        let point = |epoch| CurvePoint {
            epoch,
            loss: 0.002,
            validation_loss: Some(0.25),
            spiking_loss: Some(0.5),
            ..CurvePoint::default()
        };
        let svg = learning_curve("a run", &[point(1.0), point(2.0)]);
        for text in ["training 2.00e-3", "validation 0.250", "spiking 0.500"] {
            assert!(svg.as_str().contains(text), "{text}");
        }
        assert!(!svg.as_str().contains("accuracy"));
        assert_drawable(&svg);
    }

    #[test]
    fn a_loss_over_many_magnitudes_is_drawn_on_a_logarithmic_axis() {
        assert!(!learning_curve("", &points(10)).as_str().contains("log scale"));
        assert!(learning_curve("", &points(50)).as_str().contains("log scale"));
    }
}
