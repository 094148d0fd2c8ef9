//! A member's part in a pair, as its files say it.
//!
//! A standby's file already has what it must have the moment it is promoted (F9), so that a promotion writes no
//! file: what a primary alone obeys means nothing to a standby.

use super::values::Value::{Bytes, Seconds, Text, Word};
use super::{ConfigFile, GIB, Group, MODE, PATH, Settings, file};
use crate::postgres::replication::REPLICATION_ROLE;
use crate::secrets::Secret;
use std::fmt;
use std::net::SocketAddr;

/// A name in `synchronous_standby_names` that no standby ever has: commits wait until a standby is armed.
pub const NOBODY: &str = "pgflex_nobody";
/// After this long without a word a link is given up.
const LINK_SECONDS: u64 = 10;
/// How a session that carries the log notices a dead link (K5). The server's end gets it from the client, so that
/// the settings of other sessions stay what people chose.
const KEEPALIVES: &str = "keepalives_idle=2 keepalives_interval=2 keepalives_count=4";
const SERVER_SIDE: &str = "-c tcp_keepalives_idle=2 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=4 -c tcp_user_timeout=10000";

/// Whom a commit waits for on a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commits {
    /// For no standby.
    Alone,
    /// Until the standby of this name has flushed it.
    With(String),
    /// For ever: until another file is loaded.
    Never,
}

/// What a member is in its pair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Replication {
    /// The server has no standby and shall have none.
    #[default]
    None,
    Primary(Commits),
    Standby {
        source: Source,
        /// Slot at the source; [`crate::domain::ha::HighAvailability::standby_name`].
        slot: String,
        /// What holds from the moment it is promoted.
        promoted: Commits,
    },
}

/// The member whose log a standby reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name that its certificate must carry.
    pub name: String,
    pub address: SocketAddr,
}

/// What a member needs to read another one's log; all PEM.
#[derive(Debug, Clone)]
pub struct ReplicationFiles<'a> {
    /// Root of the installation: the source's certificate is checked against it.
    pub root: &'a str,
    /// Of [`REPLICATION_ROLE`].
    pub certificate: &'a str,
    pub key: &'a Secret,
}

/// The files of [`Source::conninfo`]. Both members have them: either may have to read from the other.
pub fn replication_files(tls: &ReplicationFiles<'_>) -> Vec<ConfigFile> {
    vec![
        file("root.crt", tls.root.to_owned()),
        file("replication.crt", tls.certificate.to_owned()),
        file("replication.key", tls.key.reveal().to_owned()),
    ]
}

/// With this file in its data directory PostgreSQL starts as a standby; a promotion removes it. Only for a
/// directory that is there.
pub fn standby_signal() -> ConfigFile {
    ConfigFile { path: "data/standby.signal".into(), mode: MODE, content: vec![] }
}

impl Source {
    /// How a standby of this name reaches it, for libpq. The files are those of [`replication_files`].
    pub fn conninfo(&self, standby: &str) -> String {
        let pairs = [
            ("host", self.name.clone()),
            ("hostaddr", self.address.ip().to_string()),
            ("port", self.address.port().to_string()),
            ("user", REPLICATION_ROLE.to_owned()),
            ("application_name", standby.to_owned()),
            ("sslmode", "verify-full".into()),
            ("sslrootcert", format!("{PATH}/root.crt")),
            ("sslcert", format!("{PATH}/replication.crt")),
            ("sslkey", format!("{PATH}/replication.key")),
            ("gssencmode", "disable".into()),
            ("connect_timeout", "3".into()),
            ("tcp_user_timeout", "10000".into()),
            ("options", SERVER_SIDE.into()),
        ];
        let pairs = pairs.iter().map(|(name, value)| format!("{name}={} ", Quoted(value)));
        pairs.collect::<String>() + KEEPALIVES
    }
}

/// A value as libpq reads it.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}

impl Commits {
    /// As `synchronous_standby_names` says it: never `*`, which any reader of the log would be (A2).
    pub fn waits_for(&self) -> String {
        match self {
            Commits::Alone => String::new(),
            Commits::With(name) => format!("FIRST 1 (\"{}\")", name.replace('"', "\"\"")),
            Commits::Never => format!("FIRST 1 (\"{NOBODY}\")"),
        }
    }
}

/// The part of `postgresql.conf`; nothing for a server without a standby.
pub(super) fn group(settings: &Settings<'_>) -> Option<Group> {
    let (commits, source) = match &settings.replication {
        Replication::None => return None,
        Replication::Primary(commits) => (commits, None),
        Replication::Standby { source, slot, promoted } => (promoted, Some((source, slot))),
    };
    let mut group = vec![
        ("synchronous_standby_names", Text(commits.waits_for())),
        // A session may still choose less for itself; for all of them nobody may, or an acknowledged commit is lost.
        ("synchronous_commit", Word(level(settings))),
        ("wal_sender_timeout", Seconds(LINK_SECONDS)),
        ("wal_receiver_timeout", Seconds(LINK_SECONDS)),
        // A link that was down for a moment is tried again before commits go on without the standby.
        ("wal_retrieve_retry_interval", Seconds(1)),
        // A standby takes each piece of the log for archived as soon as it has it. What the old primary could not hand over
        // any more is handed over by the new one, which must not have removed it by then.
        ("wal_keep_size", Bytes((settings.storage.bytes() / 64).clamp(GIB / 4, 8 * GIB))),
        ("hot_standby", Word("on")),
        // Nobody reads from a standby, so a query there need not hold back the clean-up of the primary.
        ("hot_standby_feedback", Word("off")),
        ("recovery_target_timeline", Text("latest".into())),
    ];
    if let Some((source, slot)) = source {
        group.push(("primary_conninfo", Text(source.conninfo(slot))));
        group.push(("primary_slot_name", Text(slot.clone())));
    }
    Some(group)
}

/// More than `on` may be asked for, less may not.
fn level(settings: &Settings<'_>) -> &'static str {
    match settings.configuration.parameters.get("synchronous_commit").map(String::as_str) {
        Some("remote_apply") => "remote_apply",
        _ => "on",
    }
}

#[cfg(test)]
#[path = "replication_tests.rs"]
mod tests;
