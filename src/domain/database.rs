//! Databases of a server: names that may be given, orders of sorting on offer, what was seen of each.

use super::refusal::Refusal;
use super::version::Major;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Databases that belong to the service: they are shown, and never dropped.
pub const SYSTEM_DATABASES: [&str; 3] = ["postgres", "template0", "template1"];

/// Name of a database that is to be made: any text of up to 63 bytes without control characters.
///
/// What exists on a server may be called anything; this is only what we make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatabaseName(String);

impl DatabaseName {
    /// Longest name in bytes: PostgreSQL cuts what is longer.
    pub const BYTES_MAX: usize = 63;

    /// Parses a typed name. Capitals are kept: the name is always quoted.
    ///
    /// # Errors
    /// When no database of ours can have the name.
    pub fn parse(typed: &str) -> Result<Self, Refusal> {
        let name = typed.trim();
        let refuse = |text: String| Err(Refusal::at("name", text));
        if name.is_empty() {
            return refuse("Enter a name for the database.".into());
        }
        if name.len() > Self::BYTES_MAX {
            return refuse(
                "A database name has at most 63 bytes; letters beyond a-z count two and more."
                    .into(),
            );
        }
        if name.chars().any(|c| c.is_control() || is_invisible(c)) {
            return refuse(
                "A database name has no control characters and nothing invisible.".into(),
            );
        }
        let folded = name.to_ascii_lowercase();
        if SYSTEM_DATABASES.contains(&folded.as_str()) {
            return refuse(format!("{folded} belongs to PostgreSQL. Choose another name."));
        }
        if folded.starts_with("pgflex") || folded.starts_with("pg_") {
            return refuse(
                "Names that begin with pg_ or pgflex belong to the service. Choose another.".into(),
            );
        }
        if folded == "pgbouncer" {
            return refuse(
                "PgBouncer keeps the name pgbouncer for its own console. Choose another.".into(),
            );
        }
        Ok(Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Turns the direction of text or has no width: two names would look alike.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl TryFrom<String> for DatabaseName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).map_err(|refusal| refusal.text)
    }
}

impl From<DatabaseName> for String {
    fn from(name: DatabaseName) -> Self {
        name.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a database sorts and compares text; fixed when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collation {
    /// Word in forms and in the store, and the locale's own name.
    pub key: &'static str,
    /// Words for people.
    pub label: &'static str,
}

const fn collation(key: &'static str, label: &'static str) -> Collation {
    Collation { key, label }
}

/// What the images offer: code point order, and ICU's locales for the languages asked for most.
pub const COLLATIONS: &[Collation] = &[
    collation("C.UTF-8", "By code point (C.UTF-8): fastest, never changes"),
    collation("und-x-icu", "Any language (ICU root)"),
    collation("ar-x-icu", "Arabic (ICU)"),
    collation("zh-Hans-CN", "Chinese, simplified (ICU)"),
    collation("cs-CZ", "Czech (ICU)"),
    collation("da-DK", "Danish (ICU)"),
    collation("nl-NL", "Dutch (ICU)"),
    collation("en-GB", "English, United Kingdom (ICU)"),
    collation("en-US", "English, United States (ICU)"),
    collation("fi-FI", "Finnish (ICU)"),
    collation("fr-FR", "French (ICU)"),
    collation("de-DE", "German (ICU)"),
    collation("de-DE-u-co-phonebk", "German, telephone book (ICU)"),
    collation("el-GR", "Greek (ICU)"),
    collation("he-IL", "Hebrew (ICU)"),
    collation("hi-IN", "Hindi (ICU)"),
    collation("it-IT", "Italian (ICU)"),
    collation("ja-JP", "Japanese (ICU)"),
    collation("ko-KR", "Korean (ICU)"),
    collation("nb-NO", "Norwegian (ICU)"),
    collation("pl-PL", "Polish (ICU)"),
    collation("pt-BR", "Portuguese, Brazil (ICU)"),
    collation("ru-RU", "Russian (ICU)"),
    collation("es-ES", "Spanish (ICU)"),
    collation("sv-SE", "Swedish (ICU)"),
    collation("tr-TR", "Turkish (ICU)"),
    collation("uk-UA", "Ukrainian (ICU)"),
];

/// What `CREATE DATABASE` is told of a collation. Every part is one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// PostgreSQL's own order by code point, from 17 on.
    Builtin,
    /// The C library's C.UTF-8, which sorts by code point too.
    Libc,
    /// ICU with this locale.
    Icu(&'static str),
}

impl Collation {
    pub fn by_key(key: &str) -> Option<&'static Collation> {
        COLLATIONS.iter().find(|collation| collation.key == key)
    }

    /// Parses a choice of the form.
    ///
    /// # Errors
    /// When it is none of [`COLLATIONS`].
    pub fn parse(typed: &str) -> Result<&'static Collation, Refusal> {
        Self::by_key(typed.trim())
            .ok_or_else(|| Refusal::at("collation", "Choose a collation from the list."))
    }

    pub fn provider(&self, major: Major) -> Provider {
        match self.key {
            "C.UTF-8" if major >= Major::V17 => Provider::Builtin,
            "C.UTF-8" => Provider::Libc,
            key => Provider::Icu(key.strip_suffix("-x-icu").unwrap_or(key)),
        }
    }
}

/// What the creation of a database is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewDatabase {
    pub name: DatabaseName,
    /// Key of a [`Collation`].
    pub collation: String,
}

/// What the drop of a database is told. The name is one that is on the server: it may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldDatabase {
    pub name: String,
}

/// What was seen of one database. Names come from the user's server and may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    pub name: String,
    pub owner: String,
    pub size_bytes: i64,
    pub encoding: String,
    /// "builtin", "icu" or "libc".
    pub provider: String,
    pub locale: String,
    /// Client sessions in it, the portal's own left out.
    pub connections: i64,
    pub allows_connections: bool,
    pub is_template: bool,
}

impl DatabaseFacts {
    pub fn is_system(&self) -> bool {
        SYSTEM_DATABASES.contains(&self.name.as_str())
    }
}

/// One look at the databases of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseList {
    /// By name; the first [`DatabaseList::SHOWN_MAX`].
    pub databases: Vec<DatabaseFacts>,
    /// How many there are.
    pub total: i64,
}

impl DatabaseList {
    /// Key of the observation.
    pub const OBSERVATION: &'static str = "databases";
    /// Databases that are read and shown.
    pub const SHOWN_MAX: i64 = 500;

    pub fn find(&self, name: &str) -> Option<&DatabaseFacts> {
        self.databases.iter().find(|database| database.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_anything_that_people_can_tell_apart() {
        for good in ["shop", "Shop 2", "a/b%c\"d'", "größe", "x;DROP", &"a".repeat(63)] {
            assert_eq!(DatabaseName::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            " ",
            "postgres",
            "Template1",
            "pg_x",
            "pgflex_new_1",
            "pgbouncer",
            "a\tb",
            "a\u{202e}b",
            &"ä".repeat(32),
        ] {
            assert!(DatabaseName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_collation_is_known_by_its_key() {
        for collation in COLLATIONS {
            assert_eq!(Collation::by_key(collation.key), Some(collation));
        }
        let root = Collation::by_key("und-x-icu").unwrap();
        assert_eq!(root.provider(Major::V15), Provider::Icu("und"));
        let plain = Collation::by_key("C.UTF-8").unwrap();
        assert_eq!(plain.provider(Major::V15), Provider::Libc);
        assert_eq!(plain.provider(Major::V18), Provider::Builtin);
        assert!(Collation::parse("xx'--").is_err());
    }
}
