//! Affine maps of images, sampled once with bilinear interpolation.

use tch_spiking_core::kernels::Number;
use tch_spiking_core::simd::{Kernel, vectorised};

use super::threads::{SharedMut, parallel_for};

/// Number of pixels below which a second thread costs more than it saves.
const GRAIN: usize = 16 * 1024;
/// Pixels around the copy of an image from which is sampled: one before it, two behind, so that no sample needs a test.
const BEFORE: usize = 1;
const AROUND: usize = 3;

/// How an image is made from another: the pixel at (`x`, `y`) shows the source at
/// (`map[0][0] x + map[0][1] y + map[0][2]`, `map[1][0] x + map[1][1] y + map[1][2]`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Warp {
    /// From a pixel's position to the position in the source, in pixels.
    pub map: [[f64; 3]; 2],
    /// The value outside of the source.
    pub outside: f64,
    /// A rectangle that is overwritten.
    pub erased: Option<Erased>,
}

/// A rectangle of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Erased {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
    pub value: f64,
}

impl Warp {
    const IDENTITY: [[f64; 3]; 2] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
}

/// Warps images: `source` and `output` are `[warps.len(), planes, height, width]`; all planes of an image alike.
pub(crate) fn warp<R: Number>(source: &[R], [planes, height, width]: [usize; 3], warps: &[Warp], output: &mut [R]) {
    let (plane, image) = (height * width, planes * height * width);
    assert_eq!(source.len(), warps.len() * image);
    assert_eq!(output.len(), source.len());
    let output = SharedMut::new(output);
    parallel_for(warps.len(), GRAIN.div_ceil(image.max(1)), |images| {
        let mut padded = vec![R::default(); (height + AROUND) * (width + AROUND)];
        for index in images {
            let range = index * image..(index + 1) * image;
            // SAFETY: every image belongs to exactly one task.
            let output = unsafe { output.range_mut(range.clone()) };
            let pairs = source[range].chunks_exact(plane.max(1)).zip(output.chunks_exact_mut(plane.max(1)));
            for (source, output) in pairs {
                warp_plane(source, width, &warps[index], &mut padded, output);
            }
        }
    });
}

fn warp_plane<R: Number>(source: &[R], width: usize, warp: &Warp, padded: &mut [R], output: &mut [R]) {
    if warp.map == Warp::IDENTITY {
        output.copy_from_slice(source);
    } else {
        padded.fill(R::constant(warp.outside));
        for (row, values) in source.chunks_exact(width).enumerate() {
            padded[(row + BEFORE) * (width + AROUND) + BEFORE..][..width].copy_from_slice(values);
        }
        let size = [width, source.len() / width];
        for (y, row) in output.chunks_exact_mut(width).enumerate() {
            let start = warp.map.map(|[_, by_y, constant]| (by_y * y as f64 + constant) as f32);
            let step = warp.map.map(|[by_x, ..]| by_x as f32);
            vectorised(Row { padded: &*padded, size, start, step, row });
        }
    }
    if let Some(Erased { top, left, height, width: columns, value }) = warp.erased {
        for row in output.chunks_exact_mut(width).skip(top).take(height) {
            row[left.min(width)..(left + columns).min(width)].fill(R::constant(value));
        }
    }
}

/// A row of the output.
struct Row<'a, R> {
    /// The source with [`AROUND`] pixels around it.
    padded: &'a [R],
    /// Width and height of the source.
    size: [usize; 2],
    /// The position in the source of the row's first pixel, and the step to the next.
    start: [f32; 2],
    step: [f32; 2],
    row: &'a mut [R],
}

impl<R: Number> Kernel for Row<'_, R> {
    #[inline(always)]
    fn run(self) {
        let Self { padded, size, start, step, row } = self;
        let stride = size[0] + AROUND;
        for (x, pixel) in row.iter_mut().enumerate() {
            // In the padded image, where everything farther away is outside too.
            let at: [f32; 2] =
                std::array::from_fn(|i| (start[i] + step[i] * x as f32).clamp(-1.0, size[i] as f32) + BEFORE as f32);
            let whole = at.map(|at| at as usize);
            let [right, down]: [R; 2] = std::array::from_fn(|i| R::constant(f64::from(at[i] - whole[i] as f32)));
            let first = whole[1] * stride + whole[0];
            let between = |left: R, other: R, part: R| left * (R::constant(1.0) - part) + other * part;
            let upper = between(padded[first], padded[first + 1], right);
            let lower = between(padded[first + stride], padded[first + stride + 1], right);
            *pixel = between(upper, lower, down);
        }
    }
}
