//! What the end of each kind means, in words: one block for each.

use crate::domain::operation::OperationKind;

/// The sentences of a kind.
pub struct Words {
    /// It succeeded.
    pub succeeded: &'static str,
    /// It did not, and what it did was taken back.
    pub taken_back: &'static str,
    /// It was given up half way by a person; also what abandoning means beforehand.
    pub given_up: &'static str,
}

#[expect(clippy::too_many_lines, reason = "a table: one block for each kind, nothing to split")]
pub const fn of(kind: OperationKind) -> Words {
    match kind {
        OperationKind::Create => Words {
            succeeded: "The server accepts connections. Next: copy a connection string, and check who may connect.",
            taken_back: "Everything it made was removed: no container, volume or network is left.",
            given_up: "It was given up. A container, a volume or a network may still be on the host; deleting the server removes them.",
        },
        OperationKind::Backup => Words {
            succeeded: "The backup is whole: every file of it was read again. The server can be restored to its end, and from there to every moment that the log covers.",
            taken_back: "Nothing of it is listed: what it had written is no backup and goes with the next one. Earlier backups and the database are untouched.",
            given_up: "It was given up. What it had written is no backup and goes with the next one. Earlier backups and the database are untouched.",
        },
        OperationKind::DeleteBackup => Words {
            succeeded: "The backup is deleted, and the log that only it needed.",
            taken_back: "The backup was not deleted.",
            given_up: "It was given up. The list of backups shows what the repository still holds.",
        },
        OperationKind::SuspendRepository => Words {
            succeeded: "The log does not wait for the repository any more. What can be restored from it ends at the gap. While it is asked for, a full backup takes it up again by itself as soon as it answers.",
            taken_back: "Nothing was changed: the log still waits for the repository.",
            given_up: "It was given up. The log of a member may still wait for the repository; the next backup, or the next change of the server's configuration, puts that right.",
        },
        OperationKind::RemoveRepository => Words {
            succeeded: "The repository that is not asked for any more holds no backup. Files that could not be removed yet, which the log says, are removed later by itself. Backups in the first one are untouched.",
            taken_back: "Nothing was removed.",
            given_up: "It was given up. Files that nobody restores from may still be on the repository's host; it is tried again by itself.",
        },
        OperationKind::Restore => Words {
            succeeded: "The new server accepts connections. The page Backup and restore says which moment it really reached. Next: check who may connect, then its data.",
            taken_back: "Everything it made was removed: no container, volume or network is left. The server it comes from and its backups are untouched.",
            given_up: "It was given up. A container, a volume or a network of the new server may still be on the host; deleting the new server removes them. The server it comes from and its backups are untouched.",
        },
        OperationKind::RestoreDrill => Words {
            succeeded: "The newest backup was restored into a throw-away container and checked; the record says what was found and how long it took.",
            taken_back: "The drill proved nothing. What it had made was removed; the server and its backups are untouched.",
            given_up: "It was given up. A container or a volume of the drill may still be on the host; the next drill removes them. The server and its backups are untouched.",
        },
        OperationKind::Delete => Words {
            succeeded: "The server and its data are gone. Its name can be used again.",
            taken_back: "The server was not deleted. Its data is untouched and the way in is open as before.",
            given_up: "It was given up half way. What is deleted stays deleted; deleting the server again goes on with the rest.",
        },
        OperationKind::Restart => Words {
            succeeded: "PostgreSQL was restarted and connections are let in.",
            taken_back: "What it did was taken back: PostgreSQL runs as before and connections are let in. No data is lost.",
            given_up: "It was given up. PostgreSQL may be stopped and new connections may be held. The data is on its volume. Restart the server to put it right.",
        },
        OperationKind::Stop => Words {
            succeeded: "PostgreSQL is stopped and compute is no longer counted. Data, network and settings are kept. It starts again by itself seven days after the stop.",
            taken_back: "The server was not stopped: PostgreSQL runs and connections are let in. No data is lost.",
            given_up: "It was given up. PostgreSQL may be stopped while the server is shown as Ready. The data is on its volume. Repair the server to put it right.",
        },
        OperationKind::Start => Words {
            succeeded: "PostgreSQL runs and connections are let in. Compute is counted again.",
            taken_back: "The server stays stopped. Its data is untouched.",
            given_up: "It was given up. PostgreSQL may run while the way in is closed. The data is on its volume. Start or repair the server to put it right.",
        },
        OperationKind::Scale => Words {
            succeeded: "The server has its new size.",
            taken_back: "The server has the size it had before. No data is lost.",
            given_up: "It was given up. The container may have other limits than the size says. The data is on its volume. Repair the server to put it right.",
        },
        OperationKind::GrowStorage => Words {
            succeeded: "The storage has its new size.",
            taken_back: "The storage has the size it had before. No data is lost.",
            given_up: "It was given up. The file system may be larger than the server says. No data is lost. Grow the storage again to put it right.",
        },
        OperationKind::ProtectStorage => Words {
            succeeded: "New transactions follow the new setting.",
            taken_back: "New transactions are as they were before.",
            given_up: "It was given up. The monitor looks again within a minute and puts it right.",
        },
        OperationKind::ChangeParameters => Words {
            succeeded: "The parameters are saved. What is static and was not restarted for waits for the next restart.",
            taken_back: "All parameters have the values they had before, and PostgreSQL runs with them. No data is lost.",
            given_up: "It was given up. Some parameters may have their new values. The data is untouched. Save them again to put it right.",
        },
        OperationKind::AllowExtensions => Words {
            succeeded: "The list of allowed extensions is saved.",
            taken_back: "The list of allowed extensions is as it was before, and PostgreSQL runs with it. No data is lost.",
            given_up: "It was given up. The list may be changed and not in force yet. Save it again to put it right.",
        },
        OperationKind::ChangeExtension => Words {
            succeeded: "The extension was changed in its database.",
            taken_back: "The database has the extensions it had before. Only where a drop was cancelled at its last moment, tables of the extension itself are empty.",
            given_up: "It was given up. Look at the page Extensions for what is installed.",
        },
        OperationKind::CreateDatabase => Words {
            succeeded: "The database is there and takes connections.",
            taken_back: "The database was not created, or was removed again. Should somebody have connected to it in between, it stays, and the log says so.",
            given_up: "It was given up. Look at the page Databases for what is there.",
        },
        OperationKind::DropDatabase => Words {
            succeeded: "The database and its data are gone.",
            taken_back: "The database was not dropped. Its data is untouched; sessions in it may have been ended.",
            given_up: "It was given up. The database may be closed to connections: its page lists it then as closed. Drop it again, or let clients in by SQL: ALTER DATABASE … ALLOW_CONNECTIONS true.",
        },
        OperationKind::ResetPassword => Words {
            succeeded: "The administrator has the new password, and sessions opened with the old one were ended.",
            taken_back: "The administrator has the password of before.",
            given_up: "It was given up. The new password may or may not be in force. Reset it once more to be sure.",
        },
        OperationKind::ChangeNetworking => Words {
            succeeded: "The new networking settings are in force.",
            taken_back: "Networking is as it was before.",
            given_up: "It was given up. Networking may be half changed. The data is untouched. Save the settings again to put it right.",
        },
        OperationKind::ChangePooler => Words {
            succeeded: "Connection pooling follows the new settings.",
            taken_back: "Connection pooling is as it was before.",
            given_up: "It was given up. PgBouncer may run with other settings than shown. Save them again to put it right.",
        },
        OperationKind::RenewCertificate => Words {
            succeeded: "New connections see the new certificate. Open ones went on.",
            taken_back: "Nothing was taken away: connections go on with the certificate that PostgreSQL has loaded.",
            given_up: "It was given up. Connections go on with the certificate that PostgreSQL has loaded; renewal is tried again by itself.",
        },
        OperationKind::Repair => Words {
            succeeded: "The server is as it should be: its container, limits, configuration and way in were checked.",
            taken_back: "What was put right stays so; the rest is as it was found. Nothing was done to the data volume.",
            given_up: "It was given up. The data is on its volume. Mend what the reason names, then repair again.",
        },
        OperationKind::BuildStandby => Words {
            succeeded: "The standby has every commit that is acknowledged: commits are on two members now.",
            taken_back: "No standby counts. The primary went on all the time. It is tried again by itself.",
            given_up: "It was given up. The primary goes on alone. A container or a volume of the standby may be left on its host; the next try uses or removes them.",
        },
        OperationKind::RemoveStandby => Words {
            succeeded: "The server has no standby any more. Commits are on one host.",
            taken_back: "The server still has high availability. If its standby no longer counts, the portal makes it count again by itself.",
            given_up: "It was given up half way: the standby no longer counts. Remove high availability again to go on with the rest.",
        },
        OperationKind::ChangeDurability => Words {
            succeeded: "The new durability holds from now on. The page High availability says where commits are and whether they wait.",
            taken_back: "Durability is as it was before, and commits wait as it says.",
            given_up: "It was given up. The new durability may be on record while PostgreSQL waits as before; the portal puts that right by itself when the primary answers and no standby is being built. Change it again to be sure.",
        },
        OperationKind::Switchover => Words {
            succeeded: "The members have changed places; clients reach the new primary at the same address. The other member follows again, or is being brought back.",
            taken_back: "A change of primary that had begun was finished, otherwise the primary is the one it was; connections are let in. No commit is lost.",
            given_up: "It was given up half way. The page High availability says which member is the primary; nothing that was acknowledged is lost. The portal goes on with what was begun by itself.",
        },
        OperationKind::Failover => Words {
            succeeded: "The standby is the primary now; clients reach it at the same address. A new standby is made by itself.",
            taken_back: "A change of primary that had begun was finished, otherwise nothing was changed. The page High availability says which member is the primary.",
            given_up: "It was given up half way. The page High availability says which member is the primary. The portal goes on with what was begun by itself.",
        },
        OperationKind::Disarm => Words {
            succeeded: "Commits no longer wait for the standby: they are on one host until it is back.",
            taken_back: "Either nothing was changed, or the standby no longer counts and commits may still wait for it. The portal tries again by itself.",
            given_up: "It was given up. Commits may wait until the standby is back. The portal tries again by itself.",
        },
        OperationKind::RecoverPrimary => Words {
            succeeded: "The primary runs again on its volume and connections are let in.",
            taken_back: "The primary may run by now; clients are let in when nothing that they see can be lost again. Its volume is untouched. The portal decides again by itself.",
            given_up: "It was given up. The data is on its volume. Mend what the reason names, then retry.",
        },
    }
}
