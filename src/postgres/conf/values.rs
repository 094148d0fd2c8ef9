//! Values as `postgresql.conf` writes them.

use std::fmt;

/// A value of one of the kinds we write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Seconds(u64),
    /// Written in the largest unit that loses nothing.
    Bytes(u64),
    /// A number with its unit.
    Amount(u64, &'static str),
    /// A word of PostgreSQL's own, such as `on`.
    Word(&'static str),
    /// Text, quoted; a line break or another control character becomes a space.
    Text(String),
}

impl Value {
    /// Without the quotes of the file.
    pub(super) fn plain(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Seconds(seconds) => write!(f, "{seconds}s"),
            Value::Amount(number, unit) => write!(f, "{number}{unit}"),
            Value::Word(word) => f.write_str(word),
            Value::Bytes(bytes) => {
                let units = [(30, "GB"), (20, "MB")];
                let fits = units.into_iter().find(|(shift, _)| bytes % (1 << shift) == 0);
                let (shift, unit) = fits.unwrap_or((10, "kB"));
                write!(f, "{}{unit}", bytes >> shift)
            }
            Value::Text(text) => {
                let clean: String =
                    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                write!(f, "'{}'", clean.replace('\\', "\\\\").replace('\'', "''"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Value::{Bytes, Text};

    #[test]
    fn text_cannot_leave_its_quotes_and_sizes_keep_their_value() {
        assert_eq!(Text("a'b\nport = 1\\".into()).to_string(), "'a''b port = 1\\\\'");
        assert_eq!(Bytes(3 << 30).to_string(), "3GB");
        assert_eq!(Bytes(1536 << 20).to_string(), "1536MB");
        assert_eq!(Bytes(97 << 10).to_string(), "97kB");
    }
}
