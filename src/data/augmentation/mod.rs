//! Augmentation: training images that are rotated, moved, scaled, flipped or partly erased at random.

mod apply;
mod transform;

use serde::{Deserialize, Serialize};

pub use transform::{Rectangle, Transform};

/// The `[training.augmentation]` section of an experiment: the random transformations of training images. (Validation
/// and test images stay as they are.)
///
/// What an image becomes depends on the seed, the epoch and the image alone: not on the batch size, the number of
/// threads or processes, or on where a resumed run was stopped. All geometric transformations are one affine map,
/// sampled once with bilinear interpolation.
///
/// ```
/// use tch_spiking::data::Augmentation;
///
/// let augmentation: Augmentation = toml::from_str(
///     "
///     rotation = 10         # degrees, to either side
///     shift = 2             # pixels, in each direction
///     scale = [0.9, 1.1]
///     erase = { probability = 0.25 }
///     ",
/// )?;
/// assert_eq!((augmentation.flip, augmentation.erase.map(|erase| erase.value)), (0.0, Some(0.0)));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Augmentation {
    /// The largest rotation to either side (degrees), about the middle of the image.
    pub rotation: f64,
    /// The largest shift in each direction (pixels), not only by whole pixels.
    pub shift: f64,
    /// The smallest and the largest factor of the size.
    pub scale: [f64; 2],
    /// The largest horizontal shear to either side (degrees).
    pub shear: f64,
    /// The probability of a horizontal flip, from left to right.
    pub flip: f64,
    /// Crop with padding (pixels): the image is padded by this on every side, and a window of its own size is cut out at
    /// a random position, by whole pixels.
    pub crop: u32,
    /// Erasing of a random rectangle (Zhong et al. 2017).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erase: Option<Erase>,
    /// The value of what comes in from outside of the image, in the data set's own units.
    pub outside: f64,
}

/// Erasing: a rectangle is set to one value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Erase {
    /// The probability that something is erased.
    pub probability: f64,
    /// The smallest and the largest area, as a share of the image's.
    pub area: [f64; 2],
    /// The smallest and the largest ratio of height to width; drawn uniformly in its logarithm.
    pub aspect: [f64; 2],
    /// The value of what was erased, in the data set's own units.
    pub value: f64,
}

/// What the random numbers of an augmentation depend on, apart from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AugmentationKey {
    /// The seed of the experiment.
    pub seed: u64,
    /// The number of epochs before this one.
    pub epoch: u64,
}

impl Default for Augmentation {
    /// Returns the augmentation that changes nothing.
    fn default() -> Self {
        Self { rotation: 0.0, shift: 0.0, scale: [1.0; 2], shear: 0.0, flip: 0.0, crop: 0, erase: None, outside: 0.0 }
    }
}

impl Default for Erase {
    fn default() -> Self {
        Self { probability: 0.5, area: [0.02, 0.33], aspect: [0.3, 3.3], value: 0.0 }
    }
}

impl Augmentation {
    /// Returns the first setting that is not valid: key, value, and what was expected.
    pub fn fault(&self) -> Option<(&'static str, f64, &'static str)> {
        let Erase { probability, area, aspect, value } = self.erase.unwrap_or_default();
        let within = |low: f64, high: f64| move |value: f64| (low..=high).contains(&value);
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let checks = [
            ("rotation", self.rotation, within(0.0, 180.0)(self.rotation), "0 to 180 degrees"),
            ("shift", self.shift, within(0.0, 1e6)(self.shift), "0 pixels or more"),
            ("scale", self.scale[0], positive(self.scale[0]), "two factors above 0, such as [0.9, 1.1]"),
            ("scale", self.scale[1], positive(self.scale[1]), "two factors above 0, such as [0.9, 1.1]"),
            ("scale", self.scale[1], self.scale[0] <= self.scale[1], "the smaller factor first"),
            ("shear", self.shear, within(0.0, 80.0)(self.shear), "0 to 80 degrees"),
            ("flip", self.flip, within(0.0, 1.0)(self.flip), "a probability, 0 to 1"),
            ("crop", f64::from(self.crop), self.crop <= 1 << 20, "0 pixels or more"),
            ("outside", self.outside, self.outside.is_finite(), "a number"),
            ("erase.probability", probability, within(0.0, 1.0)(probability), "a probability, 0 to 1"),
            ("erase.area", area[0], within(0.0, 1.0)(area[0]), "two shares of the image, such as [0.02, 0.33]"),
            ("erase.area", area[1], within(area[0], 1.0)(area[1]), "two shares of the image, the smaller first"),
            ("erase.aspect", aspect[0], positive(aspect[0]), "two ratios above 0, such as [0.3, 3.3]"),
            ("erase.aspect", aspect[1], positive(aspect[1]) && aspect[0] <= aspect[1], "the smaller ratio first"),
            ("erase.value", value, value.is_finite(), "a number"),
        ];
        let fault = checks.into_iter().find(|(_, _, valid, _)| !valid);
        fault.map(|(key, value, _, expected)| (key, value, expected))
    }
}

#[cfg(test)]
mod tests;
