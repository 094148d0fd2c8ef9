//! Repair of everything that can be wrong with a member, and the monitor that asks for it.

use super::expect::{assert_running_once, assert_succeeded};
use super::{once, world};
use crate::world::World;
use chrono::Duration;
use pgflex::domain::activity::Actor;
use pgflex::domain::drift::{DriftLook, Next, OBSERVATION, What};
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::{Member, SettledState};
use pgflex::engine::Engine;
use pgflex::monitor::observe;
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Interference, Point};
use pgflex::store::operations::OperationFilter;

async fn in_service(world: &World) -> (ServerId, Member) {
    let create = world.submit(OperationKind::Create).await;
    let made = world.run_to_rest(&world.runner(), &create).await;
    assert_eq!(made.status, OperationStatus::Succeeded);
    let member = member(world, &made.server_id).await;
    (made.server_id, member)
}

async fn member(world: &World, server: &ServerId) -> Member {
    world.services.store.members(server).await.unwrap().remove(0)
}

async fn repair(world: &World, server: &ServerId) -> Operation {
    let id = world.submit_on(OperationKind::Repair, server).await;
    world.run_to_rest(&world.runner(), &id).await
}

/// One thing that somebody did by hand.
type Deed = fn(&World, &Member);

const DEEDS: [(What, Deed); 6] = [
    (What::Container, |world, member| {
        world.engine.remove_by_hand("container", &member.container());
    }),
    (What::State, |world, member| world.engine.crash(&member.container(), 137)),
    (What::Memory, |world, member| {
        world.engine.change_by_hand(&member.container(), |spec| spec.memory_bytes = 1 << 29);
    }),
    (What::Cpu, |world, member| {
        world.engine.change_by_hand(&member.container(), |spec| spec.vcores = 0.1);
    }),
    (What::Network, |world, member| {
        world.engine.change_by_hand(&member.container(), |spec| spec.network = None);
    }),
    (What::OtherImage, |world, member| {
        world.engine.change_by_hand(&member.container(), |spec| spec.image = "strange".into());
    }),
];

async fn look(world: &World, server: &ServerId) -> Option<DriftLook> {
    observe::tick(&world.services).await.unwrap();
    let seen = world.services.store.server_observation::<DriftLook>(server, OBSERVATION).await;
    seen.unwrap().map(|seen| seen.facts)
}

async fn assert_nothing_drifts(world: &World, server: &ServerId, why: &str) {
    assert_eq!(look(world, server).await.unwrap().drifts, [], "{why}");
}

#[tokio::test]
async fn everything_that_was_done_by_hand_is_put_right_around_the_same_volume() {
    for (what, deed) in DEEDS {
        let world = world().await;
        let (server, member) = in_service(&world).await;
        let conf = world.engine.file(&member.volume(), "config/postgresql.conf");
        deed(&world, &member);
        let seen = look(&world, &server).await.unwrap();
        assert!(seen.drifts.iter().any(|drift| drift.what == what), "{what:?}: {seen:?}");
        let operation = repair(&world, &server).await;
        assert_succeeded(&world, &operation, &format!("{what:?}")).await;
        assert_eq!(world.engine.file(&member.volume(), "config/postgresql.conf"), conf);
        assert_nothing_drifts(&world, &server, &format!("{what:?}")).await;
        let removed = world.engine.calls().iter().any(|call| call.starts_with("remove_volume"));
        assert!(!removed, "{what:?}: a repair never removes a volume");
    }
}

#[tokio::test]
async fn a_repair_is_killed_and_failed_at_every_moment_and_comes_to_the_same_end() {
    // Made anew, started, changed while it runs: the three ways through the plan.
    let ways = [What::Container, What::State, What::Memory];
    for (what, deed) in DEEDS.into_iter().filter(|(what, _)| ways.contains(what)) {
        for step in steps(OperationKind::Repair) {
            for (point, deadly) in Point::ALL
                .map(|point| (point, Interference::Kill))
                .into_iter()
                .chain([(Point::Acted, Interference::Fail)])
            {
                let why = format!("{what:?}, {deadly:?} at {} {point:?}", step.name);
                let world = world().await;
                let (server, member) = in_service(&world).await;
                deed(&world, &member);
                let id = world.submit_on(OperationKind::Repair, &server).await;
                let hook = once(step.name, point, false, deadly);
                let mut operation = world.run_through(hook, &id).await;
                if deadly == Interference::Fail {
                    assert_eq!(operation.status, OperationStatus::Failed, "{why}");
                    let next =
                        world.door().retry(&operation, &Actor::system(), None).await.unwrap();
                    operation = world.run_to_rest(&world.runner(), &next).await;
                }
                assert_succeeded(&world, &operation, &why).await;
            }
        }
    }
}

#[tokio::test]
async fn a_repair_of_a_healthy_server_interrupts_nothing() {
    let world = world().await;
    let (server, member) = in_service(&world).await;
    let before = world.engine.container(&member.container()).await.unwrap().unwrap();
    let calls = world.engine.calls().len();
    assert_eq!(repair(&world, &server).await.status, OperationStatus::Succeeded);
    let after = world.engine.container(&member.container()).await.unwrap().unwrap();
    assert_eq!((before.id, before.started_at), (after.id, after.started_at));
    for forbidden in ["stop_container", "remove_", "ensure_volume", "ensure_image", "update_limits"]
    {
        let made = &world.engine.calls()[calls..];
        assert!(!made.iter().any(|call| call.starts_with(forbidden)), "{forbidden}: {made:?}");
    }
}

#[tokio::test]
async fn a_missing_volume_is_never_made_anew() {
    let world = world().await;
    let (server, member) = in_service(&world).await;
    world.engine.remove_by_hand("container", &member.container());
    world.engine.remove_by_hand("volume", &member.data_volume());
    let before = world.engine.remaining();
    for _ in 0..3 {
        let seen = look(&world, &server).await.unwrap();
        assert_eq!((seen.next, seen.drifts[0].what), (Next::Person, What::Volume));
        world.clock.wind(Duration::seconds(15));
    }
    assert_eq!(repairs(&world, &server).await, 0, "a repair by itself would only fail");
    let operation = repair(&world, &server).await;
    assert_eq!(operation.status, OperationStatus::Failed);
    assert!(operation.error.unwrap().contains("is not on its host"));
    assert!(operation.advice.unwrap().contains("Nothing was made in its place"));
    assert_eq!(world.engine.remaining(), before, "nothing was made");
}

#[tokio::test]
async fn a_strangers_volume_under_the_name_is_left_alone() {
    let world = world().await;
    let (server, member) = in_service(&world).await;
    world.engine.remove_by_hand("container", &member.container());
    world.engine.remove_by_hand("volume", &member.data_volume());
    world.engine.plant_foreign("volume", &member.data_volume());
    let operation = repair(&world, &server).await;
    assert_eq!(operation.failed_step.as_deref(), Some("look"));
    assert!(operation.error.unwrap().contains("does not belong to this pgflex"));
}

async fn repairs(world: &World, server: &ServerId) -> usize {
    let filter = OperationFilter {
        server_id: Some(server.clone()),
        kind: Some(OperationKind::Repair),
        ..Default::default()
    };
    world.services.store.operations(&filter).await.unwrap().len()
}

/// Lets everything that is queued end.
async fn work(world: &World, server: &ServerId) {
    if let Some(operation) = world.services.store.active_operation(server).await.unwrap() {
        world.run_to_rest(&world.runner(), &operation.id).await;
    }
}

#[tokio::test]
async fn two_looks_make_a_repair_and_three_repairs_are_enough() {
    let world = world().await;
    let (server, _) = in_service(&world).await;
    for round in 1..=3 {
        world.engine.remove_by_hand("container", &member(&world, &server).await.container());
        assert_eq!(look(&world, &server).await.unwrap().next, Next::LookAgain);
        assert_eq!(repairs(&world, &server).await, round - 1, "one look is not enough");
        world.clock.wind(Duration::seconds(15));
        assert_eq!(look(&world, &server).await.unwrap().next, Next::Repair);
        work(&world, &server).await;
        assert_eq!(repairs(&world, &server).await, round);
        assert_nothing_drifts(&world, &server, "repaired").await;
        assert_eq!(member(&world, &server).await.generation, i64::try_from(round).unwrap() + 1);
    }
    world.engine.remove_by_hand("container", &member(&world, &server).await.container());
    for _ in 0..4 {
        assert_eq!(look(&world, &server).await.unwrap().next, Next::GaveUp);
        world.clock.wind(Duration::seconds(15));
    }
    assert_eq!(repairs(&world, &server).await, 3, "an endless loop would hide the cause");
    let by_hand = repair(&world, &server).await;
    assert_succeeded(&world, &by_hand, "a repair that was asked for after the portal gave up")
        .await;
    assert_nothing_drifts(&world, &server, "repaired by hand").await;
    world.clock.wind(Duration::minutes(31));
    world.engine.remove_by_hand("container", &member(&world, &server).await.container());
    assert_eq!(look(&world, &server).await.unwrap().next, Next::LookAgain, "half an hour later");
}

#[tokio::test]
async fn nothing_is_repaired_while_something_is_under_way() {
    let world = world().await;
    let (server, member) = in_service(&world).await;
    let restart = world.submit_on(OperationKind::Restart, &server).await;
    world.engine.crash(&member.container(), 0);
    look(&world, &server).await;
    world.clock.wind(Duration::seconds(15));
    look(&world, &server).await;
    assert_eq!(repairs(&world, &server).await, 0);
    world.run_to_rest(&world.runner(), &restart).await;
}

/// A deletion that was given up half way, its volume still there.
#[tokio::test]
async fn a_failed_server_that_was_in_service_comes_back_with_its_data() {
    let world = world().await;
    let (server, member) = in_service(&world).await;
    let delete = world.submit_on(OperationKind::Delete, &server).await;
    let fail = once("remove_volume", Point::Begun, false, Interference::Fail);
    let parked = world.run_through(fail, &delete).await;
    world.door().abandon(&parked, &Actor::system()).await.unwrap();
    let failed = world.services.store.server(&server).await.unwrap().unwrap();
    assert_eq!(failed.settled, SettledState::Failed);
    let operation = repair(&world, &server).await;
    assert_running_once(&world, &operation, "back in service").await;
    assert!(world.engine.file(&member.volume(), "config/postgresql.conf").is_some());
}

#[tokio::test]
async fn a_server_that_was_never_in_service_is_not_repaired() {
    let world = world().await;
    world.engine.set_init_exit(1);
    let create = world.submit(OperationKind::Create).await;
    let failed = world.run_to_rest(&world.runner(), &create).await;
    let refused =
        world.door().submit(OperationKind::Repair, &failed.server_id, &Actor::system(), None).await;
    assert!(refused.unwrap_err().to_string().contains("never in service"));
}

/// It cannot start again in a network that was made after it.
#[tokio::test]
async fn a_stopped_container_whose_network_was_removed_is_made_anew() {
    let world = world().await;
    let (server, before) = in_service(&world).await;
    world.engine.crash(&before.container(), 0);
    world.engine.remove_by_hand("network", &pgflex::domain::server::network_name(&server));
    let operation = repair(&world, &server).await;
    assert_succeeded(&world, &operation, "network removed").await;
    assert_eq!(member(&world, &server).await.generation, before.generation + 1);
}
