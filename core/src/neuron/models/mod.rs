//! The built-in models, one per file.

mod lif;
mod rectified_linear;

pub use lif::Lif;
pub use rectified_linear::RectifiedLinear;
