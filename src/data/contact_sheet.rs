//! Contact sheets: many images in one picture.

use super::Images;

/// A PNG picture of the first `rows * columns` images, row after row, with a dark line between them.
///
/// # Errors
/// The error of the PNG encoder, if `images` is empty or its pixels do not match its shape.
pub fn contact_sheet(images: &Images, rows: usize, columns: usize) -> Result<Vec<u8>, png::EncodingError> {
    const GAP: usize = 2;
    let (width, height) = (columns * (images.width + GAP), rows * (images.height + GAP));
    let mut sheet = vec![60; width * height];
    for index in 0..(rows * columns).min(images.len()) {
        let (top, left) = (index / columns * (images.height + GAP), index % columns * (images.width + GAP));
        let Some(pixels) = images.image(index).filter(|_| images.width > 0) else { continue };
        // Of more than one channel the first is shown.
        for (y, row) in pixels.chunks_exact(images.width).take(images.height).enumerate() {
            let start = (top + y) * width + left;
            sheet[start..start + images.width].copy_from_slice(row);
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&sheet)?;
    writer.finish()?;
    Ok(file)
}
