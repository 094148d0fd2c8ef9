//! The log of an operation as the page shows it. Lines come from tools on a host: they are shown as
//! text, without anything that could hide or rearrange what they say.

use crate::domain::operation::LogLine;
use crate::web::time::ClockTime;

/// Longest line shown, in characters.
const LINE_MAX: usize = 2_000;

/// One line as shown.
#[derive(Debug, Clone, PartialEq)]
pub struct LogView {
    pub at: ClockTime,
    pub step: String,
    pub text: String,
}

/// The lines, oldest first.
pub fn views(lines: &[LogLine]) -> Vec<LogView> {
    let view = |line: &LogLine| LogView {
        at: ClockTime(line.at),
        step: line.step.clone(),
        text: readable(&line.text),
    };
    lines.iter().map(view).collect()
}

/// A line without colour codes, with a mark in place of each control character, and not endless.
fn readable(text: &str) -> String {
    let plain = without_colours(text.trim_end());
    let mut shown: String = plain.chars().take(LINE_MAX).map(visible).collect();
    let cut = plain.chars().count().saturating_sub(LINE_MAX);
    if cut > 0 {
        shown.push_str(&format!(" … ({cut} characters more)"));
    }
    shown
}

/// Control characters, and those that turn the direction of writing, as a mark.
fn visible(character: char) -> char {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match character {
        '\t' => ' ',
        _ if turns || character.is_control() => '\u{fffd}',
        _ => character,
    }
}

/// Takes out terminal sequences such as `ESC [ 31 m`.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        if character != '\u{1b}' || rest.peek() != Some(&'[') {
            plain.push(character);
            continue;
        }
        rest.next();
        // Parameters up to the letter that ends the sequence.
        for parameter in rest.by_ref() {
            if ('@'..='~').contains(&parameter) {
                break;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_neither_hide_nor_colour_nor_flood() {
        assert_eq!(readable("\u{1b}[31mred\u{1b}[0m\tplain\r\n"), "red plain");
        assert_eq!(readable("a\u{202e}b\u{0}c\u{1b}d"), "a\u{fffd}b\u{fffd}c\u{fffd}d");
        assert_eq!(readable("<script>"), "<script>", "escaping is the template's work");
        let long = readable(&"x".repeat(LINE_MAX + 7));
        assert!(long.ends_with("(7 characters more)"));
    }
}
