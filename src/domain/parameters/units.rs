//! Units of parameters, as PostgreSQL writes and reads them.

use serde::{Deserialize, Serialize};

/// The unit that a parameter's number counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Unit {
    #[default]
    #[serde(rename = "")]
    None,
    #[serde(rename = "B")]
    Bytes,
    #[serde(rename = "kB")]
    Kilobytes,
    /// Blocks of 8 kB.
    #[serde(rename = "8kB")]
    Blocks,
    #[serde(rename = "MB")]
    Megabytes,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "s")]
    Seconds,
    #[serde(rename = "min")]
    Minutes,
}

/// Larger first; the factor is in bytes.
const SIZES: [(&str, f64); 5] = [
    ("TB", 1_099_511_627_776.0),
    ("GB", 1_073_741_824.0),
    ("MB", 1_048_576.0),
    ("kB", 1024.0),
    ("B", 1.0),
];
/// Larger first; the factor is in milliseconds.
const TIMES: [(&str, f64); 6] = [
    ("d", 86_400_000.0),
    ("h", 3_600_000.0),
    ("min", 60_000.0),
    ("s", 1000.0),
    ("ms", 1.0),
    ("us", 0.001),
];

impl Unit {
    /// PostgreSQL's word; a unit that is not known is taken for none.
    pub fn parse(text: &str) -> Self {
        match text {
            "B" => Unit::Bytes,
            "kB" => Unit::Kilobytes,
            "8kB" => Unit::Blocks,
            "MB" => Unit::Megabytes,
            "ms" => Unit::Milliseconds,
            "s" => Unit::Seconds,
            "min" => Unit::Minutes,
            _ => Unit::None,
        }
    }

    pub fn is_none(&self) -> bool {
        *self == Unit::None
    }

    /// What the unit counts, for the page's column.
    pub fn label(self) -> &'static str {
        match self {
            Unit::None => "",
            Unit::Bytes => "bytes",
            Unit::Kilobytes => "kB",
            Unit::Blocks => "8 kB blocks",
            Unit::Megabytes => "MB",
            Unit::Milliseconds => "milliseconds",
            Unit::Seconds => "seconds",
            Unit::Minutes => "minutes",
        }
    }

    /// The words that may follow a number, and one of the unit in the smallest of them.
    fn scale(self) -> (&'static [(&'static str, f64)], f64) {
        match self {
            Unit::None => (&[], 1.0),
            Unit::Bytes => (&SIZES, 1.0),
            Unit::Kilobytes => (&SIZES, 1024.0),
            Unit::Blocks => (&SIZES, 8192.0),
            Unit::Megabytes => (&SIZES, 1_048_576.0),
            Unit::Milliseconds => (&TIMES, 1.0),
            Unit::Seconds => (&TIMES, 1000.0),
            Unit::Minutes => (&TIMES, 60_000.0),
        }
    }

    /// A count of the unit, written with the largest word that loses nothing, as SHOW does.
    pub fn shown(self, count: f64) -> String {
        let (words, one) = self.scale();
        let whole = |(_, factor): &&(&str, f64)| (count * one / factor).fract() == 0.0;
        // Zero and negative counts are words of their own: "off", "as before".
        match words.iter().find(whole).filter(|_| count > 0.0) {
            Some((word, factor)) => format!("{}{word}", count * one / factor),
            None => count.to_string(),
        }
    }

    /// Reads "256MB", "1.5 GB" or a bare count of the unit.
    pub fn read(self, text: &str) -> Option<f64> {
        let at = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c));
        let (number, word) = text.split_at(at.unwrap_or(text.len()));
        let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite())?;
        let (words, one) = self.scale();
        match word.trim() {
            "" => Some(number),
            word => {
                let (_, factor) = words.iter().find(|(known, _)| *known == word)?;
                Some(number * factor / one)
            }
        }
    }

    /// The words that may follow a number: "B, kB, MB, GB or TB".
    pub fn words(self) -> String {
        let mut words: Vec<&str> = self.scale().0.iter().rev().map(|(word, _)| *word).collect();
        match words.pop() {
            Some(last) if !words.is_empty() => format!("{} or {last}", words.join(", ")),
            _ => String::new(),
        }
    }
}
