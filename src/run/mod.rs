//! Runs: the experiment file that says all that a run depends on, and the folder that it leaves behind.
//!
//! | file | holds |
//! |---|---|
//! | `experiment.rs` | the experiment file |
//! | `folder.rs` | what a run leaves behind, and how it is resumed |

pub mod experiment;
mod folder;

pub use experiment::Experiment;
pub use folder::{RunFolder, Summary};
