//! A small grey image as crisp squares.

use super::canvas::{Canvas, Rect};
use super::style::{GRID, MUTED};
use super::text::coordinate as c;

/// Draws `image` (row by row, 0 black to 255 white) as large as fits into `area`, from its top left corner. Returns the
/// part it takes. Pixels missing at the end are left out.
pub(super) fn draw_pixels(canvas: &mut Canvas, area: Rect, image: &[u8], width: usize, height: usize) -> Rect {
    if width == 0 || height == 0 {
        canvas.rect(area, GRID);
        return area;
    }
    let side = (area.width / width as f64).min(area.height / height as f64);
    // Whole pixels stay equally large on the screen.
    let side = if side >= 1.0 { side.floor() } else { side };
    let drawn = Rect { width: side * width as f64, height: side * height as f64, ..area };
    // A path a grey level; runs of the same level in a row make one rectangle.
    let mut levels = vec![String::new(); 256];
    for (y, row) in image.chunks(width).take(height).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            levels[usize::from(run[0])] += &format!("M{x} {y}h{0}v1h-{0}z", run.len());
            x += run.len();
        }
    }
    canvas.element(&format!(
        r#"<g transform="translate({} {}) scale({side:.5})" shape-rendering="crispEdges">"#,
        c(drawn.left),
        c(drawn.top)
    ));
    for (level, data) in levels.iter().enumerate().filter(|(_, data)| !data.is_empty()) {
        canvas.element(&format!(r##"<path fill="#{level:02x}{level:02x}{level:02x}" d="{data}"/>"##));
    }
    canvas.element("</g>");
    let (x, y, width, height) = (c(drawn.left), c(drawn.top), c(drawn.width), c(drawn.height));
    canvas.element(&format!(
        r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="none" stroke="{MUTED}" stroke-width="0.8"/>"#
    ));
    drawn
}
