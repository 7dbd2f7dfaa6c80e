//! The hand: from control points to a curve on the page, never the same twice.

use std::f32::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::super::manifest::SIDE;
use super::bell;
use super::glyphs::{Glyph, Point};

/// The side of the box that MNIST fits its digits into, in pixels.
const BOX: f32 = 20.0;
/// Straight pieces between two control points.
const PIECES: usize = 6;

/// Writes a glyph: each stroke as a line of points in pixels.
pub(super) fn write(glyph: Glyph, rng: &mut ChaCha8Rng) -> Vec<Vec<Point>> {
    let mut strokes: Vec<Vec<Point>> = jitter(glyph, rng).iter().map(|points| smooth(points)).collect();
    let bend = Bend::random(rng);
    let map = Affine::random(rng);
    strokes.iter_mut().flatten().for_each(|point| *point = map.apply(bend.apply(*point)));
    fit(&mut strokes, rng);
    strokes
}

/// Moves every control point a little; equal points move together, so corners and joints hold.
fn jitter(glyph: Glyph, rng: &mut ChaCha8Rng) -> Vec<Vec<Point>> {
    const SPREAD: f32 = 0.07;
    let mut moved: Vec<(Point, Point)> = Vec::new();
    let mut place = |point: Point| match moved.iter().find(|(from, _)| *from == point) {
        Some((_, to)) => *to,
        None => {
            let to = (point.0 + SPREAD * bell(rng), point.1 + SPREAD * bell(rng));
            moved.push((point, to));
            to
        }
    };
    glyph.iter().map(|stroke| stroke.iter().map(|&point| place(point)).collect()).collect()
}

/// A Catmull-Rom spline through the points; a point given twice has no tangent of its own and so makes a corner.
fn smooth(points: &[Point]) -> Vec<Point> {
    let at = |index: usize| points[index.min(points.len() - 1)];
    let mut curve = Vec::with_capacity(points.len() * PIECES + 1);
    for index in 0..points.len().saturating_sub(1) {
        let (before, from, to, after) = (at(index.saturating_sub(1)), at(index), at(index + 1), at(index + 2));
        if from == to {
            continue;
        }
        for piece in 0..PIECES {
            let t = piece as f32 / PIECES as f32;
            let spline = |before: f32, from: f32, to: f32, after: f32| {
                let linear = to - before;
                let square = 2.0 * before - 5.0 * from + 4.0 * to - after;
                let cube = 3.0 * (from - to) + after - before;
                from + 0.5 * t * (linear + t * (square + t * cube))
            };
            curve.push((spline(before.0, from.0, to.0, after.0), spline(before.1, from.1, to.1, after.1)));
        }
    }
    curve.extend(points.last());
    curve
}

/// An elastic deformation: the page is displaced by a few long waves.
struct Bend([Wave; 4]);

struct Wave {
    direction: Point,
    phase: f32,
    displacement: Point,
}

impl Bend {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        Self(std::array::from_fn(|_| {
            let (angle, turns) = (rng.random_range(0.0..TAU), rng.random_range(0.4..1.1f32));
            Wave {
                direction: (TAU * turns * angle.cos(), TAU * turns * angle.sin()),
                phase: rng.random_range(0.0..TAU),
                displacement: (0.08 * bell(rng), 0.08 * bell(rng)),
            }
        }))
    }

    fn apply(&self, (x, y): Point) -> Point {
        self.0.iter().fold((x, y), |moved, wave| {
            let height = (wave.direction.0 * x + wave.direction.1 * y + wave.phase).sin();
            (moved.0 + height * wave.displacement.0, moved.1 + height * wave.displacement.1)
        })
    }
}

/// Stretch, slant and rotation.
struct Affine {
    x: Point,
    y: Point,
}

impl Affine {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let stretch = 1.05 + 0.45 * bell(rng);
        // Most people lean to the right.
        let slant = 0.12 + 0.55 * bell(rng);
        let (sin, cos) = (0.3 * bell(rng)).sin_cos();
        // Rotation times slant times stretch; y points down, so leaning right is negative.
        Self { x: (stretch * cos, stretch * sin), y: (-slant * cos - sin, -slant * sin + cos) }
    }

    fn apply(&self, (x, y): Point) -> Point {
        (x * self.x.0 + y * self.y.0, x * self.x.1 + y * self.y.1)
    }
}

/// Scales to the box, then puts the centre of mass into the middle, give or take a pixel.
fn fit(strokes: &mut [Vec<Point>], rng: &mut ChaCha8Rng) {
    let scale = (BOX - 2.0) * rng.random_range(0.84..1.06);
    let shift = (1.6 * bell(rng), 1.6 * bell(rng));
    let (mut low, mut high) = ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN));
    for &(x, y) in strokes.iter().flatten() {
        low = (low.0.min(x), low.1.min(y));
        high = (high.0.max(x), high.1.max(y));
    }
    // Of a digit in this hand, no side is ever this short.
    let scale = scale / (high.0 - low.0).max(high.1 - low.1).max(0.1);

    let (mut mass, mut sum) = (0.0, (0.0, 0.0));
    for line in strokes.iter().flat_map(|stroke| stroke.windows(2)) {
        let length = (line[1].0 - line[0].0).hypot(line[1].1 - line[0].1);
        mass += length;
        sum = (sum.0 + length * (line[0].0 + line[1].0) / 2.0, sum.1 + length * (line[0].1 + line[1].1) / 2.0);
    }
    let middle = SIDE as f32 / 2.0;
    // The mass may be far from the middle of a digit's extent; what would leave the page pulls it back.
    let place = |sum: f32, shift: f32, low: f32, high: f32| {
        let offset = middle + shift - scale * sum / mass;
        offset.max(2.5 - scale * low).min(SIDE as f32 - 2.5 - scale * high)
    };
    let offset = (place(sum.0, shift.0, low.0, high.0), place(sum.1, shift.1, low.1, high.1));
    strokes.iter_mut().flatten().for_each(|point| *point = (scale * point.0 + offset.0, scale * point.1 + offset.1));
}
