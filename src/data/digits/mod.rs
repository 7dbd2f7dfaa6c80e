//! Built-in digits: 28x28 images that resemble handwriting, generated from a seed.
//!
//! A digit is one of several ways to write it (`glyphs.rs`): strokes through control points. Each point is jittered,
//! the strokes are bent elastically, slanted, rotated, stretched (`hand.rs`), fitted into the 20x20 box of MNIST,
//! centred by their mass, and inked with a pen of some width, softness and grain (`ink.rs`).
//!
//! Image `i` depends on `(seed, split, i)` alone, so a smaller set is the beginning of a larger one.

mod glyphs;
mod hand;
mod ink;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Images;
use super::manifest::SIDE;

/// The default number of training images.
pub const TRAIN: usize = 30_000;
/// The default number of test images.
pub const TEST: usize = 5_000;
/// The maximum number of images of one split (784 MB of pixels).
pub const MAX_IMAGES: usize = 1_000_000;

/// The split, each with an independent random stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// Training images.
    Train,
    /// Validation images, for decisions during training.
    Validation,
    /// Test images.
    Test,
}

/// Generates the first `count` digits of a split, on all cores.
///
/// # Shapes
/// `[count, 1, 28, 28]`, white (255) on black (0); labels 0 to 9 in random order, equally likely.
///
/// ```
/// use tch_spiking::data::digits::{Split, generate};
/// let few = generate(0, Split::Train, 10);
/// assert_eq!(few, generate(0, Split::Train, 50).range(0..10));
/// assert_ne!(few, generate(1, Split::Train, 10));
/// ```
pub fn generate(seed: u64, split: Split, count: usize) -> Images {
    let mut pixels = vec![0; count * SIDE * SIDE];
    let mut labels = vec![0; count];
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let share = count.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let shares = pixels.chunks_mut(share * SIDE * SIDE).zip(labels.chunks_mut(share));
        for (number, (pixels, labels)) in shares.enumerate() {
            scope.spawn(move || {
                let images = pixels.chunks_exact_mut(SIDE * SIDE).zip(labels);
                for (index, (image, label)) in images.enumerate() {
                    *label = draw(seed, split, number * share + index, image);
                }
            });
        }
    });
    Images { pixels, labels, channels: 1, height: SIDE, width: SIDE }
}

/// Draws one digit into `image` and returns its class.
fn draw(seed: u64, split: Split, index: usize, image: &mut [u8]) -> u8 {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((split as u64) << 48 | index as u64);
    let label = rng.random_range(0..10);
    let ways = glyphs::GLYPHS[usize::from(label)];
    let glyph = ways[rng.random_range(0..ways.len())];
    let pen = ink::Pen::random(&mut rng);
    let strokes = hand::write(glyph, &mut rng);
    ink::draw(&strokes, &pen, &mut rng, image);
    label
}

/// A random number in -1..1, most often near 0: the mean of three uniform ones, so never an outlier.
fn bell(rng: &mut ChaCha8Rng) -> f32 {
    (0..3).map(|_| rng.random_range(-1.0..1.0f32)).sum::<f32>() / 3.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_set_is_the_beginning_of_a_larger_one() {
        assert_eq!(generate(3, Split::Test, 37), generate(3, Split::Test, 100).range(0..37));
        assert!(generate(3, Split::Test, 0).is_empty());
    }

    #[test]
    fn seeds_and_splits_differ() {
        let base = generate(0, Split::Train, 20);
        assert_ne!(base, generate(1, Split::Train, 20));
        assert_ne!(base, generate(0, Split::Test, 20));
    }

    #[test]
    fn classes_are_balanced() {
        let mut counts = [0; 10];
        generate(0, Split::Train, 10_000).labels.iter().for_each(|&label| counts[usize::from(label)] += 1);
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn digits_are_centred_white_on_black_with_soft_edges() {
        let digits = generate(5, Split::Train, 500);
        for index in 0..digits.len() {
            let image = digits.image(index).unwrap();
            let ink: f32 = image.iter().map(|&pixel| f32::from(pixel)).sum();
            let mean = ink / 784.0;
            assert!((8.0..90.0).contains(&mean), "image {index}: mean {mean}");
            assert!(image.iter().max() >= Some(&190), "image {index} is pale");
            assert!(
                image.iter().filter(|&&pixel| (20..190).contains(&pixel)).count() > 15,
                "image {index} is not smooth"
            );
            let centre = |coordinate: fn(usize) -> usize| {
                image.iter().enumerate().map(|(at, &pixel)| coordinate(at) as f32 * f32::from(pixel)).sum::<f32>() / ink
            };
            let (x, y) = (centre(|at| at % SIDE), centre(|at| at / SIDE));
            assert!((x - 13.5).abs() < 3.0 && (y - 13.5).abs() < 3.0, "image {index}: centre {x}, {y}");
            let edge = |coordinate: usize| coordinate == 0 || coordinate == SIDE - 1;
            let border = (0..784).filter(|at| edge(at % SIDE) || edge(at / SIDE));
            assert!(border.map(|at| image[at]).max() < Some(160), "image {index} is cut off");
        }
    }

    /// The nearest class mean gets most digits right: they can be told apart; not all: they vary.
    #[test]
    fn classes_can_be_told_apart() {
        let (train, test) = (generate(0, Split::Train, 3000), generate(0, Split::Test, 500));
        let mut sums = vec![[0.0f32; 784]; 10];
        let mut counts = [0.0f32; 10];
        for (index, &label) in train.labels.iter().enumerate() {
            counts[usize::from(label)] += 1.0;
            let image = train.image(index).unwrap();
            sums[usize::from(label)].iter_mut().zip(image).for_each(|(sum, &pixel)| *sum += f32::from(pixel));
        }
        let distance = |class: usize, image: &[u8]| -> f32 {
            let mean = sums[class].iter().map(|sum| sum / counts[class]);
            mean.zip(image).map(|(mean, &pixel)| (mean - f32::from(pixel)).powi(2)).sum()
        };
        let right = |index: &usize| {
            let image = test.image(*index).unwrap();
            let nearest = (0..10).min_by(|&a, &b| distance(a, image).total_cmp(&distance(b, image)));
            nearest == Some(usize::from(test.labels[*index]))
        };
        let accuracy = (0..test.len()).filter(right).count() as f32 / test.len() as f32;
        assert!((0.6..0.99).contains(&accuracy), "nearest mean: {accuracy}");
    }
}
