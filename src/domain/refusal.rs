//! A no that a person can act on.

use std::fmt;

/// Why something asked for is not done. The text names what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the form field at fault, or `None` when it concerns the whole request.
    pub field: Option<&'static str>,
    /// One or two sentences for the person who asked.
    pub text: String,
}

impl Refusal {
    /// A refusal that belongs to one form field.
    pub fn at(field: &'static str, text: impl Into<String>) -> Self {
        Self { field: Some(field), text: text.into() }
    }

    /// A refusal of the whole request.
    pub fn whole(text: impl Into<String>) -> Self {
        Self { field: None, text: text.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
