//! Errors of figures and images.

use std::path::PathBuf;

/// A figure could not be written, or an image could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// A figure's file name ends neither in `.svg` nor in `.png`.
    #[error("unknown figure format of {}: expected a file name that ends in .svg or .png", path.display())]
    UnknownFormat {
        /// The requested file.
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
    /// A file given as an image is not a PNG image.
    #[error("{} is not a PNG image ({found}); convert it to PNG", path.display())]
    NotPng {
        /// The file.
        path: PathBuf,
        /// The detected format.
        found: &'static str,
    },
    /// A PNG image that ends early, fails a checksum or breaks the format's rules.
    #[error("{} is a damaged PNG image: {reason}; copy or export it again", path.display())]
    DamagedPng {
        /// The file.
        path: PathBuf,
        /// The error of the decoder.
        reason: String,
    },
    /// An image exceeds the size limit.
    #[error("{} has {width} x {height} pixels, the limit is {limit} per side; scale it down", path.display())]
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
    /// An image was requested with an invalid size.
    #[error("cannot resize {} to {width} x {height}: expected a width and height between 1 and {limit}", path.display())]
    TargetSize {
        /// The file.
        path: PathBuf,
        /// The requested width.
        width: usize,
        /// The requested height.
        height: usize,
        /// The largest width and height allowed.
        limit: u32,
    },
}
