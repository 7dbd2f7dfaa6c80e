//! Training of networks as rates.
//!
//! A [`Trainer`] is independent of images and classes. Samples, objective, gradient synchronisation and evaluation
//! are traits that a program can implement: [`Samples`], [`Objective`], [`GradientSync`], [`Evaluation`].
//!
//! | file | holds |
//! |---|---|
//! | `config.rs`, `schedule.rs` | the `[training]` section |
//! | `trainer.rs`, `order.rs`, `sums.rs` | the training loop, the random order of samples, the sums of an epoch |
//! | `progress.rs` | position, progress and observers |
//! | `objective.rs` | objectives and their registry |
//! | `sync.rs` | gradient synchronisation between processes |
//! | `evaluation.rs`, `metrics.rs` | evaluation and metrics of an epoch |
//! | `checkpoint.rs` | checkpoints, to resume from |
//! | `precision.rs` | f32, TensorFloat-32 or bfloat16 |
//! | `profile.rs` | the time of each part of a training step |
//! | `optimizer.rs` | optimisers whose state can be saved |

mod checkpoint;
mod config;
mod error;
mod evaluation;
mod metrics;
mod objective;
mod optimizer;
mod order;
mod precision;
mod profile;
mod progress;
mod schedule;
mod sums;
mod sync;
mod trainer;

pub use checkpoint::MadeBy;
pub use config::TrainingConfig;
pub use error::TrainError;
pub use evaluation::{AsRates, Evaluated, Evaluation, Score, score_rates};
pub use metrics::{EpochMetrics, Running};
pub use objective::{CrossEntropy, MeanSquaredError, Objective, ObjectiveName, register_objective};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use precision::Precision;
pub use profile::{LayerTime, Profile};
pub use progress::{BestEpoch, Observer, Outcome, Position, Progress};
pub use schedule::Schedule;
pub use sync::{GradientSync, OneProcess};
pub use trainer::Trainer;

pub use crate::data::{Batch, Samples, Target, labelled};
