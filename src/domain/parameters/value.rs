//! From what a person typed to the one way in which a value is written.

use super::{Kind, Parameter};
use std::fmt;

/// Characters of a text value, at most.
pub(super) const TEXT_MAX: usize = 400;

/// What is wrong with a value, for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Parameter {
    /// Checks a typed value and writes it as the catalogue does, so that equal values are equal texts.
    ///
    /// # Errors
    /// What is wrong with it and what would be right.
    pub fn read(&self, typed: &str) -> Result<String, Fault> {
        if let Some(why) = self.why_locked() {
            return Err(Fault(format!("{} cannot be changed here. {why}", self.name)));
        }
        self.written(typed)
    }

    /// The same without asking whether it may be changed: also for values that PostgreSQL tells.
    ///
    /// # Errors
    /// As [`Parameter::read`].
    pub fn written(&self, typed: &str) -> Result<String, Fault> {
        let typed = typed.trim();
        match self.kind {
            Kind::Bool => self.read_bool(typed),
            Kind::Enum => self.read_choice(typed),
            Kind::Integer => {
                let count = self.read_number(typed)?.round_ties_even();
                self.in_range(count).map(|()| self.unit.shown(count))
            }
            Kind::Real => {
                let count = self.read_number(typed)?;
                self.in_range(count).map(|()| self.unit.shown(count))
            }
            Kind::Text => read_text(typed),
        }
    }

    fn read_bool(&self, typed: &str) -> Result<String, Fault> {
        match typed.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => Ok("on".into()),
            "off" | "false" | "no" | "0" => Ok("off".into()),
            _ => Err(Fault("Type on or off.".into())),
        }
    }

    fn read_choice(&self, typed: &str) -> Result<String, Fault> {
        let found = self.choices.iter().find(|choice| choice.eq_ignore_ascii_case(typed));
        found
            .cloned()
            .ok_or_else(|| Fault(format!("Choose one of these: {}.", self.choices.join(", "))))
    }

    fn read_number(&self, typed: &str) -> Result<f64, Fault> {
        self.unit.read(typed).ok_or_else(|| {
            Fault(if self.unit.is_none() {
                "Type a number, without a unit.".into()
            } else {
                let (words, plain) = (self.unit.words(), self.unit.label());
                format!(
                    "Type a number with a unit ({words}, written so) or a plain number of {plain}."
                )
            })
        })
    }

    fn in_range(&self, count: f64) -> Result<(), Fault> {
        let below = self.min.is_some_and(|min| count < min);
        let above = self.max.is_some_and(|max| count > max);
        if below || above { Err(Fault(format!("It must be {}.", self.allowed()))) } else { Ok(()) }
    }

    /// The number behind a written value, in its unit.
    pub fn number(&self, written: &str) -> Option<f64> {
        self.unit.read(written)
    }
}

fn read_text(typed: &str) -> Result<String, Fault> {
    if typed.chars().any(char::is_control) {
        return Err(Fault("It may hold no line break and no other control character.".into()));
    }
    let length = typed.chars().count();
    if length > TEXT_MAX {
        return Err(Fault(format!(
            "It may have at most {TEXT_MAX} characters; this has {length}."
        )));
    }
    Ok(typed.to_owned())
}
