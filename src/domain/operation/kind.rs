//! The kinds of operation, one block of facts for each: the only place where a kind is described.

use super::Lane;
use crate::domain::refusal::Refusal;
use crate::domain::server::{ServerState, SettledState};
use chrono::Duration;
use serde::{Deserialize, Serialize};

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperationKind {
    Create,
    Delete,
    Restart,
    Stop,
    Start,
    Scale,
    GrowStorage,
    ProtectStorage,
    ChangeParameters,
    AllowExtensions,
    ChangeExtension,
    CreateDatabase,
    DropDatabase,
    ResetPassword,
    ChangeNetworking,
    ChangePooler,
    RenewCertificate,
    Repair,
    BuildStandby,
    RemoveStandby,
    ChangeDurability,
    Switchover,
    Failover,
    Disarm,
    RecoverPrimary,
    Backup,
    DeleteBackup,
    SuspendRepository,
    RemoveRepository,
    Restore,
    RestoreDrill,
}

/// What is known of a kind before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindFacts {
    /// Word in the store; never reused for another meaning.
    pub key: &'static str,
    /// Words for people, as a headline before the server's name.
    pub label: &'static str,
    /// Word in the activity log.
    pub action: &'static str,
    /// What the server is called while it runs.
    pub state: ServerState,
    pub needs: Needs,
    /// Minutes after which a person is told that it takes too long.
    pub deadline_minutes: i64,
    /// What clients notice while it runs.
    pub availability: &'static str,
}

/// The settled states from which a kind may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing is there yet, or its creation failed.
    NewOrFailed,
    Any,
    Ready,
    Stopped,
    ReadyOrFailed,
}

impl Needs {
    fn admits(self, settled: SettledState) -> bool {
        match self {
            Needs::NewOrFailed => matches!(settled, SettledState::New | SettledState::Failed),
            Needs::Any => true,
            Needs::Ready => settled == SettledState::Ready,
            Needs::Stopped => settled == SettledState::Stopped,
            Needs::ReadyOrFailed => matches!(settled, SettledState::Ready | SettledState::Failed),
        }
    }
}

impl OperationKind {
    pub const ALL: [OperationKind; 31] = [
        OperationKind::Create,
        OperationKind::Delete,
        OperationKind::Restart,
        OperationKind::Stop,
        OperationKind::Start,
        OperationKind::Scale,
        OperationKind::GrowStorage,
        OperationKind::ProtectStorage,
        OperationKind::ChangeParameters,
        OperationKind::AllowExtensions,
        OperationKind::ChangeExtension,
        OperationKind::CreateDatabase,
        OperationKind::DropDatabase,
        OperationKind::ResetPassword,
        OperationKind::ChangeNetworking,
        OperationKind::ChangePooler,
        OperationKind::RenewCertificate,
        OperationKind::Repair,
        OperationKind::BuildStandby,
        OperationKind::RemoveStandby,
        OperationKind::ChangeDurability,
        OperationKind::Switchover,
        OperationKind::Failover,
        OperationKind::Disarm,
        OperationKind::RecoverPrimary,
        OperationKind::Backup,
        OperationKind::DeleteBackup,
        OperationKind::SuspendRepository,
        OperationKind::RemoveRepository,
        OperationKind::Restore,
        OperationKind::RestoreDrill,
    ];

    /// The kind's block.
    #[expect(clippy::too_many_lines, reason = "a table: one block for each kind, nothing to split")]
    pub const fn facts(self) -> KindFacts {
        match self {
            OperationKind::Create => KindFacts {
                key: "create",
                label: "Create server",
                action: "server.create",
                state: ServerState::Provisioning,
                needs: Needs::NewOrFailed,
                deadline_minutes: 20,
                availability: "The database becomes available when the last step is done.",
            },
            OperationKind::Delete => KindFacts {
                key: "delete",
                label: "Delete server",
                action: "server.delete",
                state: ServerState::Dropping,
                needs: Needs::Any,
                deadline_minutes: 10,
                availability: "The database is unavailable from the first step on, for good.",
            },
            OperationKind::Restart => KindFacts {
                key: "restart",
                label: "Restart server",
                action: "server.restart",
                state: ServerState::Restarting,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "The database is unavailable from “Stop PostgreSQL” until “Wait until it accepts connections” is done; open connections end.",
            },
            OperationKind::Stop => KindFacts {
                key: "stop",
                label: "Stop server",
                action: "server.stop",
                state: ServerState::Stopping,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "The database is unavailable from the first step on, until somebody starts it.",
            },
            OperationKind::Start => KindFacts {
                key: "start",
                label: "Start server",
                action: "server.start",
                state: ServerState::Starting,
                needs: Needs::Stopped,
                deadline_minutes: 10,
                availability: "The database becomes available when the last step is done.",
            },
            OperationKind::Scale => KindFacts {
                key: "scale",
                label: "Scale compute",
                action: "server.scale",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 15,
                availability: "The plan says whether PostgreSQL is restarted; while it is, new connections wait and open ones end.",
            },
            OperationKind::GrowStorage => KindFacts {
                key: "grow_storage",
                label: "Grow storage",
                action: "server.grow_storage",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "The database stays available.",
            },
            OperationKind::ProtectStorage => KindFacts {
                key: "protect_storage",
                label: "Change write protection",
                action: "server.protect_storage",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 5,
                availability: "The database stays available; new transactions are read-only while the storage is nearly full.",
            },
            OperationKind::ChangeParameters => KindFacts {
                key: "change_parameters",
                label: "Change server parameters",
                action: "server.change_parameters",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "The database stays available. With a restart it is unavailable from “Stop PostgreSQL” until “Wait until it accepts connections” is done; open connections end.",
            },
            OperationKind::AllowExtensions => KindFacts {
                key: "allow_extensions",
                label: "Change allowed extensions",
                action: "server.allow_extensions",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "The database stays available. With a restart it is unavailable from “Stop PostgreSQL” until “Wait until it accepts connections” is done; open connections end.",
            },
            OperationKind::ChangeExtension => KindFacts {
                key: "change_extension",
                label: "Change extension",
                action: "server.change_extension",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 5,
                availability: "The database stays available.",
            },
            OperationKind::CreateDatabase => KindFacts {
                key: "create_database",
                label: "Create database",
                action: "database.create",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 5,
                availability: "The other databases stay available.",
            },
            OperationKind::DropDatabase => KindFacts {
                key: "drop_database",
                label: "Drop database",
                action: "database.drop",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 5,
                availability: "The dropped database is unavailable for good; the others stay available.",
            },
            OperationKind::ResetPassword => KindFacts {
                key: "reset_password",
                label: "Reset the administrator's password",
                action: "server.reset_password",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 5,
                availability: "The database stays available; the administrator's sessions end, and new ones need the new password.",
            },
            OperationKind::ChangeNetworking => KindFacts {
                key: "change_networking",
                label: "Change networking",
                action: "server.change_networking",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "The database keeps running; connections that the new setting does not allow end.",
            },
            OperationKind::ChangePooler => KindFacts {
                key: "change_pooler",
                label: "Change connection pooling",
                action: "server.change_pooler",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "PostgreSQL stays available. Connections through PgBouncer go on, and end when it is switched off.",
            },
            OperationKind::RenewCertificate => KindFacts {
                key: "renew_certificate",
                label: "Renew certificate",
                action: "server.renew_certificate",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 5,
                availability: "The database stays available; new connections see the new certificate.",
            },
            OperationKind::Repair => KindFacts {
                key: "repair",
                label: "Repair server",
                action: "server.repair",
                state: ServerState::Updating,
                needs: Needs::ReadyOrFailed,
                deadline_minutes: 15,
                availability: "The plan says what is put right; where PostgreSQL runs and is right, it goes on.",
            },
            OperationKind::BuildStandby => KindFacts {
                key: "build_standby",
                label: "Build standby",
                action: "server.build_standby",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 240,
                availability: "The database stays available. From “Make commits wait for the standby” on commits are acknowledged when both members have them.",
            },
            OperationKind::RemoveStandby => KindFacts {
                key: "remove_standby",
                label: "Remove high availability",
                action: "server.remove_standby",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "The database stays available; commits are on one host from the first step on.",
            },
            OperationKind::ChangeDurability => KindFacts {
                key: "change_durability",
                label: "Change durability",
                action: "server.change_durability",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 15,
                availability: "The database stays available. With a standby that counts nothing changes for writes; without one, writes begin to wait for it (required), or those that wait are acknowledged and go on (preferred).",
            },
            OperationKind::Switchover => KindFacts {
                key: "switchover",
                label: "Planned failover",
                action: "server.switchover",
                state: ServerState::Updating,
                needs: Needs::Ready,
                deadline_minutes: 10,
                availability: "New connections wait from “Hold new connections” until “Let connections in” is done; open connections end.",
            },
            OperationKind::Failover => KindFacts {
                key: "failover",
                label: "Failover",
                action: "server.failover",
                state: ServerState::Updating,
                needs: Needs::ReadyOrFailed,
                deadline_minutes: 10,
                availability: "The database is unavailable until “Let connections in” is done; open connections end.",
            },
            OperationKind::Disarm => KindFacts {
                key: "disarm",
                label: "Go on without the standby",
                action: "server.disarm",
                state: ServerState::Updating,
                needs: Needs::ReadyOrFailed,
                deadline_minutes: 5,
                availability: "Commits that waited for the standby are acknowledged; from then on they are on one host.",
            },
            OperationKind::RecoverPrimary => KindFacts {
                key: "recover_primary",
                label: "Bring the primary back",
                action: "server.recover_primary",
                state: ServerState::Updating,
                needs: Needs::ReadyOrFailed,
                deadline_minutes: 30,
                availability: "The database becomes available when the last step is done.",
            },
            OperationKind::Backup => KindFacts {
                key: "backup",
                label: "Back up server",
                action: "server.backup",
                state: ServerState::Ready,
                needs: Needs::Ready,
                deadline_minutes: 1440,
                availability: "The database stays available.",
            },
            OperationKind::DeleteBackup => KindFacts {
                key: "delete_backup",
                label: "Delete backup",
                action: "backup.delete",
                state: ServerState::Ready,
                needs: Needs::Any,
                deadline_minutes: 60,
                availability: "The database stays available; nothing can be restored from the deleted backup any more.",
            },
            OperationKind::SuspendRepository => KindFacts {
                key: "suspend_repository",
                label: "Suspend repository",
                action: "backup.suspend_repository",
                state: ServerState::Ready,
                needs: Needs::Ready,
                deadline_minutes: 15,
                availability: "The database stays available. Its log is not kept for the repository any more: there is a gap in what can be restored from it.",
            },
            OperationKind::RemoveRepository => KindFacts {
                key: "remove_repository",
                label: "Remove second repository",
                action: "backup.remove_repository",
                state: ServerState::Ready,
                needs: Needs::Any,
                deadline_minutes: 300,
                availability: "The database stays available. Backups in the first repository stay.",
            },
            OperationKind::Restore => KindFacts {
                key: "restore",
                label: "Restore server",
                action: "server.restore",
                state: ServerState::Provisioning,
                needs: Needs::NewOrFailed,
                deadline_minutes: 1440,
                availability: "The new database becomes available when the last step is done. The one it comes from is left alone.",
            },
            OperationKind::RestoreDrill => KindFacts {
                key: "restore_drill",
                label: "Restore drill",
                action: "server.restore_drill",
                state: ServerState::Ready,
                needs: Needs::Any,
                deadline_minutes: 1440,
                availability: "The database stays available; the drill works on a copy that is thrown away.",
            },
        }
    }

    pub const fn key(self) -> &'static str {
        self.facts().key
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == text)
    }

    pub const fn label(self) -> &'static str {
        self.facts().label
    }

    pub const fn action(self) -> &'static str {
        self.facts().action
    }

    pub const fn availability(self) -> &'static str {
        self.facts().availability
    }

    /// Time after which a person is told that it takes too long.
    pub fn deadline(self) -> Duration {
        Duration::minutes(self.facts().deadline_minutes)
    }

    /// Whether it may start now. The reason is for the control it closes.
    ///
    /// # Errors
    /// The reason, when the state does not allow it or something else is under way.
    pub fn check_legal(
        self,
        settled: SettledState,
        active: Option<OperationKind>,
    ) -> Result<(), Refusal> {
        // What brings a database back does not wait for a change that cannot go on without it. What a backup goes
        // beside is judged kind by kind.
        let asks = !matches!(self.lane(), Lane::Rescue | Lane::Backup);
        if let Some(active) = active.filter(|_| asks) {
            return Err(Refusal::whole(format!(
                "“{}” is under way. Wait until it has ended.",
                active.label()
            )));
        }
        let needs = self.facts().needs;
        if needs.admits(settled) {
            return Ok(());
        }
        let state = ServerState::shown(settled, None).label();
        Err(Refusal::whole(match (needs, settled) {
            (Needs::NewOrFailed, _) => format!("The server is {state}: it exists already."),
            (Needs::Stopped, _) => format!("The server is {state}. This needs a server that is Stopped."),
            (_, SettledState::Stopped) => {
                "The server is Stopped. Start it first: while it is stopped, nothing else can be changed.".into()
            }
            _ => format!("The server is {state}. This needs a server that is Ready."),
        }))
    }
}

#[cfg(test)]
#[path = "kind_tests.rs"]
mod tests;
