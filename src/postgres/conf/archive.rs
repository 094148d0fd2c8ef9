//! How a member hands its log over, as its files say it.
//!
//! Every server is started with its archive on, because turning it on later needs a restart. Until the first backup
//! has made its place in a repository the command is empty: PostgreSQL keeps its log then, and hands all of it over
//! when there is a command.

use super::values::Value::{Seconds, Text, Word};
use super::{Group, Settings};
use crate::postgres::pgbackrest::archive_command;

/// A piece of the log is handed over after this time though it is not full: what a lost host may cost.
const PIECE_SECONDS: u64 = 60;

/// Says of every piece that it was handed over.
const GIVE_UP: &str = "/bin/true";

/// Where the log goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Archiving {
    /// Nowhere yet: it is kept.
    #[default]
    Waiting,
    /// Nowhere, because no repository was reached for long: it is not kept.
    Suspended,
    /// Into this stanza of every repository that the member's own file names.
    Into(String),
}

/// The part of `postgresql.conf`.
pub(super) fn group(settings: &Settings<'_>) -> Group {
    let command = match &settings.archiving {
        Archiving::Waiting => String::new(),
        Archiving::Suspended => GIVE_UP.to_owned(),
        Archiving::Into(stanza) => archive_command(stanza),
    };
    vec![
        ("archive_mode", Word("on")),
        ("archive_timeout", Seconds(PIECE_SECONDS)),
        ("archive_command", Text(command)),
    ]
}
