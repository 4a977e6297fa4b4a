//! QR codes (ISO/IEC 18004): on a terminal, as SVG, and as PNG.

use std::fmt::Write as _;

use png::{BitDepth, ColorType, Encoder};
use qrcode::{Color, EcLevel, QrCode};
use thiserror::Error;

/// Light modules on each side, without which readers do not find the code.
const QUIET: usize = 4;
/// Pixels of a module's side in a PNG: sharp on a screen, and a hand's width on paper.
const PIXELS: usize = 8;
/// Seven of a hundred code words can be lost. The code is read from a screen or a clean sheet, and each level more makes
/// it larger: on a terminal there is little room.
const CORRECTION: EcLevel = EcLevel::L;

/// Black on bright white, whatever the terminal's own colours are.
const INK_AND_PAPER: &str = "\x1b[30;107m";
const RESET: &str = "\x1b[0m";

/// A QR code, with its quiet zone.
#[derive(Clone, Debug)]
pub struct Picture {
    /// Row by row; true is dark.
    modules: Vec<bool>,
    side: usize,
}

/// Why there is no picture.
#[derive(Debug, Error)]
pub enum PictureError {
    /// No QR code holds that much.
    #[error("{0} octets are too many for a QR code")]
    TooLong(usize),
    /// The encoder of PNG failed.
    #[error("the PNG cannot be made: {0}")]
    Png(#[from] png::EncodingError),
}

/// How light and dark are told apart on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// By colours.
    Coloured,
    /// Light modules are drawn: for texts that are shown light on dark.
    Plain,
}

impl Picture {
    /// The QR code of `text`.
    ///
    /// # Errors
    /// [`PictureError::TooLong`].
    pub fn of(text: &str) -> Result<Self, PictureError> {
        let code = QrCode::with_error_correction_level(text, CORRECTION)
            .map_err(|_| PictureError::TooLong(text.len()))?;
        let inner = code.width();
        let side = inner + 2 * QUIET;
        let mut modules = vec![false; side * side];
        for (place, color) in code.to_colors().into_iter().enumerate() {
            let (x, y) = (place % inner + QUIET, place / inner + QUIET);
            modules[y * side + x] = color == Color::Dark;
        }
        Ok(Self { modules, side })
    }

    /// Modules of each side, the quiet zone included.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Whether a module is dark; outside of the picture there is light.
    pub fn is_dark(&self, x: usize, y: usize) -> bool {
        x < self.side && self.modules.get(y * self.side + x) == Some(&true)
    }

    /// Lines for a terminal, two rows of modules in each.
    pub fn terminal(&self, ink: Ink) -> String {
        let mut text = String::new();
        for y in (0..self.side).step_by(2) {
            if ink == Ink::Coloured {
                text.push_str(INK_AND_PAPER);
            }
            for x in 0..self.side {
                let drawn = |y| self.is_dark(x, y) == (ink == Ink::Coloured);
                // Below the last row of an odd number of them there is nothing to be drawn.
                let below = drawn(y + 1) && (y + 1 < self.side || ink == Ink::Coloured);
                text.push(match (drawn(y), below) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            }
            if ink == Ink::Coloured {
                text.push_str(RESET);
            }
            text.push('\n');
        }
        text
    }

    /// The picture as SVG, a module a unit.
    pub fn svg(&self) -> String {
        let side = self.side;
        let mut path = String::new();
        for y in 0..side {
            let mut x = 0;
            while x < side {
                let run = (x..side).take_while(|x| self.is_dark(*x, y)).count();
                if run > 0 {
                    // Writing into a String cannot fail.
                    let _ = write!(path, "M{x} {y}h{run}v1h-{run}z");
                }
                x += run.max(1);
            }
        }
        let pixels = side * PIXELS;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{pixels}\" height=\"{pixels}\" \
             viewBox=\"0 0 {side} {side}\" shape-rendering=\"crispEdges\">\n\
             <path fill=\"#fff\" d=\"M0 0h{side}v{side}h-{side}z\"/>\n\
             <path d=\"{path}\"/>\n\
             </svg>\n"
        )
    }

    /// The picture as PNG, black and white.
    ///
    /// # Errors
    /// The encoder's.
    pub fn png(&self) -> Result<Vec<u8>, PictureError> {
        let width = self.side * PIXELS;
        let mut rows = Vec::with_capacity(width * width.div_ceil(8));
        for y in 0..self.side {
            let mut row = vec![0_u8; width.div_ceil(8)];
            for x in 0..width {
                // One bit a pixel, one is white.
                row[x / 8] |= u8::from(!self.is_dark(x / PIXELS, y)) << (7 - x % 8);
            }
            for _ in 0..PIXELS {
                rows.extend_from_slice(&row);
            }
        }
        let side = u32::try_from(width).expect("a QR code has some hundred modules at most");
        let mut file = Vec::new();
        let mut encoder = Encoder::new(&mut file, side, side);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::One);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&rows)?;
        writer.finish()?;
        Ok(file)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "dnstofu:1?n=8g2l0qv7c4m1t5b9r3se.zz";

    /// What a reader of another maker sees in a picture of `side` pixels.
    fn read(side: usize, is_dark: impl Fn(usize, usize) -> bool) -> String {
        let grey = |x, y| if is_dark(x, y) { 0 } else { 255 };
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side, side, grey);
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1, "one code in the picture");
        grids[0].decode().unwrap().1
    }

    fn read_terminal(text: &str, drawn_is_dark: bool) -> String {
        let lines: Vec<Vec<char>> = text
            .lines()
            .map(|line| {
                line.replace(INK_AND_PAPER, "")
                    .replace(RESET, "")
                    .chars()
                    .collect()
            })
            .collect();
        let side = lines[0].len();
        assert!(lines.iter().all(|line| line.len() == side));
        const SCALE: usize = 4;
        read(side * SCALE, |x, y| {
            let (x, y) = (x / SCALE, y / SCALE);
            let upper_half = y % 2 == 0;
            let drawn = match lines[y / 2][x] {
                '█' => true,
                '▀' => upper_half,
                '▄' => !upper_half,
                ' ' => false,
                other => panic!("{other:?} in the picture"),
            };
            drawn == drawn_is_dark
        })
    }

    #[test]
    fn both_forms_on_a_terminal_are_read_back() {
        let picture = Picture::of(TEXT).unwrap();
        let coloured = picture.terminal(Ink::Coloured);
        assert!(coloured.lines().all(|line| line.starts_with(INK_AND_PAPER)));
        assert!(coloured.lines().all(|line| line.ends_with(RESET)));
        assert_eq!(read_terminal(&coloured, true), TEXT);
        let plain = picture.terminal(Ink::Plain);
        assert!(!plain.contains('\x1b'));
        assert_eq!(read_terminal(&plain, false), TEXT);
    }

    #[test]
    fn a_png_is_read_back() {
        let picture = Picture::of(TEXT).unwrap();
        let file = picture.png().unwrap();
        let mut decoder = png::Decoder::new(Cursor::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.width, info.height);
        assert_eq!(info.width as usize, picture.side() * PIXELS);
        let side = info.width as usize;
        assert_eq!(read(side, |x, y| pixels[y * side + x] == 0), TEXT);
    }

    #[test]
    fn an_svg_draws_the_same_modules() {
        let picture = Picture::of(TEXT).unwrap();
        let svg = picture.svg();
        let path = svg.split("d=\"").nth(2).unwrap().split('"').next().unwrap();
        let mut modules = vec![false; picture.side() * picture.side()];
        for run in path.split_terminator('z') {
            let (place, shape) = run[1..].split_once('h').unwrap();
            let (x, y) = place.split_once(' ').unwrap();
            let (x, y): (usize, usize) = (x.parse().unwrap(), y.parse().unwrap());
            let length: usize = shape.split('v').next().unwrap().parse().unwrap();
            assert_eq!(shape, format!("{length}v1h-{length}"));
            modules[y * picture.side() + x..][..length].fill(true);
        }
        assert_eq!(modules, picture.modules);
        let side = picture.side();
        assert_eq!(read(side * 4, |x, y| modules[y / 4 * side + x / 4]), TEXT);
    }

    #[test]
    fn what_no_code_holds_is_refused() {
        let error = Picture::of(&"x".repeat(3000)).unwrap_err();
        assert!(matches!(error, PictureError::TooLong(3000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn texts_of_any_length_are_read_back(text in "[a-zA-Z0-9=&,.:?-]{1,500}") {
            let picture = Picture::of(&text).unwrap();
            let seen = read(picture.side() * 4, |x, y| picture.is_dark(x / 4, y / 4));
            prop_assert_eq!(seen, text);
        }
    }
}
