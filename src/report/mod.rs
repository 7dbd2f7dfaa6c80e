//! Figures: learning curves, simulations and general charts, as SVG and as PNG from the same source.
//!
//! Every function takes plain data and returns an [`Svg`]. A PNG is rasterised with an embedded font, so it looks the
//! same on a machine without any fonts. Values that cannot be drawn (NaN, infinity, and zero or less on a logarithmic
//! axis) leave a gap.
//!
//! ```no_run
//! use tch_spiking::report::{Chart, Series, chart};
//!
//! let rates = (0..=20).map(|i| f64::from(i) * 0.1).map(|current| (current, 100.0 * (current - 1.0).max(0.0)));
//! let figure = chart(&Chart {
//!     title: "Rectified linear neuron".into(),
//!     x_label: "input current".into(),
//!     y_label: "firing rate (Hz)".into(),
//!     series: vec![Series::line("rate", rates)],
//!     ..Chart::default()
//! });
//! figure.save("rectified.svg")?;
//! figure.save("rectified.png")?;
//! # Ok::<(), tch_spiking::Error>(())
//! ```

mod canvas;
mod chart;
mod error;
mod frame;
mod image;
mod learning_curve;
mod output_panel;
mod pixels;
mod raster;
mod scale;
mod simulation;
mod style;
mod svg;
mod text;

pub use chart::{Chart, Series, SeriesStyle, chart};
pub use error::ReportError;
pub use image::read_grayscale;
pub use learning_curve::{CurvePoint, learning_curve};
pub use simulation::{RasterLayer, SimulationFigure, simulation};
pub use svg::Svg;
