//! Locks: what keeps people from changing or deleting a server or a group by mistake.
//!
//! A lock on a group holds for every server in it. Where several hold, all of them do: the most restrictive
//! wins. Locks bind people; the portal's own work (renewal of certificates, protection of a full storage)
//! goes on. They say nothing about SQL.

use super::ids::LockId;
use super::operation::OperationKind;
use super::refusal::Refusal;
use chrono::{DateTime, Utc};

/// What a lock forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockKind {
    /// Everything may be changed, nothing deleted.
    CanNotDelete,
    /// Nothing may be changed or deleted.
    ReadOnly,
}

impl LockKind {
    pub const ALL: [LockKind; 2] = [LockKind::CanNotDelete, LockKind::ReadOnly];

    pub fn key(self) -> &'static str {
        match self {
            LockKind::CanNotDelete => "CanNotDelete",
            LockKind::ReadOnly => "ReadOnly",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            LockKind::CanNotDelete => "Delete",
            LockKind::ReadOnly => "Read-only",
        }
    }

    pub fn purpose(self) -> &'static str {
        match self {
            LockKind::CanNotDelete => "May be changed, not deleted.",
            LockKind::ReadOnly => "May be looked at only: not changed, not deleted.",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == text)
    }
}

/// What somebody is about to do with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Change,
    Delete,
}

impl From<OperationKind> for Act {
    fn from(kind: OperationKind) -> Self {
        if kind == OperationKind::Delete { Act::Delete } else { Act::Change }
    }
}

/// What a lock is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockScope {
    Group,
    Server,
}

impl LockScope {
    pub const ALL: [LockScope; 2] = [LockScope::Group, LockScope::Server];

    pub fn key(self) -> &'static str {
        match self {
            LockScope::Group => "group",
            LockScope::Server => "server",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.key() == text)
    }
}

/// A lock as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    pub id: LockId,
    pub scope: LockScope,
    /// Name of the group or server that it is on.
    pub holder: String,
    pub name: String,
    pub kind: LockKind,
    /// Why it is there, in the words of the one who made it.
    pub note: String,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
}

impl Lock {
    pub const NAME_LENGTH_MAX: usize = 64;
    pub const NOTE_LENGTH_MAX: usize = 200;
    /// Locks on one server or group.
    pub const COUNT_MAX: usize = 20;

    /// Parses a typed name: 1 to 64 letters, digits, hyphens and underscores.
    pub fn parse_name(typed: &str) -> Result<String, Refusal> {
        let name = typed.trim();
        let refuse = |text: &str| Err(Refusal::at("lock_name", text));
        if name.is_empty() {
            return refuse("Enter a name for the lock. People read it when it stops them.");
        }
        let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.len() > Self::NAME_LENGTH_MAX || !name.chars().all(is_fine) {
            return refuse(
                "The name of a lock has 1 to 64 letters, digits, hyphens and underscores.",
            );
        }
        Ok(name.to_owned())
    }

    /// Parses a typed note: one line.
    pub fn parse_note(typed: &str) -> Result<String, Refusal> {
        let note = typed.trim();
        if note.chars().count() > Self::NOTE_LENGTH_MAX || note.chars().any(char::is_control) {
            return Err(Refusal::at("note", "A note is one line of at most 200 characters."));
        }
        Ok(note.to_owned())
    }

    pub fn forbids(&self, act: Act) -> bool {
        match self.kind {
            LockKind::ReadOnly => true,
            LockKind::CanNotDelete => act == Act::Delete,
        }
    }

    /// "resource group prod", or "this server".
    pub fn place(&self) -> String {
        match self.scope {
            LockScope::Group => format!("resource group {}", self.holder),
            LockScope::Server => "this server".into(),
        }
    }
}

/// Whether locks leave somebody an act. The most restrictive is named.
///
/// # Errors
/// The refusal, with the lock's name and where it is removed.
pub fn check(locks: &[Lock], act: Act) -> Result<(), Refusal> {
    let forbidding = locks.iter().filter(|lock| lock.forbids(act));
    let Some(lock) = forbidding.max_by_key(|lock| lock.kind == LockKind::ReadOnly) else {
        return Ok(());
    };
    let word = match lock.kind {
        LockKind::CanNotDelete => "against deletion",
        LockKind::ReadOnly => "against every change",
    };
    Err(Refusal::whole(format!(
        "The lock “{}” on {} protects it {word}. An owner can remove the lock.",
        lock.name,
        lock.place()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(name: &str, scope: LockScope, kind: LockKind) -> Lock {
        Lock {
            id: LockId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
            scope,
            holder: "prod".into(),
            name: name.into(),
            kind,
            note: String::new(),
            created_by: "olga".into(),
            created_at: DateTime::from_timestamp(0, 0).unwrap(),
        }
    }

    #[test]
    fn the_most_restrictive_lock_wins_and_is_named() {
        let keep = lock("keep", LockScope::Server, LockKind::CanNotDelete);
        let freeze = lock("freeze", LockScope::Group, LockKind::ReadOnly);
        assert!(check(&[], Act::Delete).is_ok());
        assert!(check(std::slice::from_ref(&keep), Act::Change).is_ok());
        let text = check(std::slice::from_ref(&keep), Act::Delete).unwrap_err().text;
        assert!(text.contains("“keep” on this server"), "{text}");
        for both in [[keep.clone(), freeze.clone()], [freeze, keep]] {
            let text = check(&both, Act::Delete).unwrap_err().text;
            assert!(text.contains("“freeze” on resource group prod"), "{text}");
            assert!(check(&both, Act::Change).is_err());
        }
    }

    #[test]
    fn every_kind_of_operation_is_an_act() {
        for kind in OperationKind::ALL {
            assert_eq!(Act::from(kind) == Act::Delete, kind == OperationKind::Delete);
        }
    }

    #[test]
    fn names_and_notes() {
        assert_eq!(Lock::parse_name(" keep ").unwrap(), "keep");
        for bad in ["", "a b", "<b>", &"x".repeat(65)] {
            assert!(Lock::parse_name(bad).is_err(), "{bad}");
        }
        assert!(Lock::parse_note("").is_ok() && Lock::parse_note("a\nb").is_err());
    }
}
