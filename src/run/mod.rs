//! Runs: the experiment file that says all that a run depends on, its trainer and evaluations, and the folder that it leaves
//! behind.
//!
//! | file | holds |
//! |---|---|
//! | `experiment.rs` | the experiment file |
//! | `training.rs` | what ties an experiment to a trainer ([`Run`]) |
//! | `evaluation.rs` | what is evaluated after every epoch |
//! | `summary.rs` | the result of a run |
//! | `folder.rs` | what a run leaves behind, and how it is resumed |

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
