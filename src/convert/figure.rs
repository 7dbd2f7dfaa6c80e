//! The figure of a [`ConversionReport`].

use super::ConversionReport;
use crate::report::{Chart, Series, Svg, chart};

impl ConversionReport {
    /// Draws the accuracy over time, compared with the accuracy as rates and of the source.
    pub fn figure(&self, title: impl Into<String>) -> Svg {
        let last = self.accuracy_by_step.len() as f64;
        let spikes = (1..).map(f64::from).zip(self.accuracy_by_step.iter().map(|accuracy| 100.0 * accuracy));
        let level = |name: &str, accuracy: f64| {
            Series::line(
                format!("{name} {:.2} %", 100.0 * accuracy),
                [(1.0, 100.0 * accuracy), (last, 100.0 * accuracy)],
            )
        };
        let at = format!("spikes, {:.2} % at {}", 100.0 * self.accuracy_at(self.steps), self.steps);
        let mut series = vec![Series::line(at, spikes)];
        if self.rate_accuracy == self.source_accuracy {
            series.push(level("rates and source", self.rate_accuracy));
        } else {
            series.extend([level("rates", self.rate_accuracy), level("source", self.source_accuracy)]);
        }
        chart(&Chart {
            title: title.into(),
            x_label: format!("timesteps of {} ms", self.dt * 1e3),
            y_label: "accuracy (%)".into(),
            series,
            y_range: Some((0.0, 100.0)),
            ..Chart::default()
        })
    }
}
