//! What another redundancy does, said before it is done: what begins with it, and what ends with the one before.

use super::backups_facts::BackupFacts;
use super::storage_view::size_text;
use crate::domain::backup::{
    BackupPolicy, ObjectStorage, Redundancy, Repository, choose_second_of,
};
use crate::domain::server::ServerSpec;
use chrono::Duration;

/// Another redundancy.
pub struct Moves {
    pub to: &'static str,
    /// Whether something ends with it.
    pub is_less: bool,
    /// What happens, one sentence each.
    pub effects: Vec<String>,
}

pub fn moves(
    facts: &BackupFacts,
    spec: &ServerSpec,
    to: BackupPolicy,
    storage: Option<&ObjectStorage>,
) -> Moves {
    let before = facts.protection.policy.redundancy;
    let place = match to.redundancy {
        Redundancy::Local => None,
        Redundancy::Zone => Some(zone_place(facts, spec)),
        Redundancy::ObjectStorage => {
            let location = storage.map_or(String::new(), |one| format!(" {}", one.location()));
            Some(format!(" in the object storage{location}"))
        }
    };
    let begins = place.map(|place| begins(facts, to.redundancy, &place));
    let ends = before.second().map(|number| ends(facts, number, to));
    Moves {
        to: to.redundancy.label(),
        is_less: before.second().is_some(),
        effects: begins.into_iter().chain(ends).flatten().collect(),
    }
}

fn found(facts: &BackupFacts, number: i64) -> Option<&Repository> {
    facts.protection.repositories.iter().find(|one| one.number == number)
}

/// " on host NAME", where the second repository is or would be.
fn zone_place(facts: &BackupFacts, spec: &ServerSpec) -> String {
    let known = found(facts, 2).map(|one| one.host_id.clone());
    let near = &facts.protection.repositories;
    let chosen = || choose_second_of(&facts.configured, near, (spec, facts.primary()?)).ok();
    let host = known.or_else(chosen).map(|id| facts.host_name(&id));
    host.map_or(String::new(), |host| format!(" on host {host}"))
}

fn begins(facts: &BackupFacts, to: Redundancy, place: &str) -> Vec<String> {
    let bytes: u64 = facts.protection.good_in(1).map(|one| one.stored_bytes).sum();
    let takes = match bytes {
        0 => String::new(),
        bytes => format!(" Those in the first take {} now.", size_text(bytes)),
    };
    let (alone, waits) = match to {
        Redundancy::ObjectStorage => (
            "on this portal's hosts alone",
            "One that has refused the log for 10 minutes, with a third of the free space taken by what waits, is suspended: it is waited for no more, until it answers.",
        ),
        _ => (
            "in one zone",
            "A repository whose host has not answered for 10 minutes is suspended: it is waited for no more, until the host answers.",
        ),
    };
    vec![
        format!(
            "A full backup goes into the second repository{place} by itself, as soon as the first holds a good one. Until it has ended, backups are {alone}."
        ),
        format!(
            "The second keeps backups, log and window of its own: about the same space again.{takes}"
        ),
        format!("Each WAL file stays on the server's disk until both have it. {waits}"),
    ]
}

/// What becomes of the repository that is not asked for any more.
fn ends(facts: &BackupFacts, number: i64, to: BackupPolicy) -> Vec<String> {
    let days = to.retention.as_days();
    let count = facts.protection.good_in(number).count();
    let place =
        found(facts, number).map_or(String::new(), |one| format!(" {}", facts.where_is(one)));
    let rest = match to.redundancy {
        Redundancy::Local => ": from now on the first alone protects this server",
        _ => "",
    };
    let kept = match facts.protection.window_of(number).latest() {
        Some(at) => format!(
            "Its {count} good {} and their log stay, and can be restored from, until {}: {days} days after its newest moment. Then they are removed by themselves.",
            if count == 1 { "backup" } else { "backups" },
            (at + Duration::days(days)).format("%Y-%m-%d %H:%M UTC")
        ),
        None => "It holds no good backup: what is there is removed by itself.".into(),
    };
    vec![
        format!("The log goes into the repository{place} no more, and no backup does{rest}."),
        kept,
        "When it is chosen again before that, a full backup takes it up again, with a gap between."
            .into(),
    ]
}
