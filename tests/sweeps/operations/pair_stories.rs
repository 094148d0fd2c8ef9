//! Pairs in trouble: what one operation leaves, and what happens while it is at work.

use super::pairs::Pair;
use super::{once, world};
use crate::world::{World, changes};
use pgflex::domain::activity::Actor;
use pgflex::domain::ha::{Durability, HighAvailability, MemberRole, ReplicationState as S};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{Operation, OperationKind as Kind, OperationStatus};
use pgflex::operations::runner::{Hook, Interference, Point};
use pgflex::operations::submit::Change;
use pgflex::postgres::PostgresError;
use pgflex::store::Record;
use std::sync::Arc;

/// A pair in sync; the operation that made it.
async fn in_sync(world: &World) -> Operation {
    let id = world.submit(Kind::BuildStandby).await;
    let ended = world.run_to_rest(&world.runner(), &id).await;
    Pair::of(world, &ended).await.assert_in_sync("built").await;
    ended
}

/// Submits a kind with its usual input and nothing else, and runs it.
async fn run(world: &World, kind: Kind, server: &ServerId) -> Operation {
    let change = Change { kind, input: changes::input(kind) };
    let id = world.door().submit_change(change, server, &Actor::system(), None).await.unwrap();
    world.run_to_rest(&world.runner(), &id).await
}

async fn succeed(world: &World, kind: Kind, server: &ServerId) -> Operation {
    let ended = run(world, kind, server).await;
    assert_eq!(ended.status, OperationStatus::Succeeded, "{kind:?}: {:?}", ended.error);
    ended
}

fn crash(pair: &Pair<'_>, role: MemberRole) {
    let member = pair.role(role).unwrap();
    pair.engine(member).crash(&member.container(), 137);
}

#[tokio::test]
async fn a_primary_that_serves_is_not_failed_over_from_by_itself() {
    let world = world().await;
    let built = in_sync(&world).await;
    let ended = run(&world, Kind::Failover, &built.server_id).await;
    assert_eq!(ended.status, OperationStatus::Failed);
    assert!(ended.error.unwrap().contains("answers and takes writes"));
    Pair::of(&world, &built).await.assert_in_sync("as before").await;
}

/// W1: an old primary that crashed may have what the new one lacks. Its volume goes when the pair is in sync again.
#[tokio::test]
async fn after_a_crash_the_standby_is_a_new_copy_and_the_old_volume_goes_last() {
    let world = world().await;
    let built = in_sync(&world).await;
    let before = Pair::of(&world, &built).await;
    let old = before.role(MemberRole::Primary).unwrap().clone();
    crash(&before, MemberRole::Primary);
    succeed(&world, Kind::Failover, &built.server_id).await;
    let kept = format!("volume {}", old.data_volume());
    let id = world.submit_on(Kind::BuildStandby, &built.server_id).await;
    let fail = once("arm", Point::Begun, false, Interference::Fail);
    let failed = world.run_through(fail, &id).await;
    assert_eq!(failed.status, OperationStatus::Failed);
    assert!(world.engine.remaining().contains(&kept), "not before the pair is in sync");
    succeed(&world, Kind::BuildStandby, &built.server_id).await;
    let after = Pair::of(&world, &built).await;
    after.assert_in_sync("built again").await;
    after.assert_sound("built again").await;
    assert!(after.members.iter().all(|member| member.id != old.id));
    assert!(!world.engine.remaining().contains(&kept));
}

#[tokio::test]
async fn after_an_orderly_change_the_old_primary_follows_with_the_data_it_has() {
    let world = world().await;
    let built = in_sync(&world).await;
    let server = &built.server_id;
    for epoch in 2..4 {
        let before = Pair::of(&world, &built).await;
        let (primary, standby) = (before.row.primary.clone(), before.row.standby.clone());
        succeed(&world, Kind::Switchover, server).await;
        succeed(&world, Kind::BuildStandby, server).await;
        let pair = Pair::of(&world, &built).await;
        pair.assert_in_sync("again").await;
        pair.assert_sound("again").await;
        assert_eq!((pair.row.epoch, pair.row.primary, pair.row.standby), (epoch, standby, primary));
    }
}

/// A7: both died. The standby is complete as it lies there.
#[tokio::test]
async fn a_standby_that_does_not_run_either_is_started_and_takes_over() {
    let world = world().await;
    let built = in_sync(&world).await;
    let pair = Pair::of(&world, &built).await;
    crash(&pair, MemberRole::Primary);
    crash(&pair, MemberRole::Standby);
    succeed(&world, Kind::Failover, &built.server_id).await;
    Pair::of(&world, &built).await.assert_changed("both had died").await;
}

#[tokio::test]
async fn a_promotion_that_was_given_up_is_finished_by_the_next_failover() {
    let world = world().await;
    let id = world.submit(Kind::Failover).await;
    let fail = once("promote", Point::Begun, false, Interference::Fail);
    let parked = world.run_through(fail, &id).await;
    assert_eq!(parked.status, OperationStatus::NeedsAttention);
    assert_eq!(Pair::of(&world, &parked).await.row.state, S::Promoting);
    world.door().abandon(&parked, &Actor::system()).await.unwrap();
    succeed(&world, Kind::Failover, &parked.server_id).await;
    let pair = Pair::of(&world, &parked).await;
    pair.assert_changed("finished").await;
    pair.assert_sound("finished").await;
}

/// D5, C4: clients are let in without the standby, and from then on it does not count.
#[tokio::test]
async fn a_primary_that_comes_back_without_its_standby_lets_clients_in_alone() {
    let world = world().await;
    let built = in_sync(&world).await;
    let pair = Pair::of(&world, &built).await;
    crash(&pair, MemberRole::Primary);
    let standby = pair.role(MemberRole::Standby).unwrap();
    pair.engine(standby).remove_by_hand("container", &standby.container());
    let id = {
        let change = Change { kind: Kind::RecoverPrimary, input: serde_json::Value::Null };
        let (door, actor) = (world.door(), Actor::system());
        door.submit_change(change, &built.server_id, &actor, None).await.unwrap()
    };
    let clock = world.clock.clone();
    let later: Hook = Arc::new(move |at| {
        if at.step == "wait_standby" && at.point == Point::Begun {
            clock.wind(chrono::Duration::seconds(11));
        }
        Interference::None
    });
    assert_eq!(world.run_through(later, &id).await.status, OperationStatus::Succeeded);
    let pair = Pair::of(&world, &built).await;
    assert_eq!((pair.row.state, pair.row.is_promotable), (S::Single, false));
    pair.assert_serves("alone").await;
    succeed(&world, Kind::BuildStandby, &built.server_id).await;
    Pair::of(&world, &built).await.assert_in_sync("its standby is back").await;
}

#[tokio::test]
async fn both_that_died_come_back_in_the_same_epoch() {
    let world = world().await;
    let built = in_sync(&world).await;
    let pair = Pair::of(&world, &built).await;
    crash(&pair, MemberRole::Primary);
    crash(&pair, MemberRole::Standby);
    succeed(&world, Kind::RecoverPrimary, &built.server_id).await;
    let pair = Pair::of(&world, &built).await;
    pair.assert_in_sync("both are back").await;
    assert_eq!(pair.row.epoch, 1);
}

/// With durability required nothing lets commits go on but a standby.
#[tokio::test]
async fn where_durability_is_required_commits_wait_until_a_standby_counts() {
    let world = world().await;
    let built = in_sync(&world).await;
    require(&world, &built.server_id).await;
    let pair = Pair::of(&world, &built).await;
    let standby = pair.role(MemberRole::Standby).unwrap();
    pair.engine(standby).crash(&standby.container(), 137);
    succeed(&world, Kind::Disarm, &built.server_id).await;
    let pair = Pair::of(&world, &built).await;
    pair.assert_serves("commits wait for nobody's name").await;
    let file = pair.file(&pair.members[0], "postgresql.conf");
    assert!(file.contains("FIRST 1 (\"pgflex_nobody\")"), "{file}");
    succeed(&world, Kind::BuildStandby, &built.server_id).await;
    assert_eq!(Pair::of(&world, &built).await.row.state, S::Sync);
}

async fn require(world: &World, server: &ServerId) {
    let mut tx = world.services.store.begin_write(world.services.clock.now()).await.unwrap();
    let row = tx.ha(server).await.unwrap().unwrap();
    let row = HighAvailability { durability: Durability::Required, ..row };
    tx.replace_ha(&row).await.unwrap();
    tx.commit(Record::Nothing("a person chose it")).await.unwrap();
}

/// Commits never hang on a standby that goes while it is being counted.
#[tokio::test]
async fn a_standby_that_is_lost_while_it_is_armed_is_not_waited_for() {
    let world = world().await;
    let id = world.submit(Kind::BuildStandby).await;
    let postgres = world.postgres.clone();
    let hook: Hook = Arc::new(move |at| {
        if at.step == "arm" && at.point == Point::Begun && !at.undoing {
            postgres.inject("mark", 1, &PostgresError::Silent("lost".into()));
        }
        Interference::None
    });
    let ended = world.run_through(hook, &id).await;
    let pair = Pair::of(&world, &ended).await;
    let events = world.services.store.ha_events(&ended.server_id, 100).await.unwrap();
    assert!(events.iter().any(|event| event.kind == "not_armed"), "{events:?}");
    assert_ne!(pair.row.state, S::Arming);
    pair.assert_serves("whatever became of it").await;
}
