//! Training as rates.
//!
//! A [`Trainer`] knows neither images nor classes. What it trains on, minimises, agrees on with other processes and evaluates
//! are traits, which a program can implement: [`Samples`], [`Objective`], [`GradientSync`], [`Evaluation`].
//!
//! | file | holds |
//! |---|---|
//! | `config.rs`, `schedule.rs` | the `[training]` section |
//! | `trainer.rs`, `order.rs`, `sums.rs` | the loop, the samples in random order, the sums of an epoch |
//! | `progress.rs` | how far it is, and what it tells while it runs |
//! | `objective.rs` | what is minimised, by name |
//! | `sync.rs` | how processes agree on gradients |
//! | `evaluation.rs`, `metrics.rs` | what is evaluated and known of an epoch |
//! | `checkpoint.rs` | a training as a file, to go on from |
//! | `precision.rs` | f32, TensorFloat-32 or bfloat16 |
//! | `profile.rs` | where the time of a step goes |
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

pub use config::TrainingConfig;
pub use error::TrainError;
pub use evaluation::{AsRates, Evaluated, Evaluation, Score, score_rates};
pub use metrics::{EpochMetrics, Running};
pub use objective::{CrossEntropy, MeanSquaredError, Objective, ObjectiveName, register_objective};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use precision::Precision;
pub use profile::{LayerTime, Profile};
pub use progress::{Observer, Outcome, Position, Progress};
pub use schedule::Schedule;
pub use sync::{GradientSync, OneProcess};
pub use trainer::Trainer;

pub use crate::data::{Batch, Samples, Target, labelled};
