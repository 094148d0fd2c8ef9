//! The cells of the matrix by name, and the whole product of rows and looks (L2).

use crate::domain::ha::row_tests::{moves, now, pair, reachable};
use crate::domain::ha::*;
use crate::domain::operation::OperationKind;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(300);

fn answers() -> SeenMember {
    SeenMember {
        sql: Sql::Answers,
        sql_for: LONG,
        engine_answers: Some(true),
        container: Some("running".into()),
        in_recovery: Some(false),
        timeline: Some(1),
        ..SeenMember::default()
    }
}

fn silent(engine: Option<bool>, container: Option<&str>, seconds: u64) -> SeenMember {
    SeenMember {
        sql: Sql::Silent,
        sql_for: Duration::from_secs(seconds),
        engine_answers: engine,
        container: container.map(Into::into),
        ..SeenMember::default()
    }
}

fn follows() -> SeenMember {
    SeenMember { in_recovery: Some(true), receives: Some(true), ..answers() }
}

fn primary_of(row: &HighAvailability) -> SeenMember {
    let name = row.standby.as_ref().map(HighAvailability::standby_name).unwrap_or_default();
    let in_force = match row.waits_for() {
        WaitsFor::NoOne => String::new(),
        WaitsFor::Standby(name) => format!("FIRST 1 (\"{name}\")"),
        WaitsFor::Never => "FIRST 1 (\"pgflex_nobody\")".into(),
    };
    let sender =
        SeenSender { name, state: "streaming".into(), sync_state: "sync".into(), flushed: None };
    SeenMember { senders: vec![sender], waits_for: Some(in_force), ..answers() }
}

fn well(row: &HighAvailability) -> Seen {
    Seen { primary: primary_of(row), standby: Some(follows()), ..Seen::default() }
}

fn sync() -> HighAvailability {
    pair(ReplicationState::Sync, true)
}

#[track_caller]
fn is(row: &HighAvailability, seen: &Seen, action: Action) -> String {
    is_after(row, seen, 120, action)
}

/// With the row so many seconds old.
#[track_caller]
fn is_after(row: &HighAvailability, seen: &Seen, seconds: i64, action: Action) -> String {
    let decision = decide(row, seen, now() + chrono::Duration::seconds(seconds));
    assert_eq!(decision.action, action, "{}", decision.reason);
    decision.reason
}

#[test]
fn a_pair_that_is_well_is_left_alone() {
    is(&sync(), &well(&sync()), Action::Nothing);
}

/// F2, rows 1 and 2; D5.
#[test]
fn the_matrix_of_a_primary_that_serves_never_fails_over() {
    for standby in
        [follows(), silent(Some(true), Some("running"), 99), silent(Some(false), None, 99)]
    {
        let mut seen = Seen { standby: Some(standby), ..well(&sync()) };
        is(&sync(), &seen, Action::Nothing);
        seen.primary.senders.clear();
        seen.unfollowed_for = Some(Duration::from_secs(1));
        is(&sync(), &seen, Action::Wait(Pause::Grace));
        seen.unfollowed_for = Some(SYNC_GRACE);
        is(&sync(), &seen, Action::Disarm);
        // Its engine may well be silent, or say something old.
        seen.primary.engine_answers = Some(false);
        seen.primary.container = None;
        is(&sync(), &seen, Action::Disarm);
    }
}

/// F2, the other rows; A7: what died complete is started; Z1.
#[test]
fn the_matrix_of_a_dead_primary() {
    for (primary, standby, action) in [
        (silent(Some(true), Some("exited"), 0), follows(), Action::Failover),
        (silent(Some(true), Some("running"), 2), follows(), Action::Failover),
        (silent(Some(true), Some("paused"), 5), follows(), Action::Wait(Pause::Unsure)),
        (silent(Some(true), Some("paused"), 30), follows(), Action::Failover),
        (silent(Some(false), None, 5), follows(), Action::Failover),
        (silent(None, None, 5), follows(), Action::Failover),
        // Both died: what can be started is started.
        (
            silent(Some(true), Some("exited"), 5),
            silent(Some(true), Some("exited"), 5),
            Action::RecoverPrimary,
        ),
        (
            silent(Some(true), Some("exited"), 5),
            silent(Some(false), None, 5),
            Action::RecoverPrimary,
        ),
        (silent(Some(false), None, 5), silent(Some(true), Some("exited"), 5), Action::Failover),
        (silent(Some(false), None, 5), silent(Some(false), None, 5), Action::Blocked),
        (silent(Some(false), None, 5), silent(Some(true), Some("missing"), 5), Action::Blocked),
        // A standby that missed one look is asked again.
        (
            silent(Some(false), None, 5),
            SeenMember { sql: Sql::Unknown, ..follows() },
            Action::Wait(Pause::Unsure),
        ),
        // No standby at all, on another timeline, or promoted by somebody.
        (
            silent(Some(false), None, 5),
            SeenMember { timeline: Some(2), ..follows() },
            Action::Blocked,
        ),
        (
            silent(Some(false), None, 5),
            SeenMember { in_recovery: Some(false), ..follows() },
            Action::Blocked,
        ),
    ] {
        let seen =
            Seen { primary: primary.clone(), standby: Some(standby.clone()), ..Seen::default() };
        for state in
            [ReplicationState::Sync, ReplicationState::Restarting, ReplicationState::Switching]
        {
            is(&pair(state, true), &seen, action);
        }
        // Without a standby that counts only the primary may come back.
        let alone = match (primary.container.as_deref(), primary.engine_answers) {
            (Some("exited"), _) => Action::RecoverPrimary,
            (Some("paused"), _) if primary.sql_for < FROZEN_GRACE => Action::Wait(Pause::Unsure),
            (Some("running"), _) | (None, None) => Action::Wait(Pause::Unsure),
            _ => Action::Blocked,
        };
        is(&pair(ReplicationState::CatchUp, false), &seen, alone);
    }
}

/// N5.
#[test]
fn one_missed_look_and_a_silent_engine_are_no_death() {
    let mut seen = well(&sync());
    seen.primary.sql = Sql::Unknown;
    seen.primary.engine_answers = Some(false);
    seen.primary.container = None;
    is(&sync(), &seen, Action::Wait(Pause::Unsure));
}

/// F14.
#[test]
fn a_third_failover_within_an_hour_is_the_last() {
    let mut seen = Seen {
        primary: silent(Some(true), Some("running"), 9),
        failovers_within_hour: FAILOVERS_PER_HOUR - 1,
        ..well(&sync())
    };
    is(&sync(), &seen, Action::Failover);
    seen.failovers_within_hour = FAILOVERS_PER_HOUR;
    assert!(is(&sync(), &seen, Action::Blocked).contains("force a failover"));
    seen.primary = silent(Some(true), Some("exited"), 9);
    is(&sync(), &seen, Action::RecoverPrimary);
}

/// C1.
#[test]
fn a_change_that_stopped_the_primary_has_a_budget() {
    let mut seen = Seen { primary: silent(Some(true), Some("exited"), 9), ..well(&sync()) };
    seen.change = Some(OperationKind::Restart);
    let row = pair(ReplicationState::Restarting, true);
    is_after(&row, &seen, 59, Action::Wait(Pause::Operation));
    is_after(&row, &seen, 60, Action::Failover);
    // The row does not say that it is stopped on purpose.
    is_after(&sync(), &seen, 1, Action::Failover);
    // A change that stops nothing explains nothing.
    seen.change = Some(OperationKind::CreateDatabase);
    is_after(&row, &seen, 1, Action::Failover);
    // Alone there is nothing better than to wait for one that holds clients; any other did not stop it.
    seen.change = Some(OperationKind::Scale);
    is(&pair(ReplicationState::Single, false), &seen, Action::RecoverPrimary);
    seen.is_held = true;
    is(&pair(ReplicationState::Single, false), &seen, Action::Wait(Pause::Operation));
}

/// D5 `required`.
#[test]
fn required_is_never_disarmed_for_a_lost_standby() {
    let row = HighAvailability { durability: Durability::Required, ..sync() };
    let mut seen = well(&row);
    seen.primary.senders.clear();
    seen.unfollowed_for = Some(Duration::from_secs(40));
    let reason = is(&row, &seen, Action::Wait(Pause::Grace));
    assert!(reason.contains("40 s") && reason.contains("required"), "{reason}");
    seen.unfollowed_for = Some(LONG);
    is(&row, &seen, Action::Blocked);
    seen.standby = Some(silent(Some(true), Some("exited"), 9));
    is(&row, &seen, Action::BuildStandby);
}

/// D5 `preferred`.
#[test]
fn a_standby_that_is_gone_or_frozen_is_not_waited_for() {
    let mut seen = Seen { standby: Some(silent(Some(true), Some("exited"), 0)), ..well(&sync()) };
    seen.primary.senders[0].state = "catchup".into();
    is(&sync(), &seen, Action::Disarm);
    let mut frozen = well(&sync());
    frozen.standby = Some(silent(Some(true), Some("paused"), 1));
    is(&sync(), &frozen, Action::Nothing);
    frozen.standby = Some(silent(Some(true), Some("paused"), 2));
    is(&sync(), &frozen, Action::Disarm);
}

/// I2, D3, A2.
#[test]
fn a_name_that_somebody_else_changed_ends_the_trust_in_the_standby() {
    for durability in Durability::ALL {
        let row = HighAvailability { durability, ..sync() };
        let mut seen = well(&row);
        let name = HighAvailability::standby_name(row.standby.as_ref().unwrap());
        for names in [
            String::new(),
            "*".into(),
            format!("ANY 1 (\"{name}\", \"other\")"),
            format!("FIRST 1 (\"{name}x\")"),
        ] {
            seen.primary.waits_for = Some(names);
            is_after(&row, &seen, 1, Action::Nothing);
            is_after(&row, &seen, 6, Action::Disarm);
        }
    }
}

/// D2, F3, C3, A6: whoever began it.
#[test]
fn what_was_left_over_is_ended() {
    let disarming = pair(ReplicationState::Disarming, false);
    is(&disarming, &well(&disarming), Action::Disarm);
    // A change of durability ends in a moment what it began; one that does not is rescued like any other.
    let change = Some(OperationKind::ChangeDurability);
    let chosen = Seen { change, ..well(&disarming) };
    is_after(&disarming, &chosen, 1, Action::Wait(Pause::Operation));
    is_after(&disarming, &chosen, 5, Action::Disarm);
    let alone = pair(ReplicationState::Single, false);
    is(&alone, &Seen { change, ..well(&alone) }, Action::BuildStandby);
    let promoting = HighAvailability { epoch: 2, ..pair(ReplicationState::Promoting, false) };
    is(&promoting, &well(&promoting), Action::Failover);
    for state in [ReplicationState::Restarting, ReplicationState::Switching] {
        let row = pair(state, true);
        is(&row, &well(&row), Action::RecoverPrimary);
    }
    for row in [sync(), pair(ReplicationState::Single, false)] {
        let mut held = Seen { is_held: true, ..well(&row) };
        is(&row, &held, Action::RecoverPrimary);
        held.change = Some(OperationKind::ChangeNetworking);
        assert_ne!(decide(&row, &held, now()).action, Action::RecoverPrimary);
    }
    let arming = pair(ReplicationState::Arming, false);
    is(&arming, &well(&arming), Action::Disarm);
    is(&arming, &Seen { is_building: true, ..well(&arming) }, Action::Wait(Pause::Operation));
}

/// Z3.
#[test]
fn tries_that_fail_keep_a_growing_distance() {
    let row = pair(ReplicationState::Single, false);
    let failed = |ago, in_a_row| Some(Failed { ago: Duration::from_secs(ago), in_a_row });
    for (ago, in_a_row, action) in [
        (9, 1, Action::Wait(Pause::Grace)),
        (10, 1, Action::BuildStandby),
        (39, 3, Action::Wait(Pause::Grace)),
        (40, 3, Action::BuildStandby),
        (600, 99, Action::BuildStandby),
    ] {
        is(&row, &Seen { build_failed: failed(ago, in_a_row), ..well(&row) }, action);
    }
    let mut seen = Seen { primary: silent(Some(true), Some("exited"), 9), ..well(&row) };
    seen.rescue_failed = failed(9, STARTS_IN_A_ROW - 1);
    is(&row, &seen, Action::RecoverPrimary);
    seen.rescue_failed = failed(9, STARTS_IN_A_ROW);
    is(&row, &seen, Action::Blocked);
}

fn looks() -> Vec<SeenMember> {
    let mut looks = vec![SeenMember::default(), answers(), follows()];
    for engine in [None, Some(false), Some(true)] {
        let containers: &[Option<&str>] = match engine {
            Some(true) => &[Some("running"), Some("paused"), Some("exited"), Some("missing")],
            _ => &[None],
        };
        for container in containers {
            for seconds in [1, 300] {
                looks.push(silent(engine, *container, seconds));
                let unknown = silent(engine, *container, seconds);
                looks.push(SeenMember { sql: Sql::Unknown, ..unknown });
            }
        }
    }
    looks.push(SeenMember { timeline: Some(2), ..follows() });
    looks
}

/// L2: each row with each look has an answer with a reason, and none that the row forbids.
#[test]
fn every_row_with_every_look_has_an_answer_that_is_legal() {
    let mut rows: Vec<_> = reachable().into_iter().filter(|row| row.epoch < 3).collect();
    rows.extend(ReplicationState::ALL.into_iter().map(|state| {
        pair(
            state,
            matches!(
                state,
                ReplicationState::Sync | ReplicationState::Restarting | ReplicationState::Switching
            ),
        )
    }));
    let failed = Some(Failed { ago: Duration::from_secs(2), in_a_row: 4 });
    let mut count = 0_u64;
    for row in &rows {
        let legal = Legal::of(row);
        for primary in looks() {
            for standby in looks().into_iter().map(Some).chain([None]) {
                for change in [
                    None,
                    Some(OperationKind::Restart),
                    Some(OperationKind::CreateDatabase),
                    Some(OperationKind::Delete),
                ] {
                    for flags in 0..16_u32 {
                        let followed = flags & 1 != 0;
                        let base = well(row).primary;
                        let senders = if followed { base.senders } else { vec![] };
                        let seen = Seen {
                            primary: SeenMember {
                                senders,
                                waits_for: (flags & 2 != 0).then_some(String::new()),
                                ..primary.clone()
                            },
                            standby: standby.clone(),
                            unfollowed_for: (!followed).then_some(LONG),
                            is_held: flags & 8 != 0,
                            change,
                            is_building: flags & 4 != 0,
                            is_rescuing: false,
                            build_failed: failed.filter(|_| flags & 8 != 0),
                            rescue_failed: failed.filter(|_| flags & 8 != 0),
                            since_failover: None,
                            failovers_within_hour: flags & 3,
                        };
                        legal.check(row, &seen);
                        count += 1;
                    }
                }
            }
        }
    }
    println!("{count} rows with looks");
}

/// What the row allows, by action; told once for each row.
struct Legal {
    failover: bool,
    disarm: bool,
    build: bool,
    recover: bool,
}

impl Legal {
    fn of(row: &HighAvailability) -> Self {
        let allows =
            |is: fn(&Move) -> bool| moves().iter().any(|change| is(change) && row.allows(change));
        let resumes = row.state == ReplicationState::Promoting;
        Self {
            failover: resumes || allows(|change| matches!(change, Move::PromotionBegins { .. })),
            disarm: allows(|change| *change == Move::DisarmBegins),
            build: allows(|change| matches!(change, Move::BuildBegins { .. })),
            recover: !row.is_promotable || allows(|change| *change == Move::RestartBegins),
        }
    }

    fn check(&self, row: &HighAvailability, seen: &Seen) {
        let decision = decide(row, seen, now() + chrono::Duration::seconds(120));
        let is_legal = match decision.action {
            Action::Failover => self.failover,
            Action::Disarm => self.disarm,
            Action::BuildStandby => self.build,
            Action::RecoverPrimary => self.recover,
            Action::Nothing | Action::Wait(_) | Action::Blocked => true,
        };
        assert!(is_legal, "{decision:?} for {row:?} with {seen:?}");
        let reason = &decision.reason;
        assert!(reason.len() > 20 && reason.ends_with('.'), "{decision:?}");
        let has_advice = reason.matches(['.', '!']).count() > 1;
        assert!(has_advice || decision.action != Action::Blocked, "{decision:?}");
    }
}

/// D7: a standby that follows is never disarmed for its lag; D6 is an operation of its own.
#[test]
fn lag_alone_is_no_reason() {
    let mut seen = well(&sync());
    seen.primary.written = Some(Lsn(1 << 40));
    seen.primary.senders[0].flushed = Some(Lsn(0));
    is(&sync(), &seen, Action::Nothing);
}

/// D4: commits of a primary that does not answer go on waiting; it is failed over, or nothing is done.
#[test]
fn a_primary_that_does_not_answer_is_never_disarmed() {
    for engine in [None, Some(false), Some(true)] {
        for standby in looks() {
            let primary = silent(engine, engine.and_then(|it| it.then_some("running")), 300);
            let seen = Seen { primary, standby: Some(standby), ..Seen::default() };
            assert_ne!(decide(&sync(), &seen, now()).action, Action::Disarm, "{seen:?}");
        }
    }
}

/// J10: only a standby that answers and has no receiver is a witness.
#[test]
fn a_standby_is_a_witness_of_its_primarys_loss_when_it_answers_and_receives_nothing() {
    let lost = SeenMember { receives: Some(false), ..follows() };
    assert!(lost.has_lost_its_primary());
    assert!(!follows().has_lost_its_primary());
    assert!(!SeenMember { receives: None, ..follows() }.has_lost_its_primary());
    assert!(!SeenMember { sql: Sql::Silent, ..lost.clone() }.has_lost_its_primary());
    assert!(!SeenMember { in_recovery: Some(false), ..lost }.has_lost_its_primary());
}
