//! Which steps a kind has, and what its end means for the server. The only list of kinds.

use super::step::{Step, Undo};
use super::{
    allow_extensions, backup, change_extension, change_networking, change_parameters,
    change_pooler, create, create_database, delete, drop_database, grow_storage, ha,
    protect_storage, renew_certificate, repair, reset_password, restart, restore, restore_drill,
    rolling, scale, start, stop,
};
use crate::domain::operation::{Operation, OperationKind};
use crate::domain::server::SettledState;

/// What an ended operation leaves of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Server(SettledState),
    /// The server is forgotten, with its secrets, rules and route.
    Gone,
    Unchanged,
}

/// The table of an operation: that of its kind, or the one that goes through a pair member by member.
pub fn table(kind: OperationKind, is_rolling: bool) -> &'static [Step] {
    match kind {
        OperationKind::Restart if is_rolling => rolling::RESTART,
        OperationKind::Scale if is_rolling => rolling::SCALE,
        OperationKind::ChangeParameters if is_rolling => rolling::PARAMETERS,
        OperationKind::AllowExtensions if is_rolling => rolling::EXTENSIONS,
        kind => steps(kind),
    }
}

/// The table of an operation as stored.
pub fn of(operation: &Operation) -> &'static [Step] {
    table(operation.kind, operation.is_rolling())
}

/// The table of a kind on a server without high availability, and wherever one table does for both.
pub fn steps(kind: OperationKind) -> &'static [Step] {
    match kind {
        OperationKind::Create => create::STEPS,
        OperationKind::Delete => delete::STEPS,
        OperationKind::Restart => restart::STEPS,
        OperationKind::RenewCertificate => renew_certificate::STEPS,
        OperationKind::Stop => stop::STEPS,
        OperationKind::Start => start::STEPS,
        OperationKind::Scale => scale::STEPS,
        OperationKind::GrowStorage => grow_storage::STEPS,
        OperationKind::ProtectStorage => protect_storage::STEPS,
        OperationKind::ChangeParameters => change_parameters::STEPS,
        OperationKind::AllowExtensions => allow_extensions::STEPS,
        OperationKind::ChangeExtension => change_extension::STEPS,
        OperationKind::CreateDatabase => create_database::STEPS,
        OperationKind::DropDatabase => drop_database::STEPS,
        OperationKind::ResetPassword => reset_password::STEPS,
        OperationKind::ChangeNetworking => change_networking::STEPS,
        OperationKind::ChangePooler => change_pooler::STEPS,
        OperationKind::Repair => repair::STEPS,
        OperationKind::BuildStandby => ha::build::STEPS,
        OperationKind::RemoveStandby => ha::remove::STEPS,
        OperationKind::ChangeDurability => ha::durability::STEPS,
        OperationKind::Switchover => ha::switchover::STEPS,
        OperationKind::Failover => ha::failover::STEPS,
        OperationKind::Disarm => ha::disarm::STEPS,
        OperationKind::RecoverPrimary => ha::recover::STEPS,
        OperationKind::Backup => backup::take::STEPS,
        OperationKind::DeleteBackup => backup::delete::STEPS,
        OperationKind::SuspendRepository => backup::suspend::STEPS,
        OperationKind::RemoveRepository => backup::remove::STEPS,
        OperationKind::Restore => restore::STEPS,
        OperationKind::RestoreDrill => restore_drill::STEPS,
    }
}

/// What becomes of the server when an operation of the kind has ended.
pub fn settlement(kind: OperationKind, succeeded: bool) -> Settlement {
    match (kind, succeeded) {
        (
            OperationKind::Create
            | OperationKind::Restore
            | OperationKind::Start
            | OperationKind::Repair,
            true,
        ) => Settlement::Server(SettledState::Ready),
        (OperationKind::Create | OperationKind::Restore, false) => {
            Settlement::Server(SettledState::Failed)
        }
        (OperationKind::Stop, true) => Settlement::Server(SettledState::Stopped),
        (OperationKind::Delete, true) => Settlement::Gone,
        (
            OperationKind::Delete
            | OperationKind::Restart
            | OperationKind::Stop
            | OperationKind::Start
            | OperationKind::Scale
            | OperationKind::GrowStorage
            | OperationKind::ProtectStorage
            | OperationKind::ChangeParameters
            | OperationKind::AllowExtensions
            | OperationKind::ChangeExtension
            | OperationKind::CreateDatabase
            | OperationKind::DropDatabase
            | OperationKind::ResetPassword
            | OperationKind::ChangeNetworking
            | OperationKind::ChangePooler
            | OperationKind::RenewCertificate
            | OperationKind::Repair
            | OperationKind::BuildStandby
            | OperationKind::RemoveStandby
            | OperationKind::ChangeDurability
            | OperationKind::Switchover
            | OperationKind::Failover
            | OperationKind::Disarm
            | OperationKind::RecoverPrimary
            | OperationKind::Backup
            | OperationKind::DeleteBackup
            | OperationKind::SuspendRepository
            | OperationKind::RemoveRepository
            | OperationKind::RestoreDrill,
            _,
        ) => Settlement::Unchanged,
    }
}

/// The last cursor at which an operation can still be taken back: that of its point of no return, whose
/// step is at work then but not done.
pub fn last_return(operation: &Operation) -> i64 {
    let steps = of(operation);
    let point = steps.iter().position(|step| step.point_of_no_return);
    i64::try_from(point.unwrap_or(steps.len())).unwrap_or(i64::MAX)
}

/// Whether a step before `cursor`, so one that is done, was the point of no return.
pub fn is_past_return(operation: &Operation, cursor: i64) -> bool {
    let done = usize::try_from(cursor).unwrap_or(0);
    of(operation).iter().take(done).any(|step| step.point_of_no_return)
}

/// Whether the step of this name has something to take back.
pub fn has_undo(operation: &Operation, name: &str) -> bool {
    of(operation).iter().any(|step| step.name == name && matches!(step.undo, Undo::Run(_)))
}
