//! Stop, start and scale: what the sweeps assert of them, and the stories they do not tell.

use super::expect::{assert_running_once, assert_stopped, assert_succeeded};
use super::{before_return, once, world};
use crate::world::World;
use chrono::Duration;
use pgflex::clock::Clock;
use pgflex::domain::activity::Actor;
use pgflex::domain::catalog::Sku;
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::server::{Member, SettledState};
use pgflex::engine::Engine;
use pgflex::operations::kinds::steps;
use pgflex::operations::runner::{Interference, Point};
use pgflex::operations::submit::Change;
use serde_json::json;

/// The size is the same everywhere: in the row, on the container, in the file that PostgreSQL reads.
pub async fn assert_size(world: &World, operation: &Operation, name: &str, why: &str) {
    let sku = Sku::by_name(name).unwrap();
    let store = &world.services.store;
    let server = store.server(&operation.server_id).await.unwrap().unwrap();
    assert_eq!(server.spec.sku, name, "{why}");
    let member = store.members(&server.id).await.unwrap().remove(0);
    let spec = world.engine.spec(&member.container()).unwrap();
    assert_eq!(spec.memory_bytes, sku.memory_bytes(), "{why}");
    assert!((spec.vcores - f64::from(sku.vcores)).abs() < 1e-9, "{why}: {}", spec.vcores);
    let conf = world.engine.file(&member.volume(), "config/postgresql.conf").unwrap();
    let line = format!("max_connections = {}\n", sku.max_connections);
    assert!(String::from_utf8(conf).unwrap().contains(&line), "{why}");
    let open = open_meters(world).await;
    assert!(open.contains(&("compute".into(), name.into())), "{why}: {open:?}");
}

pub async fn assert_not_running(world: &World, member: &Member, why: &str) {
    let facts = world.engine.container(&member.container()).await.unwrap();
    assert!(facts.is_none_or(|facts| facts.state != "running"), "{why}: it does not run");
}

async fn open_meters(world: &World) -> Vec<(String, String)> {
    let now = world.clock.now() + Duration::seconds(1);
    let all = world.services.store.meter_intervals(now - Duration::days(30), now).await.unwrap();
    let open = all.into_iter().filter(|meter| meter.ended_at.is_none());
    let mut open: Vec<_> =
        open.map(|meter| (meter.meter.key().to_owned(), meter.quantity)).collect();
    open.sort();
    open
}

/// These meters run, each once, and no other.
pub async fn assert_meters(world: &World, wanted: &[&str], why: &str) {
    let open = open_meters(world).await;
    let keys: Vec<&str> = open.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, wanted, "{why}");
}

async fn ready(world: &World) -> ServerId {
    let create = world.submit_create_in("shop", pgflex::domain::catalog::Tier::Burstable).await;
    let made = world.run_to_rest(&world.runner(), &create).await;
    assert_eq!(made.status, OperationStatus::Succeeded);
    made.server_id
}

async fn submit(world: &World, server: &ServerId, to: &str) -> OperationId {
    let change = Change { kind: OperationKind::Scale, input: json!({ "to": to }) };
    world.door().submit_change(change, server, &Actor::system(), None).await.unwrap()
}

async fn scale(world: &World, server: &ServerId, to: &str) -> Operation {
    let id = submit(world, server, to).await;
    world.run_to_rest(&world.runner(), &id).await
}

/// The way without a restart, killed and failed at every step as the other one is.
#[tokio::test]
async fn a_live_scaling_ends_right_wherever_it_is_killed_or_fails() {
    for (at, step) in steps(OperationKind::Scale).iter().enumerate() {
        for what in [Interference::Kill, Interference::Fail] {
            let why = format!("live, {what:?} at {}", step.name);
            let world = world().await;
            let server = ready(&world).await;
            scale(&world, &server, "Standard_B2ms").await;
            let calls = world.engine.calls().len();
            let id = submit(&world, &server, "Standard_D2ds_v5").await;
            let hook = once(step.name, Point::Acted, false, what);
            let ended = world.run_through(hook, &id).await;
            let back = what == Interference::Fail && before_return(OperationKind::Scale, at);
            if back {
                assert_eq!(ended.status, OperationStatus::Failed, "{why}");
                assert_running_once(&world, &ended, &why).await;
                assert_size(&world, &ended, "Standard_B2ms", &why).await;
            } else if ended.status == OperationStatus::NeedsAttention {
                assert_eq!(step.name, "remove_former");
            } else {
                assert_succeeded(&world, &ended, &why).await;
            }
            let stopped = world.engine.calls()[calls..]
                .iter()
                .any(|call| call.starts_with("stop_container") || call.starts_with("start_con"));
            assert!(!stopped, "{why}: PostgreSQL ran all the time");
        }
    }
}

#[tokio::test]
async fn up_and_down_again_leaves_one_container_of_the_right_size() {
    let world = world().await;
    let server = ready(&world).await;
    for size in ["Standard_E4ds_v5", "Standard_D8ds_v5", "Standard_B1ms", "Standard_B2s"] {
        let ended = scale(&world, &server, size).await;
        assert_succeeded(&world, &ended, size).await;
    }
    let again = scale(&world, &server, "Standard_B2s").await;
    assert_eq!(again.status, OperationStatus::Succeeded, "nothing to do is no fault");
}

/// The host has 64 GiB: one of two gets what is left, the other is told why it does not.
#[tokio::test]
async fn two_that_grow_at_once_do_not_overbook_the_host() {
    let world = world().await;
    let first = ready(&world).await;
    let create = world.submit_create_in("blog", pgflex::domain::catalog::Tier::Burstable).await;
    let second = world.run_to_rest(&world.runner(), &create).await.server_id;
    let one = submit(&world, &first, "Standard_E4ds_v5").await;
    let two = submit(&world, &second, "Standard_E4ds_v5").await;
    world.run_to_rest(&world.runner(), &one).await;
    let ends = [world.operation(&one).await, world.operation(&two).await];
    let won = ends.iter().filter(|end| end.status == OperationStatus::Succeeded).count();
    assert_eq!(won, 2, "32 and 32 GiB fit exactly");
    let third = scale(&world, &first, "Standard_E8ds_v5").await;
    assert_eq!(third.status, OperationStatus::Failed);
    let why = third.error.unwrap();
    assert!(why.contains("32.0 GiB are left"), "{why}");
    let loads = world.services.store.host_loads().await.unwrap();
    assert_eq!(loads[0].promised.memory_bytes, 64 << 30);
}

/// Somebody removed the container while the server was stopped: the start makes it anew, the data stay.
#[tokio::test]
async fn a_start_makes_a_removed_container_anew_and_never_a_volume() {
    let world = world().await;
    let start = world.submit(OperationKind::Start).await;
    let server = world.operation(&start).await.server_id;
    let member = world.services.store.members(&server).await.unwrap().remove(0);
    world.engine.remove_container(&member.container()).await.unwrap();
    let network = pgflex::domain::server::network_name(&server);
    world.engine.remove_network(&network).await.unwrap();
    let ended = world.run_to_rest(&world.runner(), &start).await;
    assert_succeeded(&world, &ended, "container and network were removed").await;

    let world = self::world().await;
    let start = world.submit(OperationKind::Start).await;
    let member = world.services.store.members_all().await.unwrap().remove(0).0;
    world.engine.remove_container(&member.container()).await.unwrap();
    world.engine.remove_volume(&member.volume()).await.unwrap();
    world.engine.remove_volume(&member.disk_volume()).await.unwrap();
    let ended = world.run_to_rest(&world.runner(), &start).await;
    assert_eq!(ended.status, OperationStatus::Failed);
    assert!(ended.error.unwrap().contains("is not on the host"));
    assert!(!world.engine.remaining().iter().any(|left| left.starts_with("volume")));
}

#[tokio::test]
async fn a_stopped_server_is_deleted_and_a_cancelled_deletion_leaves_it_stopped() {
    for fails in [true, false] {
        let world = world().await;
        let stop = world.submit(OperationKind::Stop).await;
        let stopped = world.run_to_rest(&world.runner(), &stop).await;
        assert_succeeded(&world, &stopped, "stopped").await;
        let (door, actor) = (world.door(), Actor::system());
        let delete =
            door.submit(OperationKind::Delete, &stopped.server_id, &actor, None).await.unwrap();
        let what = if fails { Interference::Fail } else { Interference::None };
        let ended =
            world.run_through(once("stop_member", Point::Acted, false, what), &delete).await;
        if fails {
            assert_eq!(ended.status, OperationStatus::Failed);
            assert_stopped(&world, &stopped, "the deletion was taken back").await;
        } else {
            assert_succeeded(&world, &ended, "deleted").await;
            assert_meters(&world, &[], "deleted").await;
        }
    }
}

/// A stop counts to the second, and the size that a stopped server has is not counted.
#[tokio::test]
async fn compute_is_not_counted_while_stopped() {
    let world = world().await;
    let stop = world.submit(OperationKind::Stop).await;
    let server = world.run_to_rest(&world.runner(), &stop).await.server_id;
    let row = world.services.store.server(&server).await.unwrap().unwrap();
    assert_eq!((row.settled, row.stopped_at.is_some()), (SettledState::Stopped, true));
    world.clock.wind(Duration::hours(5));
    let start = world.submit_on(OperationKind::Start, &server).await;
    world.run_to_rest(&world.runner(), &start).await;
    let now = world.clock.now() + Duration::seconds(1);
    let all = world.services.store.meter_intervals(now - Duration::days(1), now).await.unwrap();
    let compute: Vec<_> = all.iter().filter(|line| line.meter.key() == "compute").collect();
    assert_eq!(compute.len(), 2);
    let stopped_at = row.stopped_at.unwrap();
    assert_eq!(compute[0].ended_at, Some(stopped_at), "in the transaction that stops it");
    assert!(compute[1].started_at - stopped_at >= Duration::hours(5));
    let row = world.services.store.server(&server).await.unwrap().unwrap();
    assert_eq!((row.settled, row.stopped_at), (SettledState::Ready, None));
}
