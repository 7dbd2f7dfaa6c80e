//! Data sets: MNIST, Fashion-MNIST, built-in synthetic digits that need no file, and data provided by the program.
//!
//! [`load`] finds, downloads or generates the data set of a [`DataConfig`] and splits it. Each step can be used
//! separately: [`locate`](mod@locate) searches for files, [`fetch`](mod@fetch) downloads them,
//! [`idx`] checks them against a [`Manifest`], [`mnist`] parses them, and [`digits`] generates digits.
//!
//! A trainer uses [`Samples`]. [`Labelled`] implements it for images, [`Rows`] for images as sequences of their rows, which a
//! network reads whose input is one row. A program implements it for its own data, and
//! [`register`] makes the data set available to experiment files.

mod augmentation;
mod config;
#[cfg(feature = "figures")]
mod contact_sheet;
pub mod digits;
mod error;
#[cfg(feature = "datasets")]
pub mod fetch;
pub mod idx;
mod labelled;
mod load;
pub mod locate;
pub mod manifest;
pub mod mnist;
mod registry;
mod rows;
mod samples;
mod source;
mod splits;
mod statistics;

use std::ops::Range;

pub use augmentation::{Augmentation, AugmentationKey, Erase, Rectangle, Transform};
pub use config::{DataConfig, DatasetName};
#[cfg(feature = "figures")]
pub use contact_sheet::contact_sheet;
pub use error::{Damage, DataError};
#[cfg(feature = "datasets")]
pub use fetch::{FetchOptions, fetch};
pub use labelled::{Labelled, labelled};
pub use load::load;
pub use manifest::{FASHION, FileSpec, MNIST, Manifest};
pub use registry::{Loader, register};
pub use rows::{Rows, samples};
pub(crate) use samples::batches;
pub use samples::{Batch, Samples, Target, has_rates};
pub use source::Source;
pub use splits::{Splits, load_splits};
pub use statistics::measure_standardization;

/// The images of one split and their labels.
///
/// # Shapes
/// `pixels` holds `[n, channels, height, width]` bytes, 0 (background) to 255; `labels` holds `n` class indices.
///
/// ```
/// let digits = tch_spiking::data::digits::generate(0, tch_spiking::data::digits::Split::Train, 3);
/// assert_eq!((digits.len(), digits.image_size()), (3, 784));
/// assert_eq!(digits.image(2).map(<[u8]>::len), Some(784));
/// assert_eq!(digits.image(3), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// Brightness, image after image, row after row.
    pub pixels: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<u8>,
    /// Values per pixel: 1 for greyscale.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Images {
    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The size of one image in bytes: `channels * height * width`.
    pub fn image_size(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The pixels of one image, `[channels, height, width]`, or `None` past the end.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let start = index.checked_mul(self.image_size())?;
        self.pixels.get(start..start.checked_add(self.image_size())?)
    }

    /// Copies a range of images; the part of the range past the end is ignored.
    pub fn range(&self, range: Range<usize>) -> Images {
        let end = range.end.min(self.len());
        let start = range.start.min(end);
        let size = self.image_size();
        Images {
            pixels: self.pixels[start * size..end * size].to_vec(),
            labels: self.labels[start..end].to_vec(),
            ..*self
        }
    }

    /// Keeps the first `at` images and returns the others.
    fn split_off(&mut self, at: usize) -> Images {
        let size = self.image_size();
        Images { pixels: self.pixels.split_off(at * size), labels: self.labels.split_off(at), ..*self }
    }
}

/// A data set, split into training, validation and test images.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The origin of the data.
    pub source: Source,
    /// Training images.
    pub train: Images,
    /// Validation images, for decisions during training.
    pub validation: Images,
    /// Test images, used once at the end.
    pub test: Images,
    /// The name of each class.
    pub class_names: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::Images;

    fn numbered(n: u8) -> Images {
        Images { pixels: (0..n * 4).collect(), labels: (0..n).collect(), channels: 1, height: 2, width: 2 }
    }

    #[test]
    fn a_range_is_clamped_and_keeps_pixels_and_labels_together() {
        let images = numbered(5);
        let tail = images.range(3..100);
        assert_eq!(tail.labels, [3, 4]);
        assert_eq!(tail.image(0), images.image(3));
        assert!(images.range(7..9).is_empty());
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = images.range(4..2);
        assert!(reversed.is_empty());
    }

    #[test]
    fn splitting_loses_nothing() {
        let whole = numbered(5);
        let mut head = whole.clone();
        let tail = head.split_off(2);
        assert_eq!((head, tail), (whole.range(0..2), whole.range(2..5)));
    }

    #[test]
    fn an_absurd_index_is_none() {
        assert_eq!(numbered(2).image(usize::MAX), None);
    }
}
