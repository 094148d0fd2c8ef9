//! What was proven: restore drills as rows, and where a restored server came from.

use super::overview_view::grouped;
use super::restore_moment::utc_text;
use super::storage_view::size_text;
use crate::domain::ids::ServerId;
use crate::store::restore_drills::RestoreDrill;
use crate::store::restores::Origin;
use crate::web::error::PageError;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::paths;
use crate::web::time::{Stamp, duration_text};
use crate::web::visit::Visit;
use chrono::Duration;

/// Drills that are shown: one a week makes a quarter of a year.
const DRILLS_MAX: i64 = 13;

/// The last proof and all of them.
pub struct Drills {
    /// The newest that passed.
    pub proven: Option<DrillRow>,
    pub rows: Vec<DrillRow>,
}

/// One drill.
#[derive(Clone)]
pub struct DrillRow {
    pub at: Stamp,
    pub chip: Chip,
    /// Why it proved nothing; empty otherwise.
    pub note: String,
    pub label: String,
    /// From the begin until the copy took writes.
    pub took: String,
    /// How old the newest commit in it was.
    pub age: String,
    /// "1,204 rows in 12 tables of 2 databases"
    pub data: String,
    pub checked: String,
    pub operation: String,
}

/// Reads them.
///
/// # Errors
/// When the store does not answer.
pub async fn load(visit: &Visit, server: &ServerId) -> Result<Drills, PageError> {
    let found = visit.state.store.restore_drills(server, DRILLS_MAX).await?;
    Ok(Drills {
        proven: found.iter().find(|one| one.has_passed()).map(row),
        rows: found.iter().map(row).collect(),
    })
}

fn row(drill: &RestoreDrill) -> DrillRow {
    let found = &drill.found;
    let none = || if drill.is_over() { "not measured" } else { "not yet" }.to_owned();
    let took = found.restore_micros.zip(found.replay_micros).map(|(a, b)| a.saturating_add(b));
    let length = |micros| duration_text(Duration::microseconds(micros));
    let count = |count: i64| grouped(u32::try_from(count).unwrap_or(u32::MAX));
    DrillRow {
        at: Stamp(drill.started_at),
        chip: chip(drill),
        note: if drill.is_over() && !drill.has_passed() {
            drill.outcome.clone()
        } else {
            String::new()
        },
        label: format!("repository {}: {}", drill.repository, drill.label),
        took: took.map_or_else(none, length),
        age: found.data_age_micros.map_or_else(none, length),
        data: match (found.rows, found.tables, found.databases) {
            (Some(rows), Some(tables), Some(databases)) => format!(
                "{} rows in {} tables of {} databases",
                count(rows),
                count(tables),
                count(databases)
            ),
            _ => none(),
        },
        checked: match (found.checked_relations, found.bytes) {
            (Some(relations), Some(bytes)) => {
                let size = size_text(u64::try_from(bytes).unwrap_or(0));
                format!("{} tables and indexes, {size}", count(relations))
            }
            _ => none(),
        },
        operation: paths::operation(&drill.operation_id),
    }
}

fn chip(drill: &RestoreDrill) -> Chip {
    if !drill.is_over() {
        Chip::new("Under way", Icon::Spinner, Tone::Busy)
    } else if drill.has_passed() {
        Chip::new("Proven", Icon::Check, Tone::Ok)
    } else {
        Chip::new("Not proven", Icon::Cross, Tone::Danger)
    }
}

/// Where a restored server came from.
pub struct OriginView {
    pub source: String,
    pub source_path: String,
    /// "to 2026-11-23T16:05:30Z"
    pub asked: String,
    /// What its recovery really reached; empty while it has reached nothing.
    pub reached: String,
    pub operation: String,
}

impl OriginView {
    pub fn of(origin: &Origin) -> Self {
        let reached = origin.reached.map(|reached| {
            let commit = match reached.at {
                Some(at) => format!("the last commit in it is of {}", utc_text(at)),
                None => "no commit came after the backup".into(),
            };
            format!("{commit}; place in the log {}, timeline {}", reached.lsn, reached.timeline)
        });
        Self {
            source: origin.source_name.clone(),
            source_path: paths::server(&origin.source_id),
            asked: origin.target.words(),
            reached: reached.unwrap_or_default(),
            operation: origin.operation_id.as_ref().map_or(String::new(), paths::operation),
        }
    }
}
