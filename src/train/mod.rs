//! Training of networks: as rates, with spikes and the gradient of rates, or through time with surrogate gradients.
//!
//! A [`Trainer`] is independent of images and classes. Samples, objective, gradient synchronisation and evaluation
//! are traits that a program can implement: [`Samples`], [`Objective`], [`GradientSync`], [`Evaluation`].
//!
//! | file | holds |
//! |---|---|
//! | `config.rs`, `stage.rs`, `schedule.rs` | the `[training]` section and its stages |
//! | `trainer.rs`, `training_loop.rs` | what is trained on what, and the loop |
//! | `order.rs`, `sums.rs` | the random order of samples, the sums of an epoch |
//! | `method.rs`, `watch.rs` | how the neurons compute in a training step, and what is read of the pass |
//! | `progress.rs` | position, progress and observers |
//! | `objective/` | objectives and their registry |
//! | `sync.rs` | gradient synchronisation between processes |
//! | `evaluation.rs`, `metrics.rs` | evaluation and metrics of an epoch |
//! | `checkpoint.rs` | checkpoints, to resume from |
//! | `precision.rs` | f32, TensorFloat-32 or bfloat16 |
//! | `profile.rs` | the time of each part of a training step |
//! | `regulariser.rs` | penalties on the neurons' activity |
//! | `optimizer/`, `clipping.rs`, `average.rs` | optimisers whose state can be saved, gradient clipping, the average of the weights |

mod average;
mod checkpoint;
mod clipping;
mod config;
mod error;
mod evaluation;
mod method;
mod metrics;
mod objective;
mod optimizer;
mod order;
mod precision;
mod profile;
mod progress;
mod regulariser;
mod schedule;
mod stage;
mod sums;
mod sync;
mod trainer;
mod training_loop;
mod watch;

pub use checkpoint::MadeBy;
pub use clipping::Clipping;
pub use config::TrainingConfig;
pub use error::TrainError;
pub use evaluation::{AsTrained, Evaluated, Evaluation, Score, score, score_rates};
pub use method::Method;
pub use metrics::{EpochMetrics, Running};
pub use objective::{
    ClassSquaredError, Compared, CountSquaredError, CrossEntropy, MeanSquaredError, Objective, ObjectiveConfig, Over,
    Readout, Tet, register_objective,
};
pub use optimizer::{Optimizer, OptimizerConfig};
pub use precision::Precision;
pub use profile::{LayerTime, Profile};
pub use progress::{BestEpoch, Observer, Outcome, Position, Progress};
pub use regulariser::{Layers, Norm, Regulariser, TargetRate};
pub use schedule::Schedule;
pub use stage::StageConfig;
pub use sync::{GradientSync, OneProcess};
pub use trainer::Trainer;

pub use crate::data::{Batch, Samples, Target, labelled};
