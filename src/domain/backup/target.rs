//! To where a server is restored.

use crate::domain::ha::Lsn;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// What a recovery aims at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum RestoreTarget {
    /// The last moment that the repository holds.
    Latest,
    /// Every commit until this moment, and none after it.
    Moment { at: DateTime<Utc> },
    /// Everything until this place in the log.
    Place { lsn: Lsn },
    /// A restore point that somebody named by `pg_create_restore_point`.
    Point { name: String },
    /// The moment at which this backup ended, without any log after it.
    Backup { label: String },
}

/// Why a text is no target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("Give a place in the log as PostgreSQL writes it, such as 0/5000128.")]
    Lsn,
    #[error("A restore point has 1 to 63 characters, none of them a control character.")]
    Point,
    #[error("No backup has this label.")]
    Label,
}

impl RestoreTarget {
    /// A place in the log.
    ///
    /// # Errors
    /// When the text is none.
    pub fn place(text: &str) -> Result<Self, TargetError> {
        let lsn = Lsn::parse(text.trim()).ok_or(TargetError::Lsn)?;
        Ok(Self::Place { lsn })
    }

    /// A named restore point.
    ///
    /// # Errors
    /// When PostgreSQL could not have one of that name.
    pub fn point(text: &str) -> Result<Self, TargetError> {
        let is_name = (1..=63).contains(&text.len()) && !text.chars().any(char::is_control);
        if is_name { Ok(Self::Point { name: text.into() }) } else { Err(TargetError::Point) }
    }

    /// The end of a backup. A label is digits and the letters that pgBackRest puts between them.
    ///
    /// # Errors
    /// When the text is none.
    pub fn backup(text: &str) -> Result<Self, TargetError> {
        let is_label = (16..=33).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'F' | b'D' | b'I'));
        if is_label { Ok(Self::Backup { label: text.into() }) } else { Err(TargetError::Label) }
    }

    /// Words for people, behind "Restore".
    pub fn words(&self) -> String {
        match self {
            RestoreTarget::Latest => "to the latest moment".into(),
            RestoreTarget::Moment { at } => {
                format!("to {}", at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
            }
            RestoreTarget::Place { lsn } => format!("to {lsn} in the log"),
            RestoreTarget::Point { name } => format!("to the restore point “{name}”"),
            RestoreTarget::Backup { label } => format!("to backup {label}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_from_texts_of_people() {
        assert!(RestoreTarget::place("0/5000128").is_ok());
        assert_eq!(RestoreTarget::place("five"), Err(TargetError::Lsn));
        assert!(RestoreTarget::backup("20261123-160800F_20261124-160800D").is_ok());
        for bad in ["", "../../etc/passwd", "20261123-160800F;rm", "20261123-160800"] {
            assert_eq!(RestoreTarget::backup(bad), Err(TargetError::Label), "{bad}");
        }
        assert!(RestoreTarget::point("before the move").is_ok());
        assert_eq!(RestoreTarget::point(&"x".repeat(64)), Err(TargetError::Point));
        assert_eq!(RestoreTarget::point("a\nb"), Err(TargetError::Point));
    }
}
