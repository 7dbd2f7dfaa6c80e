//! The pen: from curves to pixels.

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::super::manifest::SIDE;
use super::bell;
use super::glyphs::Point;

/// The properties of a pen.
pub(super) struct Pen {
    /// Half the width of its line, in pixels.
    radius: f32,
    /// How much wider the line is at one end than in the middle, as a part of its radius.
    taper: f32,
    /// Pixels from full ink to none at the edge of the line.
    softness: f32,
    /// The maximum brightness, 0 to 1.
    ink: f32,
    /// How much the ink varies from pixel to pixel.
    grain: f32,
    /// How much each pixel takes from its neighbours, 0 to 1.
    blur: f32,
}

impl Pen {
    pub(super) fn random(rng: &mut ChaCha8Rng) -> Self {
        Self {
            radius: 1.3 + 0.85 * bell(rng),
            taper: 0.35 * bell(rng),
            softness: rng.random_range(0.9..1.3),
            ink: rng.random_range(0.94..1.12),
            grain: rng.random_range(0.0..0.12),
            blur: rng.random_range(0.0..0.4),
        }
    }
}

/// Draws the strokes into `image`, `[28, 28]`.
pub(super) fn draw(strokes: &[Vec<Point>], pen: &Pen, rng: &mut ChaCha8Rng, image: &mut [u8]) {
    let mut page = [0.0f32; SIDE * SIDE];
    for stroke in strokes {
        let pieces = stroke.len().saturating_sub(1).max(1) as f32;
        for (index, line) in stroke.windows(2).enumerate() {
            let along = 2.0 * index as f32 / pieces - 1.0;
            draw_line(line[0], line[1], pen.radius * (1.0 + pen.taper * along), pen.softness, &mut page);
        }
    }
    let page = blur(&page, pen.blur);
    let mut noise = [0; SIDE * SIDE];
    rng.fill_bytes(&mut noise);
    for ((pixel, value), noise) in image.iter_mut().zip(page).zip(noise) {
        let grain = 1.0 - pen.grain * f32::from(noise) / 255.0;
        // A cast from float to integer saturates.
        *pixel = (255.0 * (pen.ink * value * grain).min(1.0)).round() as u8;
    }
}

/// Covers what is within `radius` of a straight line; where lines overlap, the stronger ink stays.
fn draw_line(from: Point, to: Point, radius: f32, softness: f32, page: &mut [f32; SIDE * SIDE]) {
    let reach = radius + softness / 2.0;
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let squared = (dx * dx + dy * dy).max(1e-9);
    let pixels = |a: f32, b: f32| {
        let first = (a.min(b) - reach - 0.5).max(0.0) as usize;
        first..((a.max(b) + reach + 0.5).max(0.0) as usize).min(SIDE)
    };
    for row in pixels(from.1, to.1) {
        for column in pixels(from.0, to.0) {
            let (x, y) = (column as f32 + 0.5 - from.0, row as f32 + 0.5 - from.1);
            let along = ((x * dx + y * dy) / squared).clamp(0.0, 1.0);
            let (x, y) = (x - along * dx, y - along * dy);
            let cover = ((radius - (x * x + y * y).sqrt()) / softness + 0.5).clamp(0.0, 1.0);
            let pixel = &mut page[row * SIDE + column];
            *pixel = pixel.max(cover);
        }
    }
}

/// Mixes each pixel with a 3x3 binomial blur of its neighbourhood.
fn blur(page: &[f32; SIDE * SIDE], strength: f32) -> [f32; SIDE * SIDE] {
    let mut rows = *page;
    for at in 1..page.len() - 1 {
        rows[at] = (page[at - 1] + 2.0 * page[at] + page[at + 1]) / 4.0;
    }
    let mut mixed = *page;
    for at in SIDE..page.len() - SIDE {
        let blurred = (rows[at - SIDE] + 2.0 * rows[at] + rows[at + SIDE]) / 4.0;
        mixed[at] += strength * (blurred - page[at]);
    }
    mixed
}
