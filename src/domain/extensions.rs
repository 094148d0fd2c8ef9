//! Extensions: which of those in the image may be allowed on a server, what each needs, and what was seen
//! of them. Allowing is by name: an extension that a later image brings is closed until it stands here.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Kind of the observation that holds an [`ExtensionLook`].
pub const OBSERVATION: &str = "extensions";

/// Whether an extension may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    Open,
    /// Open, with a sentence that people should read first.
    Note(&'static str),
    /// Closed, with the reason.
    Closed(&'static str),
}

const CLOSED_UNKNOWN: &str = "Nobody has looked yet at what it would let people do.";
const FILES: &str = "It reads or writes files of the container.";
const DAMAGE: &str = "It can damage data beyond repair.";
/// With its hint table on, which everybody may set, any session that plans a query reads the view that somebody has
/// made as hint_plan.hints, superusers too: its functions then run with their rights.
const HINTS: &str =
    "It would let people run functions of theirs with the rights of whoever plans a query.";
/// Its library hooks into every session, superusers' too, and nobody has looked at what a tenant can make it do there.
const HOOKS: &str = "Its library takes part in every session, and nobody has looked yet at what that would let people do.";
const LOGICAL: &str = "It needs logical replication, which servers here do not have.";
const REACH: &str = "Connections that it opens reach only what the server's own network reaches: itself and containers in the same network.";
const CRON: &str =
    "It can be created in the database postgres only. Jobs run as the role that scheduled them.";
const PARTMAN: &str = "Its own background worker is not started; run its maintenance with pg_cron.";

/// Open without a word: types, functions, indexes and looks into statistics.
const OPEN: &[&str] = &[
    "amcheck",
    "autoinc",
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "fuzzystrmatch",
    "hll",
    "hstore",
    "hypopg",
    "insert_username",
    "intagg",
    "intarray",
    "ip4r",
    "isn",
    "lo",
    "ltree",
    "moddatetime",
    "orafce",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_trgm",
    "pg_visibility",
    "pgaudit",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "prefix",
    "refint",
    "roaringbitmap",
    "rum",
    "seg",
    "semver",
    "sslinfo",
    "tablefunc",
    "tcn",
    "tdigest",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "unit",
    "uuid-ossp",
    "vector",
];

/// Libraries that must be loaded when PostgreSQL starts: by the name that is allowed.
const PRELOAD: &[(&str, &str)] =
    &[("pg_cron", "pg_cron"), ("pgaudit", "pgaudit"), (AUTO_EXPLAIN, AUTO_EXPLAIN)];

/// A module: it is allowed and loaded like an extension, and there is nothing to create.
pub const AUTO_EXPLAIN: &str = "auto_explain";
/// Loaded on every server, for the performance pages.
pub const ALWAYS_LOADED: &str = "pg_stat_statements";

/// Whether an extension may be allowed, by its name.
pub fn offer(name: &str) -> Offer {
    match name {
        "dblink" | "postgres_fdw" => Offer::Note(REACH),
        "pg_cron" => Offer::Note(CRON),
        "pg_partman" => Offer::Note(PARTMAN),
        AUTO_EXPLAIN => Offer::Note(
            "A module: nothing is created in a database. Its settings are on the page Server parameters once it is loaded.",
        ),
        "file_fdw" | "adminpack" | "pageinspect" | "pg_walinspect" | "pg_logicalinspect" => {
            Offer::Closed(FILES)
        }
        "pg_surgery" | "old_snapshot" => Offer::Closed(DAMAGE),
        "xml2" => Offer::Closed(
            "It is obsolete, and its library for style sheets is no longer kept safe.",
        ),
        "pg_repack" => Offer::Closed(
            "Its program needs a superuser, which nobody is here. VACUUM (FULL) does the same with a lock.",
        ),
        "pg_hint_plan" => Offer::Closed(HINTS),
        "age" => Offer::Closed(HOOKS),
        "pglogical" | "pglogical_origin" | "pg_squeeze" => Offer::Closed(LOGICAL),
        name if OPEN.contains(&name) => Offer::Open,
        _ => Offer::Closed(CLOSED_UNKNOWN),
    }
}

/// Whether it may be on the list of a server.
pub fn is_offered(name: &str) -> bool {
    !matches!(offer(name), Offer::Closed(_))
}

/// The library that must be loaded when PostgreSQL starts, where there is one.
pub fn preload(name: &str) -> Option<&'static str> {
    PRELOAD.iter().find(|(extension, _)| *extension == name).map(|(_, library)| *library)
}

/// Every library of a list of allowed extensions, in the order in which they are loaded.
pub fn libraries(allowed: &BTreeSet<String>) -> Vec<&'static str> {
    let needed = allowed.iter().filter(|name| is_offered(name)).filter_map(|name| preload(name));
    std::iter::once(ALWAYS_LOADED).chain(needed).collect()
}

/// What was last seen of the extensions of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExtensionLook {
    /// What the image has.
    pub available: Vec<Available>,
    pub databases: Vec<DatabaseLook>,
    /// Databases that were left out because there are too many.
    pub left_out: u32,
    /// Libraries that are loaded now.
    pub loaded: Vec<String>,
}

/// An extension in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Available {
    pub name: String,
    pub version: String,
    pub comment: String,
    pub requires: Vec<String>,
}

/// A database and what is installed in it; `None` when it did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseLook {
    pub name: String,
    pub installed: Option<Vec<Installed>>,
}

/// An extension in a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    pub name: String,
    pub version: String,
    pub schema: String,
}

impl ExtensionLook {
    pub fn available(&self, name: &str) -> Option<&Available> {
        self.available.iter().find(|one| one.name == name)
    }

    /// Databases in which it is installed, with the version.
    pub fn installed_in<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Installed)> {
        self.databases.iter().filter_map(move |database| {
            let found = database.installed.as_ref()?.iter().find(|one| one.name == name)?;
            Some((database.name.as_str(), found))
        })
    }
}

/// What becomes of an extension in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtensionAction {
    Create,
    Drop,
    Update,
}

impl ExtensionAction {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "create" => Some(ExtensionAction::Create),
            "drop" => Some(ExtensionAction::Drop),
            "update" => Some(ExtensionAction::Update),
            _ => None,
        }
    }
}

/// What a person asks of an extension in a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionChange {
    pub database: String,
    pub extension: String,
    pub action: ExtensionAction,
}

/// A new list of allowed extensions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllowedChange {
    pub allowed: BTreeSet<String>,
    #[serde(default)]
    pub restart: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out_of_the_database_is_never_offered() {
        for name in [
            "file_fdw",
            "adminpack",
            "plpython3u",
            "plperlu",
            "pg_surgery",
            "anything",
            "xml2",
            "pglogical",
            "pageinspect",
        ] {
            assert!(!is_offered(name), "{name}");
        }
        assert!(is_offered("hstore") && is_offered("vector") && is_offered("dblink"));
    }

    #[test]
    fn libraries_follow_what_is_allowed_and_nothing_else() {
        assert!(!is_offered("pg_hint_plan"), "its hint table runs in sessions of superusers");
        let allowed = ["pgaudit", "pg_hint_plan", "hstore", "pg_cron", "pglogical", "x"]
            .map(str::to_owned)
            .into();
        assert_eq!(libraries(&allowed), ["pg_stat_statements", "pg_cron", "pgaudit"]);
        assert_eq!(libraries(&BTreeSet::new()), ["pg_stat_statements"]);
    }
}
