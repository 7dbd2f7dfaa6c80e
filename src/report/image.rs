//! Reading of a user's image as input of a network.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use png::{ColorType, DecodingError, Limits, Transformations};

use super::ReportError;
use crate::error::{Error, Result};

/// The maximum width and height; larger images only use memory for detail that no network needs.
const LARGEST_SIDE: u32 = 4096;
/// The memory limit of the decoder: the largest image and its metadata.
const MEMORY: usize = 256 << 20;

/// Reads a PNG image as `width` x `height` grey values, row by row, 0 black to 255 white.
///
/// Takes 1 to 16 bits, grey, RGB or palette, with or without transparency (which is put on white) or interlacing.
/// Colour becomes grey by the luma weights of Rec. 601 (0.299 R + 0.587 G + 0.114 B). An image of another size is
/// resized by area averaging, each axis for itself, so one of another aspect ratio is stretched.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`ReportError::NotPng`], [`ReportError::DamagedPng`],
/// [`ReportError::ImageTooLarge`] (over 4096 pixels a side) or [`ReportError::TargetSize`].
pub fn read_grayscale(path: impl AsRef<Path>, width: usize, height: usize) -> Result<Vec<u8>> {
    let path = path.as_ref();
    let limit = LARGEST_SIDE;
    let allowed = 1..=limit as usize;
    if !allowed.contains(&width) || !allowed.contains(&height) {
        return Err(ReportError::TargetSize { path: path.to_path_buf(), width, height, limit }.into());
    }
    let file = File::open(path).map_err(|error| Error::io("read", path, error))?;
    let mut file = BufReader::new(file);
    let start = file.fill_buf().map_err(|error| Error::io("read", path, error))?;
    if let Some(found) = not_png(start) {
        return Err(ReportError::NotPng { path: path.to_path_buf(), found }.into());
    }

    let failed = |error| match error {
        DecodingError::IoError(error) if error.kind() != ErrorKind::UnexpectedEof => Error::io("read", path, error),
        DecodingError::IoError(_) => damaged(path, "it ends too early"),
        error => damaged(path, error),
    };
    let mut decoder = png::Decoder::new_with_limits(file, Limits { bytes: MEMORY });
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let header = decoder.read_header_info().map_err(failed)?;
    let (source_width, source_height) = (header.width, header.height);
    if source_width > limit || source_height > limit {
        let path = path.to_path_buf();
        return Err(ReportError::ImageTooLarge { path, width: source_width, height: source_height, limit }.into());
    }
    let mut reader = decoder.read_info().map_err(failed)?;
    let size = reader.output_buffer_size().ok_or_else(|| damaged(path, "its size cannot be computed"))?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(failed)?;
    // Reads the rest, so that a file cut behind its pixels is told from a whole one.
    reader.finish().map_err(failed)?;
    pixels.truncate(frame.buffer_size());

    let grey = to_grey(&pixels, frame.color_type);
    Ok(resize(&grey, frame.width as usize, frame.height as usize, width, height))
}

fn damaged(path: &Path, reason: impl ToString) -> Error {
    ReportError::DamagedPng { path: path.to_path_buf(), reason: reason.to_string() }.into()
}

/// The format of a file that starts like this, if it is not a PNG image.
fn not_png(start: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(&[u8], &str); 6] = [
        (b"\xff\xd8\xff", "it looks like JPEG"),
        (b"GIF8", "it looks like GIF"),
        (b"BM", "it looks like BMP"),
        (b"RIFF", "it looks like WebP"),
        (b"<", "it looks like SVG or HTML"),
        (b"\0\0\x08", "it looks like an IDX file of MNIST"),
    ];
    if start.starts_with(b"\x89PNG\r\n\x1a\n") {
        return None;
    }
    let known = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature));
    Some(known.map_or(if start.is_empty() { "it is empty" } else { "its signature is missing" }, |(_, name)| name))
}

/// Eight-bit samples of any colour type as grey values from 0 to 255.
fn to_grey(samples: &[u8], colour: ColorType) -> Vec<f32> {
    let luma = |rgb: &[u8]| 0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2]);
    let on_white = |grey: f32, alpha: u8| 255.0 + (grey - 255.0) * f32::from(alpha) / 255.0;
    match colour {
        ColorType::Rgb => samples.chunks_exact(3).map(luma).collect(),
        ColorType::Rgba => samples.chunks_exact(4).map(|pixel| on_white(luma(pixel), pixel[3])).collect(),
        ColorType::GrayscaleAlpha => samples.chunks_exact(2).map(|pixel| on_white(pixel[0].into(), pixel[1])).collect(),
        // The decoder has turned a palette into colours.
        ColorType::Grayscale | ColorType::Indexed => samples.iter().map(|&grey| grey.into()).collect(),
    }
}

/// Area averaging, columns first, then rows.
fn resize(grey: &[f32], width: usize, height: usize, new_width: usize, new_height: usize) -> Vec<u8> {
    let columns = overlaps(width, new_width);
    let narrowed: Vec<f32> = grey
        .chunks_exact(width)
        .flat_map(|row| columns.iter().map(|parts| parts.iter().map(|&(x, share)| row[x] * share).sum()))
        .collect();
    let mut resized = Vec::with_capacity(new_width * new_height);
    for parts in overlaps(height, new_height) {
        resized.extend((0..new_width).map(|x| {
            let mean: f32 = parts.iter().map(|&(y, share)| narrowed[y * new_width + x] * share).sum();
            mean.round() as u8
        }));
    }
    resized
}

/// For each of `to` equal parts of a length: which of its `from` units it overlaps, and by which share of the part.
fn overlaps(from: usize, to: usize) -> Vec<Vec<(usize, f32)>> {
    // In units of 1 / (from * to) all borders are whole numbers.
    (0..to)
        .map(|part| {
            let (start, end) = (part * from, (part + 1) * from);
            let units = start / to..end.div_ceil(to);
            let shared = |unit: usize| end.min((unit + 1) * to) - start.max(unit * to);
            units.map(|unit| (unit, shared(unit) as f32 / from as f32)).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use png::BitDepth;

    fn encode(width: u32, height: u32, colour: ColorType, depth: BitDepth, samples: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(colour);
        encoder.set_depth(depth);
        if colour == ColorType::Indexed {
            encoder.set_palette(&[0, 0, 0, 255, 0, 0, 255, 255, 255, 9, 9, 9]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(samples).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn read(bytes: &[u8], width: usize, height: usize) -> Result<Vec<u8>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_grayscale(file.path(), width, height)
    }

    #[test]
    fn every_kind_of_pixel_becomes_grey() {
        let expected = [0, 76, 255];
        let cases: [(ColorType, BitDepth, &[u8], [u8; 3]); 7] = [
            (ColorType::Grayscale, BitDepth::Eight, &[0, 76, 255], expected),
            (ColorType::Grayscale, BitDepth::Sixteen, &[0, 0, 76, 76, 255, 255], expected),
            (ColorType::Grayscale, BitDepth::Two, &[0b00_01_11_00], [0, 85, 255]),
            (ColorType::GrayscaleAlpha, BitDepth::Eight, &[0, 255, 76, 255, 0, 0], expected),
            (ColorType::Rgb, BitDepth::Eight, &[0, 0, 0, 255, 0, 0, 255, 255, 255], expected),
            (ColorType::Rgba, BitDepth::Eight, &[0, 0, 0, 255, 255, 0, 0, 255, 9, 9, 9, 0], expected),
            (ColorType::Indexed, BitDepth::Eight, &[0, 1, 2], expected),
        ];
        for (colour, depth, samples, expected) in cases {
            assert_eq!(read(&encode(3, 1, colour, depth, samples), 3, 1).unwrap(), expected, "{colour:?} {depth:?}");
        }
    }

    #[test]
    fn resizing_averages_areas_and_keeps_the_mean() {
        let bytes = encode(4, 2, ColorType::Grayscale, BitDepth::Eight, &[0, 100, 20, 40, 100, 200, 60, 80]);
        assert_eq!(read(&bytes, 2, 1).unwrap(), [100, 50]);
        assert_eq!(read(&bytes, 1, 1).unwrap(), [75]);
        // Three columns of 4 / 3 pixels each: (0 + 100 / 3) / (4 / 3), ..
        assert_eq!(read(&bytes, 3, 2).unwrap(), [25, 60, 35, 125, 130, 75]);
        assert_eq!(read(&bytes, 8, 2).unwrap()[..8], [0, 0, 100, 100, 20, 20, 40, 40]);
    }

    #[test]
    fn a_figure_of_ours_can_be_read_back() {
        let figure = super::super::chart(&super::super::Chart::default()).to_png().unwrap();
        let grey = read(&figure, 28, 28).unwrap();
        assert!(grey.len() == 784 && grey[0] == 255);
    }

    #[test]
    fn what_is_no_png_is_said_to_be_so() {
        for (bytes, found) in [(&b"\xff\xd8\xff\xe0"[..], "JPEG"), (b"", "empty"), (b"hello, world", "signature")] {
            let message = read(bytes, 28, 28).unwrap_err().to_string();
            assert!(message.contains("not a PNG") && message.contains(found), "{message}");
        }
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.png");
        for path in [missing.as_path(), folder.path()] {
            let error = read_grayscale(path, 28, 28).unwrap_err();
            assert!(matches!(error, Error::Io { action: "read", .. }), "{error}");
        }
    }

    #[test]
    fn a_damaged_image_is_refused_without_a_panic() {
        let samples: Vec<u8> = (0..=255).collect();
        let whole = encode(16, 16, ColorType::Grayscale, BitDepth::Eight, &samples);
        for length in 8..whole.len() {
            let error = read(&whole[..length], 16, 16).unwrap_err();
            assert!(matches!(error, Error::Report(ReportError::DamagedPng { .. })), "{length}: {error}");
        }
        for place in 8..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x55;
            // Some chunks may be passed over; the pixels must then be the same.
            if let Ok(pixels) = read(&bytes, 16, 16) {
                assert_eq!(pixels, samples, "byte {place}");
            }
        }
    }

    #[test]
    fn absurd_sizes_are_refused_before_anything_is_allocated() {
        let mut bytes = Vec::new();
        png::Encoder::new(&mut bytes, 2_000_000_000, 5).write_header().unwrap();
        let message = read(&bytes, 28, 28).unwrap_err().to_string();
        assert!(message.contains("2000000000 x 5") && message.contains("4096"), "{message}");
        let small = encode(1, 1, ColorType::Grayscale, BitDepth::Eight, &[7]);
        for (width, height) in [(0, 28), (28, 0), (usize::MAX, 1)] {
            let error = read(&small, width, height).unwrap_err();
            assert!(matches!(error, Error::Report(ReportError::TargetSize { .. })), "{error}");
        }
    }
}
