//! A text as a square of dots that a telephone reads, drawn on the server as one path of an SVG.

use qrcode::{Color, EcLevel, QrCode};

/// White around the dots, in dots: readers need it.
const QUIET: usize = 4;

/// A square to draw.
pub struct Square {
    /// Width and height with the white around, in dots.
    pub size: usize,
    /// The dark dots, as the `d` of a path.
    pub path: String,
}

/// Draws a text; `None` when it is too long for a square.
pub fn square(text: &str) -> Option<Square> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let (width, dots) = (code.width(), code.to_colors());
    let path = dots.chunks(width).enumerate().map(|(y, row)| line(y + QUIET, row)).collect();
    Some(Square { size: width + 2 * QUIET, path })
}

/// One line of dots: a bar for each run of dark ones.
fn line(y: usize, row: &[Color]) -> String {
    let mut text = String::new();
    let mut x = 0;
    for run in row.chunk_by(|a, b| a == b) {
        if run[0] == Color::Dark {
            use std::fmt::Write;
            let _ = write!(text, "M{} {y}h{1}v1h-{1}z", x + QUIET, run.len());
        }
        x += run.len();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_square_has_its_three_corners() {
        let square = square("otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ").unwrap();
        assert_eq!((square.size - 8) % 4, 1, "a size of the standard");
        let right = square.size - 4 - 7;
        // The upper edge of the corners at the left and the right, the lower edge of the third.
        assert!(square.path.starts_with("M4 4h7v1h-7z"));
        assert!(square.path.contains(&format!("M{right} 4h7v1h-7z")));
        assert!(square.path.contains(&format!("M4 {right}h7v1h-7z")));
        assert!(super::square(&"x".repeat(4000)).is_none());
    }
}
