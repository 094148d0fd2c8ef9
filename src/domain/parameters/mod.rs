//! Server parameters: what a running PostgreSQL says of each of its settings, which of them may be
//! changed here, and whether a value that a person typed is one.
//!
//! Nothing that is not on the list in [`rules`] can be changed, so a new major or an extension adds
//! no way out of the database by itself.

pub mod cross;
pub mod rules;
pub mod units;
mod value;

pub use value::Fault;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use units::Unit;

/// Kind of the observation that holds a [`Catalogue`].
pub const OBSERVATION: &str = "parameters";

/// Kind of the observation that holds only the names of those that wait for a restart.
pub const PENDING: &str = "pending_restart";

/// Every parameter of a running server, as it was last seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Catalogue {
    pub parameters: Vec<Parameter>,
}

impl Catalogue {
    pub fn find(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Names of those whose new value waits for a restart.
    pub fn pending(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| parameter.is_pending)
    }
}

/// What a person asks to be changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ParameterChange {
    pub set: BTreeMap<String, String>,
    /// Back to their defaults.
    pub reset: BTreeSet<String>,
    #[serde(default)]
    pub restart: bool,
}

impl ParameterChange {
    /// What a person will have set when it is done.
    pub fn applied_to(&self, before: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let kept = before.iter().filter(|(name, _)| !self.reset.contains(*name));
        kept.chain(&self.set).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// Every name that it touches.
    pub fn names(&self) -> BTreeSet<String> {
        self.set.keys().chain(&self.reset).cloned().collect()
    }
}

/// One parameter. Field names are short in the store: there are nearly four hundred of them for each server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    #[serde(rename = "n")]
    pub name: String,
    /// The value in force, as a person reads it.
    #[serde(rename = "v")]
    pub value: String,
    /// What it is when nobody sets it: rendered for the size, or PostgreSQL's own.
    #[serde(rename = "d")]
    pub default: String,
    #[serde(rename = "u", default, skip_serializing_if = "Unit::is_none")]
    pub unit: Unit,
    #[serde(rename = "k")]
    pub kind: Kind,
    #[serde(rename = "c")]
    pub context: Context,
    #[serde(rename = "g")]
    pub category: String,
    #[serde(rename = "t")]
    pub description: String,
    #[serde(rename = "lo", default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(rename = "hi", default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(rename = "e", default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Whether the file has another value that waits for a restart.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_pending: bool,
}

/// What sort of value it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    #[serde(rename = "b")]
    Bool,
    #[serde(rename = "i")]
    Integer,
    #[serde(rename = "r")]
    Real,
    #[serde(rename = "e")]
    Enum,
    #[serde(rename = "s")]
    Text,
}

impl Kind {
    /// PostgreSQL's word.
    pub fn parse(text: &str) -> Self {
        match text {
            "bool" => Kind::Bool,
            "integer" => Kind::Integer,
            "real" => Kind::Real,
            "enum" => Kind::Enum,
            _ => Kind::Text,
        }
    }
}

/// When PostgreSQL takes a new value from its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Context {
    /// Never: fixed when the server or the program was made.
    #[serde(rename = "i")]
    Internal,
    /// At its start.
    #[serde(rename = "p")]
    Postmaster,
    /// When it reads the file again.
    #[serde(rename = "h")]
    Reload,
    /// When a connection begins.
    #[serde(rename = "b")]
    Backend,
    /// When it reads the file again; a session may set its own.
    #[serde(rename = "s")]
    Session,
}

impl Context {
    /// PostgreSQL's word; one that is not known is taken for the strictest.
    pub fn parse(text: &str) -> Self {
        match text {
            "postmaster" => Context::Postmaster,
            "sighup" => Context::Reload,
            "backend" | "superuser-backend" => Context::Backend,
            "user" | "superuser" => Context::Session,
            _ => Context::Internal,
        }
    }
}

/// How a parameter can be changed here: the word of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Dynamic,
    Static,
    ReadOnly,
}

impl Change {
    pub fn label(self) -> &'static str {
        match self {
            Change::Dynamic => "Dynamic",
            Change::Static => "Static",
            Change::ReadOnly => "Read-only",
        }
    }
}

impl Parameter {
    pub fn change(&self) -> Change {
        match (self.why_locked(), self.context) {
            (Some(_), _) => Change::ReadOnly,
            (None, Context::Postmaster) => Change::Static,
            (None, _) => Change::Dynamic,
        }
    }

    /// Why it cannot be changed here; `None` when it can.
    pub fn why_locked(&self) -> Option<&'static str> {
        rules::why_locked(&self.name, &self.category, self.context)
    }

    /// What it takes, in words: "on or off", "64kB to 2147483647kB", "one of …".
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Bool => "on or off".into(),
            Kind::Enum => self.choices.join(", "),
            Kind::Text => format!("text of at most {} characters", value::TEXT_MAX),
            Kind::Integer | Kind::Real => match (self.min, self.max) {
                // As much as the type holds: it means "any".
                (Some(min), Some(max)) if max >= 2_147_483_647.0 => {
                    format!("{} and more", self.unit.shown(min))
                }
                (Some(min), Some(max)) => {
                    format!("{} to {}", self.unit.shown(min), self.unit.shown(max))
                }
                _ => "a number".into(),
            },
        }
    }

    /// Where the manual of a major describes it.
    pub fn manual(&self, major: u32) -> Option<String> {
        let page = manual_page(&self.name, &self.category, major)?;
        let anchor = self.name.to_ascii_uppercase().replace(['_', '.'], "-");
        let mark = if self.name.contains('.') { String::new() } else { format!("#GUC-{anchor}") };
        Some(format!("https://www.postgresql.org/docs/{major}/{page}.html{mark}"))
    }
}

/// Name of the manual's page, which follows the category but for modules.
fn manual_page(name: &str, category: &str, major: u32) -> Option<&'static str> {
    let chapter = category.split(" / ").next().unwrap_or_default();
    Some(match chapter {
        "Autovacuum" if major < 18 => "runtime-config-autovacuum",
        "Autovacuum" | "Vacuuming" => "runtime-config-vacuum",
        "Client Connection Defaults" => "runtime-config-client",
        "Connections and Authentication" => "runtime-config-connection",
        "Error Handling" => "runtime-config-error-handling",
        "File Locations" => "runtime-config-file-locations",
        "Lock Management" => "runtime-config-locks",
        "Query Tuning" => "runtime-config-query",
        "Replication" => "runtime-config-replication",
        "Reporting and Logging" => "runtime-config-logging",
        "Resource Usage" => "runtime-config-resource",
        "Statistics" => "runtime-config-statistics",
        "Version and Platform Compatibility" => "runtime-config-compatible",
        "Write-Ahead Log" => "runtime-config-wal",
        "Developer Options" => "runtime-config-developer",
        "Preset Options" => "runtime-config-preset",
        _ if name.starts_with("pg_stat_statements.") => "pgstatstatements",
        _ if name.starts_with("auto_explain.") => "auto-explain",
        _ => return None,
    })
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
