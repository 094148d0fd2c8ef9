//! Which kind may start when, and beside what.

use super::*;

#[test]
fn one_change_at_a_time_and_only_from_the_right_state() {
    let busy = OperationKind::Restart.check_legal(SettledState::Ready, Some(OperationKind::Delete));
    assert!(busy.unwrap_err().text.contains("Delete server"));
    assert!(OperationKind::Restart.check_legal(SettledState::Ready, None).is_ok());
    assert!(OperationKind::Restart.check_legal(SettledState::Failed, None).is_err());
    assert!(OperationKind::Create.check_legal(SettledState::Ready, None).is_err());
    assert!(OperationKind::Delete.check_legal(SettledState::Failed, None).is_ok());
    assert!(OperationKind::Start.check_legal(SettledState::Stopped, None).is_ok());
}

#[test]
fn a_stopped_server_can_only_be_started_or_deleted_and_its_backups_tended() {
    use OperationKind as K;
    let may = [K::Start, K::Delete, K::DeleteBackup, K::RemoveRepository, K::RestoreDrill];
    for kind in OperationKind::ALL {
        let legal = kind.check_legal(SettledState::Stopped, None).is_ok();
        assert_eq!(legal, may.contains(&kind), "{kind:?}");
    }
}

#[test]
fn a_backup_goes_beside_what_leaves_its_member_alone_and_holds_nobody_up() {
    use OperationKind as K;
    assert!(K::Backup.check_beside(&[K::CreateDatabase]).is_ok());
    for first in [K::Restart, K::Scale, K::Delete, K::Failover] {
        assert!(K::Backup.check_beside(&[first]).is_err(), "{first:?}");
        assert!(first.check_beside(&[K::Backup]).is_ok(), "{first:?}");
    }
    assert!(K::Backup.check_legal(SettledState::Ready, Some(K::CreateDatabase)).is_ok());
}

#[test]
fn durability_is_changed_beside_a_build_and_beside_no_rescue() {
    use OperationKind as K;
    let kind = K::ChangeDurability;
    assert!(kind.check_beside(&[K::BuildStandby]).is_ok());
    assert!(K::BuildStandby.check_beside(&[kind]).is_ok());
    assert!(K::Restart.check_beside(&[K::BuildStandby]).is_err());
    for rescue in [K::Failover, K::Disarm, K::RecoverPrimary] {
        assert!(kind.check_beside(&[rescue]).is_err(), "{rescue:?}");
        assert!(rescue.check_beside(&[kind]).is_ok(), "{rescue:?} never waits");
    }
}

#[test]
fn no_two_kinds_share_a_word() {
    for kind in OperationKind::ALL {
        assert_eq!(OperationKind::parse(kind.key()), Some(kind));
    }
}
