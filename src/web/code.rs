//! Commands and code as markup: the same text to whoever copies it, broken only where it reads well.

use askama::filters::HtmlSafe;
use std::fmt;

/// Text of a command ready to print: `{{ crate::web::code::unbroken(text) }}`. A browser breaks lines after
/// every hyphen; an option such as `--dbname` stays whole.
#[derive(Debug, Clone, Copy)]
pub struct Unbroken<T>(T);

/// The command with its options kept whole.
pub fn unbroken<T: AsRef<str>>(text: T) -> Unbroken<T> {
    Unbroken(text)
}

// Everything is escaped below but our own element.
impl<T: AsRef<str>> HtmlSafe for Unbroken<T> {}

impl<T: AsRef<str>> fmt::Display for Unbroken<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for word in self.0.as_ref().split_inclusive([' ', '\n', '\t']) {
            let (option, rest) = word.split_at(option_len(word));
            if !option.is_empty() {
                write!(f, "<span class=\"nowrap\">{option}</span>")?;
            }
            escaped(f, rest)?;
        }
        Ok(())
    }
}

/// Length of the option that a word begins with: dashes, then letters, digits and dashes.
fn option_len(word: &str) -> usize {
    if !word.starts_with('-') {
        return 0;
    }
    let is_option = |c: char| c == '-' || c.is_ascii_alphanumeric();
    word.find(|c| !is_option(c)).unwrap_or(word.len())
}

fn escaped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '&' => f.write_str("&#38;")?,
            '<' => f.write_str("&#60;")?,
            '>' => f.write_str("&#62;")?,
            '"' => f.write_str("&#34;")?,
            '\'' => f.write_str("&#39;")?,
            c => write!(f, "{c}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_stays_whole_and_the_rest_is_escaped() {
        let text = unbroken("pg_dump --dbname=\"a-b\" \\\n  -v <x>").to_string();
        let option = |text: &str| format!("<span class=\"nowrap\">{text}</span>");
        let expected = format!(
            "pg_dump {}=&#34;a-b&#34; \\\n  {} &#60;x&#62;",
            option("--dbname"),
            option("-v")
        );
        assert_eq!(text, expected);
        assert_eq!(unbroken("-<b>").to_string(), format!("{}&#60;b&#62;", option("-")));
    }
}
