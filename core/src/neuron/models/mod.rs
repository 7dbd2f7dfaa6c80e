//! The models that come with the library, one file each.

mod lif;
mod rectified_linear;

pub use lif::Lif;
pub use rectified_linear::RectifiedLinear;
