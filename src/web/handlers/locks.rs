//! Locks as the pages of servers and of groups show, add and remove them.

use crate::clock::new_id;
use crate::domain::ids::LockId;
use crate::domain::lock::{Lock, LockKind, LockScope};
use crate::domain::refusal::Refusal;
use crate::web::form::{Choice, FormState, Posted};
use crate::web::label::{Chip, Icon, Tone};
use crate::web::time::Stamp;
use chrono::{DateTime, Utc};

/// A lock as a row.
pub struct LockRow {
    pub name: String,
    pub chip: Chip,
    pub purpose: &'static str,
    pub note: String,
    /// The group that it comes from; empty for a lock of the thing itself.
    pub inherited_from: String,
    pub by: String,
    pub at: Stamp,
    /// Where it is removed; empty where this person or page cannot.
    pub remove_path: String,
}

/// The locks of a page, with what its table and form need.
pub struct LockList {
    pub rows: Vec<LockRow>,
    pub kinds: Vec<Choice>,
    /// Where a new one is posted.
    pub action: String,
    /// Whether this person adds and removes them.
    pub may_manage: bool,
    /// "this server" or "this resource group".
    pub holder: &'static str,
}

impl LockRow {
    pub fn new(lock: &Lock, remove_path: String) -> Self {
        let tone = match lock.kind {
            LockKind::CanNotDelete => Tone::Idle,
            LockKind::ReadOnly => Tone::Warn,
        };
        Self {
            name: lock.name.clone(),
            chip: Chip::new(lock.kind.label(), Icon::Pause, tone),
            purpose: lock.kind.purpose(),
            note: lock.note.clone(),
            inherited_from: match lock.scope {
                LockScope::Group => lock.holder.clone(),
                LockScope::Server => String::new(),
            },
            by: lock.created_by.clone(),
            at: lock.created_at.into(),
            remove_path,
        }
    }
}

/// The choice of what a lock forbids.
pub fn kinds() -> Vec<Choice> {
    let one = |kind: LockKind| Choice::new(kind.key(), kind.label()).detail(kind.purpose());
    LockKind::ALL.map(one).to_vec()
}

/// The posted form as a lock; all faults are noted at once.
pub fn read(
    f: &mut FormState,
    posted: &Posted,
    scope: LockScope,
    by: &str,
    now: DateTime<Utc>,
) -> Option<Lock> {
    let name = f.check(Lock::parse_name(posted.text("lock_name")));
    let note = f.check(Lock::parse_note(posted.text("note")));
    let kind = f.check(
        LockKind::parse(posted.text("kind"))
            .ok_or_else(|| Refusal::at("kind", "Choose what the lock forbids.")),
    );
    let (name, note, kind) = (name?, note?, kind?);
    let holder = String::new();
    let id = new_id(LockId::parse);
    Some(Lock { id, scope, holder, name, kind, note, created_by: by.into(), created_at: now })
}

/// Why a lock was not written.
pub fn full() -> Refusal {
    Refusal::whole(format!("There are {} locks already. Remove one first.", Lock::COUNT_MAX))
}

/// The name is another lock's.
pub fn taken(name: &str) -> Refusal {
    Refusal::at("lock_name", format!("There is a lock named {name} already. Choose another name."))
}
