//! What runs beside what on one server.

use super::OperationKind;
use crate::domain::refusal::Refusal;

/// Operations of different lanes run side by side on one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// What a person asks for.
    Change,
    Backup,
    /// A standby is built beside a primary that works.
    Standby,
    /// What brings a database back to its clients.
    Rescue,
}

impl Lane {
    pub fn key(self) -> &'static str {
        match self {
            Lane::Change => "change",
            Lane::Backup => "backup",
            Lane::Standby => "standby",
            Lane::Rescue => "rescue",
        }
    }
}

impl OperationKind {
    /// Operations in one lane of a server exclude one another.
    pub fn lane(self) -> Lane {
        match self {
            OperationKind::BuildStandby => Lane::Standby,
            OperationKind::Failover | OperationKind::Disarm | OperationKind::RecoverPrimary => {
                Lane::Rescue
            }
            OperationKind::Backup
            | OperationKind::DeleteBackup
            | OperationKind::RemoveRepository
            | OperationKind::RestoreDrill => Lane::Backup,
            _ => Lane::Change,
        }
    }

    /// Whether it may run beside what is under way in other lanes.
    ///
    /// # Errors
    /// The reason.
    pub fn check_beside(self, others: &[OperationKind]) -> Result<(), Refusal> {
        let hinders = |other: &&OperationKind| match (self.lane(), other.lane()) {
            (Lane::Change, Lane::Standby) => !self.goes_beside_build(),
            (Lane::Change, Lane::Rescue) | (Lane::Standby, Lane::Rescue) => true,
            (Lane::Standby, Lane::Change) => !other.goes_beside_build(),
            // A backup reads the volume of a member that works; what replaces the member comes first.
            (Lane::Backup, Lane::Change) => !other.goes_beside_build(),
            (Lane::Backup, Lane::Rescue) => true,
            // A change may cut a backup off, which then is taken again; a deletion ends it first.
            _ => false,
        };
        match others.iter().find(hinders) {
            None => Ok(()),
            Some(other) => Err(Refusal::whole(format!(
                "“{}” is under way. Wait until it has ended.",
                other.label()
            ))),
        }
    }

    /// Whether it works on a pair, whose row says how it stands however the operation ends.
    pub fn is_of_a_pair(self) -> bool {
        matches!(self.lane(), Lane::Standby | Lane::Rescue)
            || matches!(
                self,
                OperationKind::RemoveStandby
                    | OperationKind::ChangeDurability
                    | OperationKind::Switchover
            )
    }

    /// Whether it may run while a standby is built. What a person chooses for the time without a standby must not
    /// wait for hours of copying: it goes by the row in all it does, and so does the build.
    pub fn goes_beside_build(self) -> bool {
        self.leaves_members_alone()
            || matches!(self, OperationKind::ChangeDurability | OperationKind::SuspendRepository)
    }

    /// Whether it leaves containers and files of members alone.
    pub fn leaves_members_alone(self) -> bool {
        matches!(
            self,
            OperationKind::CreateDatabase
                | OperationKind::DropDatabase
                | OperationKind::ResetPassword
                | OperationKind::ChangeExtension
        )
    }
}
