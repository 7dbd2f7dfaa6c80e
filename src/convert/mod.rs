//! Conversion of a trained analog network, such as one from PyTorch, to a spiking network.
//!
//! | file | holds |
//! |---|---|
//! | `converter.rs` | the converter ([`Converter`]) and its result ([`Converted`]) |
//! | `swap.rs` | the neurons that replace an activation ([`Swap`]) |
//! | `rewrite.rs`, `fold.rs` | the layers of the new network; folding of batch normalisation |
//! | `wiring.rs` | the connections between layers |
//! | `calibrate.rs` | firing rate scales from training images |
//! | `report.rs`, `verdict.rs` | the accuracy over time, and what limits it ([`ConversionReport`]) |
//! | `figure.rs` | the figure of a report |

mod calibrate;
mod converter;
mod error;
#[cfg(feature = "figures")]
mod figure;
mod fold;
mod report;
mod rewrite;
mod swap;
mod verdict;
mod wiring;

pub use calibrate::{Calibration, CalibrationTarget};
pub use converter::{Change, Converted, Converter};
pub use error::ConvertError;
pub use report::{ConversionReport, LayerReport, ReportOptions};
pub use swap::Swap;
