//! A finished figure: SVG source, and its rasterisation.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{self, fontdb};

use super::ReportError;
use crate::atomic_file::write_atomically;
use crate::error::Result;

/// PNG pixels to one CSS pixel.
const PNG_SCALE: f32 = 2.0;
/// 256 MiB as rasterised; a figure of a hundred layers has less.
const MOST_PIXELS: u64 = 1 << 26;
/// Two pixels to a CSS pixel of 1/96 inch: 192 dots per inch.
const PNG_DOTS_PER_METRE: u32 = 7559;

/// A figure as SVG source. It stands alone: no external font, image or script.
#[derive(Debug, Clone, PartialEq)]
pub struct Svg {
    source: String,
    width: f64,
    height: f64,
}

impl Svg {
    pub(super) fn new(source: String, width: f64, height: f64) -> Self {
        Self { source, width, height }
    }

    /// The SVG document, fit to be written to a file or put into an HTML page as it is (it uses no ids).
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Width in CSS pixels.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// Height in CSS pixels.
    pub fn height(&self) -> f64 {
        self.height
    }

    /// The figure as a PNG file's bytes, two pixels to a CSS pixel, on white.
    ///
    /// # Errors
    /// [`ReportError::FigureTooLarge`] for a figure beyond what can be rasterised.
    pub fn to_png(&self) -> Result<Vec<u8>, ReportError> {
        let options = usvg::Options {
            fontdb: embedded_fonts(),
            font_family: "DejaVu Sans".to_owned(),
            ..usvg::Options::default()
        };
        let tree = usvg::Tree::from_str(&self.source, &options)?;
        let too_large = || ReportError::FigureTooLarge { width: self.width, height: self.height };
        let size = tree.size().to_int_size().scale_by(PNG_SCALE).ok_or_else(too_large)?;
        if u64::from(size.width()) * u64::from(size.height()) > MOST_PIXELS {
            return Err(too_large());
        }
        let mut pixels = Pixmap::new(size.width(), size.height()).ok_or_else(too_large)?;
        resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
        encode(&pixels)
    }

    /// Writes the figure to `path`, as SVG or PNG by its extension (in any case). The file is whole or not there.
    ///
    /// # Errors
    /// [`ReportError::UnknownFormat`] for another extension, [`crate::Error::Io`] if the file cannot be written, and
    /// those of [`Svg::to_png`].
    ///
    /// ```
    /// use tch_spiking::report::{Chart, chart};
    ///
    /// let folder = tempfile::tempdir().unwrap();
    /// let figure = chart(&Chart::default());
    /// figure.save(folder.path().join("empty.png")).unwrap();
    /// assert!(figure.save(folder.path().join("empty.gif")).is_err());
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        let bytes = match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("svg") => self.source.as_bytes().to_vec(),
            Some("png") => self.to_png()?,
            _ => return Err(ReportError::UnknownFormat { path: path.to_path_buf() }.into()),
        };
        write_atomically(path, |file| file.write_all(&bytes))
    }
}

/// DejaVu Sans, regular and bold, from the program itself.
fn embedded_fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = fontdb::Database::new();
        for font in [dejavu::sans::regular(), dejavu::sans::bold()] {
            fonts.load_font_source(fontdb::Source::Binary(Arc::new(font)));
        }
        fonts.set_sans_serif_family("DejaVu Sans");
        Arc::new(fonts)
    };
    Arc::clone(FONTS.get_or_init(load))
}

/// Figures are opaque: encoded without the alpha channel, at the resolution they were drawn for.
fn encode(pixels: &Pixmap) -> Result<Vec<u8>, ReportError> {
    let rgb: Vec<u8> = pixels.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: PNG_DOTS_PER_METRE,
        yppu: PNG_DOTS_PER_METRE,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&rgb)?;
    writer.finish()?;
    Ok(bytes)
}

/// Asserts that `svg` is valid and that every text lies within it.
#[cfg(test)]
pub(super) fn assert_drawable(svg: &Svg) {
    fn texts_inside(group: &usvg::Group, width: f64, height: f64) {
        for node in group.children() {
            match node {
                usvg::Node::Group(group) => texts_inside(group, width, height),
                usvg::Node::Text(text) => {
                    let place = text.abs_bounding_box();
                    assert!(place.left() >= -1.0 && f64::from(place.right()) <= width + 1.0, "{place:?}");
                    assert!(place.top() >= -1.0 && f64::from(place.bottom()) <= height + 1.0, "{place:?}");
                }
                _ => {}
            }
        }
    }
    let options = usvg::Options { fontdb: embedded_fonts(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg.as_str(), &options).unwrap();
    texts_inside(tree.root(), svg.width(), svg.height());
    assert!(!svg.as_str().contains("NaN") && !svg.as_str().contains("inf "), "{}", svg.as_str());
}

#[cfg(test)]
mod tests {
    use super::super::canvas::{Canvas, Type};
    use super::super::{Chart, Series, chart, text};
    use super::*;

    fn figure() -> Svg {
        chart(&Chart {
            title: "A & B".into(),
            series: vec![Series::line("rate", [(0.0, 1.0), (1.0, 2.0)])],
            ..Chart::default()
        })
    }

    #[test]
    fn png_has_twice_the_size_and_shows_text_in_the_embedded_font() {
        let svg = figure();
        let decode = |svg: &Svg| {
            let mut reader = png::Decoder::new(std::io::Cursor::new(svg.to_png().unwrap())).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            let info = reader.next_frame(&mut pixels).unwrap();
            assert_eq!((info.width, info.height), (2 * svg.width() as u32, 2 * svg.height() as u32));
            pixels
        };
        let dark = |pixels: &[u8]| pixels.chunks(3).filter(|pixel| pixel.iter().all(|&value| value < 100)).count();
        let mut untitled = Chart::default();
        untitled.title.clear();
        assert!(dark(&decode(&svg)) > dark(&decode(&chart(&untitled))) + 300);
    }

    #[test]
    fn estimated_text_width_is_that_of_the_font() {
        let options = usvg::Options { fontdb: embedded_fonts(), ..usvg::Options::default() };
        let sample = "The quick brown fox jumps over 12,345.67 (lazy) dogs & <more>: 98 % @ Hz_";
        for bold in [false, true] {
            let mut canvas = Canvas::new(2000.0, 100.0);
            let set = Type::new(20.0);
            canvas.text((0.0, 50.0), sample, if bold { set.bold() } else { set });
            let tree = usvg::Tree::from_str(canvas.finish("").as_str(), &options).unwrap();
            let Some(usvg::Node::Text(drawn)) = tree.root().children().last() else { panic!("no text") };
            let (drawn, estimated) = (f64::from(drawn.bounding_box().width()), text::width(sample, 20.0, bold));
            assert!((estimated / drawn - 1.0).abs() < 0.02, "{estimated} for {drawn}");
        }
    }

    #[test]
    fn saves_by_extension_and_says_what_it_can_write() {
        let folder = tempfile::tempdir().unwrap();
        let svg = figure();
        svg.save(folder.path().join("a.SVG")).unwrap();
        svg.save(folder.path().join("a.png")).unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("a.SVG")).unwrap(), svg.as_str());
        assert!(std::fs::read(folder.path().join("a.png")).unwrap().starts_with(b"\x89PNG"));
        for name in ["a.jpg", "a"] {
            let message = svg.save(folder.path().join(name)).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(".svg or .png"), "{message}");
        }
        assert!(svg.save(folder.path().join("missing/a.png")).unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn a_figure_beyond_all_bounds_is_refused() {
        let error = Canvas::new(1e6, 1e6).finish("").to_png().unwrap_err();
        assert!(matches!(error, ReportError::FigureTooLarge { .. }), "{error}");
    }
}
