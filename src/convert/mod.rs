//! From a trained analog network, such as one that comes from PyTorch, to one that spikes.
//!
//! | file | holds |
//! |---|---|
//! | `converter.rs` | what is to be done ([`Converter`]) and what came of it ([`Converted`]) |
//! | `swap.rs` | which neurons take the place of an activation ([`Swap`]) |
//! | `rewrite.rs`, `fold.rs` | layer by layer to the new network; batch normalisation into the weights before it |
//! | `wiring.rs` | which layers feed which |
//! | `calibrate.rs` | firing rate scales from training images |
//! | `report.rs`, `verdict.rs` | how good it is over time, and what limits it ([`ConversionReport`]) |
//! | `figure.rs` | the picture of it |

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
