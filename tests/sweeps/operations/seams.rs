//! Where the work of several operations meets: what one leaves, and what somebody did on the host in between.

use super::expect::{assert_running_once, assert_succeeded};
use super::{once, world};
use crate::world::World;
use pgflex::domain::activity::Actor;
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::{Member, network_name};
use pgflex::domain::storage::{OBSERVATION, StorageLook, VolumeUsage};
use pgflex::engine::Engine;
use pgflex::operations::runner::{Hook, Interference, Moment, Point};
use std::sync::Arc;

async fn member(world: &World) -> Member {
    world.services.store.members_all().await.unwrap().remove(0).0
}

/// No container mounts the volume with the image file, so it can be removed while PostgreSQL runs.
#[tokio::test]
async fn a_disk_that_is_lost_is_never_replaced_by_an_empty_one() {
    for kind in [
        OperationKind::Restart,
        OperationKind::ProtectStorage,
        OperationKind::GrowStorage,
        OperationKind::Scale,
    ] {
        let world = world().await;
        let id = world.submit(kind).await;
        let holder = member(&world).await.disk_volume();
        world.engine.remove_volume(&holder).await.unwrap();
        let ended = world.run_to_rest(&world.runner(), &id).await;
        assert_ne!(ended.status, OperationStatus::Succeeded, "{kind:?}");
        let made = world.engine.remaining().contains(&format!("volume {holder}"));
        assert!(!made, "{kind:?}: an empty disk in the place of the data");
    }
}

#[tokio::test]
async fn a_server_is_deleted_whatever_containers_an_abandoned_scaling_left() {
    let world = world().await;
    let id = world.submit(OperationKind::Scale).await;
    let fail = once("remove_former", Point::Begun, false, Interference::Fail);
    let parked = world.run_through(fail, &id).await;
    assert_eq!(parked.status, OperationStatus::NeedsAttention);
    let (door, actor) = (world.door(), Actor::system());
    door.abandon(&parked, &actor).await.unwrap();
    let delete = door.submit(OperationKind::Delete, &parked.server_id, &actor, None).await.unwrap();
    let ended = world.run_to_rest(&world.runner(), &delete).await;
    assert_succeeded(&world, &ended, "deleted").await;
}

/// `docker network prune` takes the networks of servers that are stopped.
#[tokio::test]
async fn a_stopped_server_starts_after_its_network_was_removed() {
    let world = world().await;
    let id = world.submit(OperationKind::Start).await;
    let server = world.operation(&id).await.server_id;
    world.engine.remove_network(&network_name(&server)).await.unwrap();
    let ended = world.run_to_rest(&world.runner(), &id).await;
    assert_succeeded(&world, &ended, "its network was removed").await;
}

/// Neither container runs then, and nothing can be put into a volume that is not attached.
#[tokio::test]
async fn a_scaling_is_taken_back_after_a_restart_of_the_host() {
    for step in ["hold_route", "start_member"] {
        let world = world().await;
        let id = world.submit(OperationKind::Scale).await;
        let engine = world.engine.clone();
        let hook: Hook = Arc::new(move |at: Moment<'_>| {
            if at.step != step || at.point != Point::Begun || at.undoing {
                return Interference::None;
            }
            engine.reboot();
            Interference::Fail
        });
        let ended = world.run_through(hook, &id).await;
        assert_eq!(ended.status, OperationStatus::Failed, "{step}: {:?}", ended.error);
        assert_running_once(&world, &ended, step).await;
    }
}

/// Only a server that runs can grow: one that was stopped with a full disk must start.
#[tokio::test]
async fn a_start_on_a_full_disk_gives_up_what_is_set_aside() {
    let world = world().await;
    let id = world.submit(OperationKind::Start).await;
    let (member, server) = (member(&world).await, world.operation(&id).await.server_id);
    let full = VolumeUsage { total: 32 << 30, used: 32 << 30, ..Default::default() };
    world.engine.set_usage(&member.volume(), full);
    let look = StorageLook { usage: full, why_not_grown: None, host_free: None };
    let now = pgflex::clock::Clock::now(&world.clock);
    world.services.store.observe_servers(now, OBSERVATION, &[(server, look)]).await.unwrap();
    assert!(world.engine.has_reserve(&member.disk_volume()));
    let ended = world.run_to_rest(&world.runner(), &id).await;
    assert_succeeded(&world, &ended, "full").await;
    assert!(!world.engine.has_reserve(&member.disk_volume()));
}
