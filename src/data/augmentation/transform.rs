//! The transformation of one image: drawn, and composed into one map.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Augmentation, AugmentationKey, Erase};
use crate::kernels::{Erased, Warp};

/// Random words of an image; its numbers, two words each, are always drawn in the same order and number, so that no
/// setting changes what another one draws.
const WORDS: u128 = 32;

/// The transformation of one image: flipped, then cropped, then sheared, scaled and rotated about its middle, then
/// shifted, then erased.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Rotation (degrees), counter-clockwise.
    pub rotation: f64,
    /// Shift to the right and down (pixels).
    pub shift: [f64; 2],
    /// Factor of the size.
    pub scale: f64,
    /// Horizontal shear (degrees).
    pub shear: f64,
    /// Whether it is flipped from left to right.
    pub flip: bool,
    /// The position of the window that is cut out, right and down from the image's own (pixels).
    pub crop: [i64; 2],
    /// What is erased.
    pub erased: Option<Rectangle>,
}

/// A part of an image (pixels).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    /// Rows above it.
    pub top: usize,
    /// Columns left of it.
    pub left: usize,
    /// Its rows.
    pub height: usize,
    /// Its columns.
    pub width: usize,
}

impl Default for Transform {
    /// Returns the transformation that changes nothing.
    fn default() -> Self {
        Self { rotation: 0.0, shift: [0.0; 2], scale: 1.0, shear: 0.0, flip: false, crop: [0; 2], erased: None }
    }
}

/// The random numbers of the images of an epoch.
pub(super) struct Draws {
    start: ChaCha8Rng,
}

impl Draws {
    pub(super) fn new(key: AugmentationKey) -> Self {
        let mut start = ChaCha8Rng::seed_from_u64(key.seed);
        // The streams below 2^32 belong to the network, those below 2^33 to the order of the samples.
        start.set_stream((2 << 32) | key.epoch);
        Self { start }
    }

    fn of_sample(&self, sample: u64) -> impl FnMut() -> f64 + use<> {
        let mut rng = self.start.clone();
        rng.set_word_pos(u128::from(sample) * WORDS);
        move || rng.random()
    }
}

impl Augmentation {
    /// Draws the transformation of the image with this index, of `height` and `width` (pixels).
    pub fn transform(&self, key: AugmentationKey, sample: u64, [height, width]: [usize; 2]) -> Transform {
        self.draw(&Draws::new(key), sample, [height, width])
    }

    pub(super) fn draw(&self, draws: &Draws, sample: u64, size: [usize; 2]) -> Transform {
        let mut uniform = draws.of_sample(sample);
        let mut either_side = |most: f64| (2.0 * uniform() - 1.0) * most;
        let (rotation, shift) = (either_side(self.rotation), [either_side(self.shift), either_side(self.shift)]);
        let scale = between(self.scale, uniform());
        let shear = (2.0 * uniform() - 1.0) * self.shear;
        let flip = uniform() < self.flip;
        let places = f64::from(self.crop) * 2.0 + 1.0;
        let crop = [uniform(), uniform()].map(|place| (place * places) as i64 - i64::from(self.crop));
        let [happens, area, aspect, top, left] = std::array::from_fn(|_| uniform());
        let erase = self.erase.filter(|erase| happens < erase.probability);
        let erased = erase.map(|erase| rectangle(&erase, size, area, aspect, [top, left]));
        Transform { rotation, shift, scale, shear, flip, crop, erased }
    }
}

/// The number at the share `part` of a range.
fn between([low, high]: [f64; 2], part: f64) -> f64 {
    low + (high - low) * part
}

fn rectangle(erase: &Erase, [height, width]: [usize; 2], area: f64, aspect: f64, place: [f64; 2]) -> Rectangle {
    let area = between(erase.area, area) * (height * width) as f64;
    let aspect = between(erase.aspect.map(f64::ln), aspect).exp();
    let side = |length: f64, most: usize| (length.round() as usize).min(most);
    let (tall, wide) = (side((area * aspect).sqrt(), height), side((area / aspect).sqrt(), width));
    let offset = |free: usize, part: f64| (part * (free + 1) as f64) as usize;
    Rectangle { top: offset(height - tall, place[0]), left: offset(width - wide, place[1]), height: tall, width: wide }
}

impl Transform {
    /// The kernel's map from a pixel to its source, in an image of `height` and `width`.
    pub(super) fn warp(&self, [height, width]: [usize; 2], augmentation: &Augmentation) -> Warp {
        let middle = [width, height].map(|size| (size as f64 - 1.0) / 2.0);
        let (sine, cosine) = sine_cosine(self.rotation);
        let shear = self.shear.to_radians().tan();
        // The inverse of scale, shear and rotation.
        let linear =
            [[cosine - shear * sine, -sine - shear * cosine], [sine, cosine]].map(|row| row.map(|x| x / self.scale));
        let from = [middle[0] + self.shift[0], middle[1] + self.shift[1]];
        let mut map: [[f64; 3]; 2] = std::array::from_fn(|i| {
            let [by_x, by_y] = linear[i];
            [by_x, by_y, middle[i] + self.crop[i] as f64 - by_x * from[0] - by_y * from[1]]
        });
        if self.flip {
            let [by_x, by_y, constant] = map[0];
            map[0] = [-by_x, -by_y, width as f64 - 1.0 - constant];
        }
        let value = augmentation.erase.unwrap_or_default().value;
        let erased =
            self.erased.map(|Rectangle { top, left, height, width }| Erased { top, left, height, width, value });
        Warp { map, outside: augmentation.outside, erased }
    }
}

/// Sine and cosine of an angle in degrees, exact for right angles.
fn sine_cosine(degrees: f64) -> (f64, f64) {
    match degrees.rem_euclid(360.0) {
        0.0 => (0.0, 1.0),
        90.0 => (1.0, 0.0),
        180.0 => (0.0, -1.0),
        270.0 => (-1.0, 0.0),
        other => other.to_radians().sin_cos(),
    }
}
