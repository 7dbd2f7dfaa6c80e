//! What can go wrong with pictures.

use std::path::PathBuf;

/// Why a picture could not be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A figure's file name ends neither in `.svg` nor in `.png`.
    #[error("cannot tell the format of {}: a figure is written as SVG or PNG; end the name in .svg or .png", path.display())]
    UnknownFormat {
        /// The file asked for.
        path: PathBuf,
    },
    /// The SVG source could not be rasterised.
    #[error("cannot draw the figure as PNG: {0}; save it as .svg instead")]
    Rasterise(#[from] resvg::usvg::Error),
    /// The figure has more pixels than can be rasterised.
    #[error(
        "cannot draw a figure of {width:.0} by {height:.0} as PNG: too large; save it as .svg, or show fewer layers"
    )]
    FigureTooLarge {
        /// Width in CSS pixels.
        width: f64,
        /// Height in CSS pixels.
        height: f64,
    },
    /// The pixels could not be encoded.
    #[error("cannot encode the figure as PNG: {0}; save it as .svg instead")]
    Encode(#[from] png::EncodingError),
    /// A file given as an image is none that can be read.
    #[error("{} is not a PNG image ({found}); convert it to PNG", path.display())]
    NotPng {
        /// The file.
        path: PathBuf,
        /// What it looks like instead.
        found: &'static str,
    },
    /// A PNG image that ends early, fails a checksum or breaks the format's rules.
    #[error("{} is a damaged PNG image: {reason}; copy or export it again", path.display())]
    DamagedPng {
        /// The file.
        path: PathBuf,
        /// What the decoder objected to.
        reason: String,
    },
    /// An image with more pixels than anything meant for a network has.
    #[error("{} has {width} x {height} pixels, at most {limit} a side can be read; scale it down", path.display())]
    ImageTooLarge {
        /// The file.
        path: PathBuf,
        /// Its width in pixels.
        width: u32,
        /// Its height in pixels.
        height: u32,
        /// The largest width and height allowed.
        limit: u32,
    },
    /// An image was asked for in a size without pixels.
    #[error("cannot resize {} to {width} x {height}: ask for a width and height between 1 and {limit}", path.display())]
    TargetSize {
        /// The file.
        path: PathBuf,
        /// The width asked for.
        width: usize,
        /// The height asked for.
        height: usize,
        /// The largest width and height allowed.
        limit: u32,
    },
}
