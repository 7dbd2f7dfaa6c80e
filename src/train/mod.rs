//! Training as rates.
//!
//! | file | holds |
//! |---|---|
//! | `config.rs`, `schedule.rs` | the `[training]` section |
//! | `trainer.rs`, `batches.rs` | the loop, and the images in random order |
//! | `precision.rs` | f32, TensorFloat-32 or bfloat16 |
//! | `profile.rs` | where the time of a step goes |
//! | `optimizer.rs` | optimisers whose state can be saved |
//! | `metrics.rs` | what is known of an epoch |

mod batches;
mod config;
mod error;
mod metrics;
mod optimizer;
mod precision;
mod profile;
mod schedule;
mod trainer;

pub use batches::labelled;
pub use config::TrainingConfig;
pub use error::TrainError;
pub use metrics::{EpochMetrics, Running};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use precision::Precision;
pub use profile::{LayerTime, Profile};
pub use schedule::Schedule;
pub use trainer::{Observer, Outcome, Position, Progress, Trainer};
