//! A small SVG writer: shapes in, text out. Coordinates are CSS pixels, y downwards.

use super::style::INK;
use super::svg::Svg;
use super::text::{coordinate as c, escape};

/// An axis-aligned rectangle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rect {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }
}

/// How a line is drawn; ends and corners are round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stroke<'a> {
    pub colour: &'a str,
    pub width: f64,
    pub dash: &'a str,
}

impl<'a> Stroke<'a> {
    pub fn solid(colour: &'a str, width: f64) -> Self {
        Self { colour, width, dash: "" }
    }
}

/// Where a text's x coordinate is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type<'a> {
    pub size: f64,
    pub bold: bool,
    pub colour: &'a str,
    pub anchor: Anchor,
    /// Reads from bottom to top.
    pub upwards: bool,
}

impl<'a> Type<'a> {
    pub fn new(size: f64) -> Self {
        Self { size, bold: false, colour: INK, anchor: Anchor::Start, upwards: false }
    }

    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub fn colour(self, colour: &'a str) -> Self {
        Self { colour, ..self }
    }

    pub fn anchor(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub fn upwards(self) -> Self {
        Self { upwards: true, ..self }
    }
}

/// An SVG document in the making.
pub(super) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

impl Canvas {
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Appends a ready element.
    pub fn element(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    pub fn rect(&mut self, area: Rect, fill: &str) {
        let (x, y, width, height) = (c(area.left), c(area.top), c(area.width), c(area.height));
        self.element(&format!(r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>"#));
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.path(&format!("M{} {}L{} {}", c(from.0), c(from.1), c(to.0), c(to.1)), stroke);
    }

    /// Strokes path data, unfilled.
    pub fn path(&mut self, data: &str, stroke: Stroke) {
        let Stroke { colour, width, dash } = stroke;
        let dash = if dash.is_empty() { String::new() } else { format!(r#" stroke-dasharray="{dash}""#) };
        self.element(&format!(
            r#"<path d="{data}" fill="none" stroke="{colour}" stroke-width="{}"{dash} stroke-linecap="round" stroke-linejoin="round"/>"#,
            c(width)
        ));
    }

    /// A text with its baseline at `y`.
    pub fn text(&mut self, (x, y): (f64, f64), content: &str, set: Type) {
        if content.is_empty() {
            return;
        }
        let anchor = match set.anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let (x, y, size, colour) = (c(x), c(y), c(set.size), set.colour);
        let weight = if set.bold { r#" font-weight="bold""# } else { "" };
        let turn = if set.upwards { format!(r#" transform="rotate(-90 {x} {y})""#) } else { String::new() };
        let content = escape(content);
        self.element(&format!(
            r#"<text x="{x}" y="{y}" font-size="{size}"{weight}{anchor}{turn} fill="{colour}">{content}</text>"#
        ));
    }

    /// Runs `draw` with everything outside `area` cut off. A nested `svg` element clips without needing an id, which
    /// would clash between figures put into one page.
    pub fn clipped(&mut self, area: Rect, draw: impl FnOnce(&mut Self)) {
        let (x, y, width, height) = (c(area.left), c(area.top), c(area.width), c(area.height));
        self.element(&format!(
            r#"<svg x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}">"#
        ));
        draw(self);
        self.element("</svg>");
    }

    /// The document, on white; `title` is what a screen reader or a hovering pointer gets.
    pub fn finish(self, title: &str) -> Svg {
        let (width, height) = (c(self.width), c(self.height));
        let source = format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" "#,
                r#"viewBox="0 0 {width} {height}" font-family="DejaVu Sans, sans-serif">"#,
                "\n<title>{title}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n",
            ),
            width = width,
            height = height,
            title = escape(title),
            body = self.body,
        );
        Svg::new(source, self.width, self.height)
    }
}
