//! The list of backups as rows, a page at a time.

use super::backups_facts::BackupFacts;
use super::storage_view::size_text;
use crate::domain::backup::{Backup, CopiedFrom};
use crate::domain::ids::ServerId;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::paths;
use crate::web::time::{Stamp, duration_text};

/// Backups on one page: more than a server has by its schedule alone.
pub const PAGE: usize = 50;

/// A backup as a row.
pub struct BackupRow {
    /// What the person called it; the schedule's have none.
    pub name: String,
    pub label: String,
    pub kind: &'static str,
    /// Number and host of the repository it lies in; `None` where there is only one.
    pub place: Option<(i64, String)>,
    pub chip: Chip,
    pub ended: Stamp,
    pub took: String,
    pub size: String,
    pub stored: String,
    pub wal: (String, String),
    pub verified: Option<Stamp>,
    pub failure: String,
    pub operation: String,
    /// "primary" or "standby"; empty where that was not noted.
    pub copied_from: &'static str,
    /// Empty where it cannot be restored from.
    pub restore: String,
    /// Empty for those of the schedule: they go by themselves.
    pub delete: String,
}

/// A page of the list.
pub struct BackupList {
    pub rows: Vec<BackupRow>,
    pub count: usize,
    /// Ways to newer and to older ones; empty where there are none.
    pub newer: String,
    pub older: String,
}

pub fn list(facts: &BackupFacts, server: &ServerId, page: usize) -> BackupList {
    let count = facts.protection.backups.len();
    let page = page.clamp(1, count.div_ceil(PAGE).max(1));
    let rows = facts.protection.backups.iter().skip((page - 1) * PAGE).take(PAGE);
    let way = |exists: bool, page| {
        if exists { paths::server_backups_page(server, page) } else { String::new() }
    };
    BackupList {
        rows: rows.map(|one| row(facts, one, server)).collect(),
        count,
        newer: way(page > 1, page.saturating_sub(1)),
        older: way(page * PAGE < count, page + 1),
    }
}

/// Where a backup lies, among two.
fn place(facts: &BackupFacts, one: &Backup) -> Option<(i64, String)> {
    let all = &facts.protection.repositories;
    let found = all.iter().find(|each| each.number == one.repository);
    let host = found.map(|each| match each.is_in_object_storage() {
        true => "object storage".into(),
        false => facts.host_name(&each.host_id),
    });
    host.filter(|_| all.len() > 1).map(|host| (one.repository, host))
}

fn row(facts: &BackupFacts, one: &Backup, server: &ServerId) -> BackupRow {
    let restore =
        format!("{}?backup={}", paths::server_restore(server), paths::encoded(&one.label));
    let delete = paths::server_backup_delete(server, &one.label);
    BackupRow {
        name: one.name.clone(),
        label: one.label.clone(),
        kind: one.kind.label(),
        place: place(facts, one),
        chip: chip(one),
        ended: Stamp(one.ended_at),
        took: duration_text(one.ended_at - one.started_at),
        size: size_text(one.bytes),
        stored: size_text(one.stored_bytes),
        wal: one.wal.clone(),
        verified: one.verified_at.map(Stamp),
        failure: one.failure.clone(),
        operation: one.operation_id.as_ref().map_or(String::new(), paths::operation),
        copied_from: one.copied_from.map_or("", CopiedFrom::key),
        restore: if one.is_good() { restore } else { String::new() },
        delete: if one.is_on_demand() { delete } else { String::new() },
    }
}

/// No green mark without a check that ran.
fn chip(one: &Backup) -> Chip {
    match (one.is_good(), one.verified_at) {
        (false, _) => Chip::new("Cannot be used", Icon::Cross, Tone::Danger),
        (true, Some(_)) => Chip::new("Whole", Icon::Check, Tone::Ok),
        (true, None) => Chip::new("Not verified yet", Icon::Ring, Tone::Idle),
    }
}
