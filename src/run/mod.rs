//! Experiments being run: from an experiment file to a trainer, its evaluations and its result.
//!
//! | file | holds |
//! |---|---|
//! | `training.rs` | what ties an experiment to a trainer ([`Run`]) |
//! | `evaluation.rs` | what is evaluated after every epoch |
//! | `summary.rs` | the result of a run |

mod evaluation;
mod summary;
mod training;

pub use evaluation::RatesAndSpikes;
pub use summary::Summary;
pub use training::Run;
