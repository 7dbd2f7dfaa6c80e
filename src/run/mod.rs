//! Runs: the experiment file, which determines a run completely, its trainer and evaluations, and its output
//! folder.
//!
//! | file | holds |
//! |---|---|
//! | `experiment.rs` | the experiment file |
//! | `training.rs` | an experiment with its trainer ([`Run`]) |
//! | `evaluation.rs` | the evaluation after every epoch |
//! | `summary.rs` | the result of a run |
//! | `until.rs` | samples that can be stopped |
//! | `folder.rs` | the output folder of a run, and resuming |
//! | `changes.rs` | what differs between a run and its checkpoint |
//! | `claim.rs` | the exclusive use of a run folder |
//! | `history.rs` | the metrics of earlier epochs, read back |

mod changes;
mod claim;
mod evaluation;
pub mod experiment;
mod folder;
mod history;
mod summary;
mod training;
mod until;

pub use crate::native::IgnoredSignals;
pub use evaluation::RatesAndSpikes;
pub use experiment::Experiment;
pub use folder::RunFolder;
pub use summary::Summary;
pub use training::Run;
