//! Training as rates.
//!
//! | file | holds |
//! |---|---|
//! | `config.rs`, `schedule.rs` | the `[training]` section |
//! | `trainer.rs`, `batches.rs` | the loop, and the images in random order |
//! | `optimizer.rs` | optimisers whose state can be saved |
//! | `metrics.rs` | what is known of an epoch |
//! | `run_folder.rs` | what a run leaves behind, and how it goes on |

mod batches;
mod config;
mod error;
mod metrics;
mod optimizer;
mod run_folder;
mod schedule;
mod trainer;

pub use batches::labelled;
pub use config::TrainingConfig;
pub use error::TrainError;
pub use metrics::{EpochMetrics, Running};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use run_folder::{RunFolder, Summary};
pub use schedule::Schedule;
pub use trainer::{Observer, Outcome, Position, Progress, Trainer};
