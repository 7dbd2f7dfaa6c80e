//! Runs: the experiment file, which determines a run completely, its trainer and evaluations, and its output
//! folder.
//!
//! | file | holds |
//! |---|---|
//! | `experiment.rs` | the experiment file |
//! | `training.rs` | an experiment with its trainer ([`Run`]) |
//! | `evaluation.rs` | the evaluation after every epoch |
//! | `summary.rs` | the result of a run |
//! | `folder.rs` | the output folder of a run, and resuming |

mod evaluation;
pub mod experiment;
mod folder;
mod summary;
mod training;

pub use evaluation::RatesAndSpikes;
pub use experiment::Experiment;
pub use folder::RunFolder;
pub use summary::Summary;
pub use training::Run;
