//! The moves of a row: which are legal, what they promise.

use super::*;
use crate::domain::ids::{MemberId, ServerId};
use chrono::{DateTime, TimeZone, Utc};
use std::collections::HashSet;

pub(super) fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 12, 10, 0, 0).unwrap()
}

pub(super) fn member(number: u32) -> MemberId {
    MemberId::parse(&format!("00000000-0000-7000-8000-{number:012}")).unwrap()
}

/// A pair in `state`, with a standby and what the state promises.
pub(super) fn pair(state: ReplicationState, is_promotable: bool) -> HighAvailability {
    let id = ServerId::parse("00000000-0000-7000-8000-00000000000f").unwrap();
    let asked = HighAvailability::asked(
        id,
        HaMode::ZoneRedundant,
        Durability::Preferred,
        "2".into(),
        now(),
    );
    HighAvailability {
        primary: Some(member(1)),
        standby: (state != ReplicationState::Promoting).then(|| member(2)),
        state,
        is_promotable,
        armed_lsn: is_promotable.then_some(Lsn(7)),
        timeline: 1,
        ..asked
    }
}

pub(super) fn moves() -> Vec<Move> {
    let zone = || "1".to_owned();
    vec![
        Move::PrimaryPlaced { member: member(1) },
        Move::Chosen {
            mode: HaMode::SameZone,
            durability: Durability::Required,
            standby_zone: zone(),
        },
        Move::BuildBegins { standby: member(2) },
        Move::BuildBegins { standby: member(3) },
        Move::Follows { timeline: 1 },
        Move::ArmBegins,
        Move::Armed { lsn: Lsn(9), marked_at: 1 },
        Move::ArmGaveUp,
        Move::DisarmBegins,
        Move::Disarmed,
        Move::StandbyDropped,
        Move::SwitchBegins,
        Move::SwitchGaveUp,
        Move::RestartBegins,
        Move::Restarted,
        Move::PromotionBegins { standby_zone: zone() },
        Move::PromotionForced { standby_zone: zone() },
        Move::Promoted { timeline: 2 },
        Move::Stopped,
        Move::Started,
    ]
}

/// Every row that moves lead to from a new one, up to the third epoch.
pub(super) fn reachable() -> Vec<HighAvailability> {
    let asked =
        HighAvailability { primary: None, standby: None, ..pair(ReplicationState::Single, false) };
    let mut known = HashSet::from([asked.clone()]);
    let mut todo = vec![asked];
    while let Some(row) = todo.pop() {
        for change in moves() {
            let Ok(next) = row.after(&change, now()) else { continue };
            if next.epoch <= 3 && known.insert(next.clone()) {
                todo.push(next);
            }
        }
    }
    known.into_iter().collect()
}

#[test]
fn a_row_is_promotable_exactly_where_commits_wait_for_its_standby() {
    use ReplicationState as S;
    let rows = reachable();
    assert!(rows.len() > 100, "{} rows", rows.len());
    for row in rows {
        let must = matches!(row.state, S::Sync | S::Restarting | S::Switching);
        assert!(row.is_promotable == must || row.state == S::Stopped, "{row:?}");
        if row.is_promotable {
            let name = HighAvailability::standby_name(row.standby.as_ref().unwrap());
            assert_eq!(row.waits_for(), WaitsFor::Standby(name));
            assert!(row.armed_lsn.is_some());
        }
        assert_ne!(row.state, S::Blocked, "no move leads there");
    }
}

#[test]
fn only_an_armed_standby_begins_to_count_and_only_a_promotion_changes_the_primary() {
    for row in reachable() {
        for change in moves() {
            let Ok(next) = row.after(&change, now()) else { continue };
            if next.is_promotable && !row.is_promotable {
                assert!(matches!(change, Move::Armed { .. }), "{change:?} of {row:?}");
            }
            let is_promotion =
                matches!(change, Move::PromotionBegins { .. } | Move::PromotionForced { .. });
            assert_eq!(next.epoch, row.epoch + i64::from(is_promotion));
            // I1: the primary of an epoch is named once.
            if !is_promotion && row.primary.is_some() {
                assert_eq!(next.primary, row.primary, "{change:?} of {row:?}");
            }
            if matches!(change, Move::PromotionBegins { .. }) {
                assert!(row.is_promotable && next.primary == row.standby && next.standby.is_none());
            }
        }
    }
}

#[test]
fn a_mark_from_before_a_disarm_arms_nobody() {
    let row = HighAvailability { version: 7, ..pair(ReplicationState::Arming, false) };
    assert!(row.allows(&Move::Armed { lsn: Lsn(1), marked_at: 7 }));
    assert!(!row.allows(&Move::Armed { lsn: Lsn(1), marked_at: 4 }));
}

#[test]
fn a_planned_change_that_stopped_the_primary_comes_back_through_the_gate() {
    let row = pair(ReplicationState::Switching, true);
    let restarting = row.after(&Move::RestartBegins, now()).unwrap();
    assert_eq!(restarting.state, ReplicationState::Restarting);
    assert!(restarting.is_promotable);
    let stopped = pair(ReplicationState::Sync, true).after(&Move::Stopped, now()).unwrap();
    let started = stopped.after(&Move::Started, now()).unwrap();
    assert_eq!(started.state, ReplicationState::Restarting);
    let alone = pair(ReplicationState::Building, false).after(&Move::Stopped, now()).unwrap();
    assert_eq!(alone.after(&Move::Started, now()).unwrap().state, ReplicationState::Single);
}

/// The files of an arming, a disarming or a start are by one row, so nobody chooses anew in the midst of it.
#[test]
fn durability_is_chosen_only_where_no_file_is_being_written_by_the_row() {
    use ReplicationState as S;
    for state in S::ALL {
        let row = pair(state, matches!(state, S::Sync | S::Restarting | S::Switching));
        let chosen = Move::Chosen {
            mode: row.mode,
            durability: Durability::Required,
            standby_zone: row.standby_zone.clone(),
        };
        let may = matches!(state, S::Single | S::Building | S::CatchUp | S::Sync);
        assert_eq!(row.allows(&chosen), may, "{state:?}");
        let Ok(next) = row.after(&chosen, now()) else { continue };
        // Nothing but the choice: neither what counts nor since when.
        assert_eq!(next, HighAvailability { durability: Durability::Required, ..row });
    }
}

/// What the primary waits for follows from the choice only where no standby counts, and never before the first.
#[test]
fn a_choice_changes_what_the_primary_waits_for_only_without_a_standby() {
    use ReplicationState as S;
    let required =
        |row: HighAvailability| HighAvailability { durability: Durability::Required, ..row };
    let sync = pair(S::Sync, true);
    assert_eq!(required(sync.clone()).waits_for(), sync.waits_for());
    let had = HighAvailability { armed_lsn: Some(Lsn(7)), ..pair(S::Building, false) };
    assert_eq!(had.waits_for(), WaitsFor::NoOne);
    assert_eq!(required(had).waits_for(), WaitsFor::Never);
    assert_eq!(required(pair(S::Building, false)).waits_for(), WaitsFor::NoOne, "the first one");
}

#[test]
fn every_state_has_a_way_out() {
    for state in ReplicationState::ALL {
        let is_promotable = matches!(
            state,
            ReplicationState::Sync | ReplicationState::Restarting | ReplicationState::Switching
        );
        let row = pair(state, is_promotable);
        assert!(
            moves()
                .iter()
                .any(|change| row.after(change, now()).is_ok_and(|next| next.state != state)),
            "{state:?}"
        );
    }
}

/// I1 holds over the pairs of a server, and a new pair has promised nothing yet, whatever its number.
#[test]
fn a_pair_after_another_begins_above_its_epochs_and_waits_for_nobody() {
    let id = ServerId::parse("00000000-0000-7000-8000-00000000000f").unwrap();
    let mode = HaMode::ZoneRedundant;
    let row = HighAvailability::asked(id, mode, Durability::Required, "2".into(), now());
    let row = row.beginning_at_epoch(4);
    assert_eq!((row.epoch, row.had_standby(), row.waits_for()), (4, false, WaitsFor::NoOne));
    let later = HighAvailability { epoch: 5, ..row };
    assert_eq!((later.had_standby(), later.waits_for()), (true, WaitsFor::Never));
}
