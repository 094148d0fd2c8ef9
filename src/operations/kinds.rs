//! Which steps a kind has, and what its end means for the server. The only list of kinds.

use super::step::{Step, Undo};
use super::{create, delete, renew_certificate, restart};
use crate::domain::operation::OperationKind;
use crate::domain::server::SettledState;

/// What an ended operation leaves of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Server(SettledState),
    /// The server is forgotten, with its secrets, rules and route.
    Gone,
    Unchanged,
}

/// The table of a kind.
pub fn steps(kind: OperationKind) -> &'static [Step] {
    match kind {
        OperationKind::Create => create::STEPS,
        OperationKind::Delete => delete::STEPS,
        OperationKind::Restart => restart::STEPS,
        OperationKind::RenewCertificate => renew_certificate::STEPS,
    }
}

/// What becomes of the server when an operation of the kind has ended.
pub fn settlement(kind: OperationKind, succeeded: bool) -> Settlement {
    match (kind, succeeded) {
        (OperationKind::Create, true) => Settlement::Server(SettledState::Ready),
        (OperationKind::Create, false) => Settlement::Server(SettledState::Failed),
        (OperationKind::Delete, true) => Settlement::Gone,
        (OperationKind::Delete | OperationKind::Restart | OperationKind::RenewCertificate, _) => {
            Settlement::Unchanged
        }
    }
}

/// The last cursor at which an operation can still be taken back: that of its point of no return, whose
/// step is at work then but not done.
pub fn last_return(kind: OperationKind) -> i64 {
    let point = steps(kind).iter().position(|step| step.point_of_no_return);
    i64::try_from(point.unwrap_or(steps(kind).len())).unwrap_or(i64::MAX)
}

/// Whether a step before `cursor`, so one that is done, was the point of no return.
pub fn is_past_return(kind: OperationKind, cursor: i64) -> bool {
    let done = usize::try_from(cursor).unwrap_or(0);
    steps(kind).iter().take(done).any(|step| step.point_of_no_return)
}

/// Whether the step of this name has something to take back.
pub fn has_undo(kind: OperationKind, name: &str) -> bool {
    steps(kind).iter().any(|step| step.name == name && matches!(step.undo, Undo::Run(_)))
}
