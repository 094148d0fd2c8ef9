//! Who measures a drill when several processes of the portal look.

use crate::world::World;
use chrono::Duration;
use pgflex::clock::Clock;
use pgflex::domain::catalog::Tier;
use pgflex::domain::ids::OperationId;
use pgflex::monitor::drills::Desk;
use pgflex::store::Record;
use pgflex::store::drills::Holder;
use pgflex::store::testing;
use tokio::task::JoinSet;

async fn open(world: &World) -> OperationId {
    let create = world.submit_create_in("shop", Tier::GeneralPurpose).await;
    let made = world.run_to_rest(&world.runner(), &create).await;
    let mut tx = world.services.store.begin_write(world.clock.now()).await.unwrap();
    tx.open_drill(&made.server_id, &create).await.unwrap();
    tx.commit(Record::Nothing("a story begins")).await.unwrap();
    create
}

async fn outcome(world: &World, id: &OperationId) -> String {
    let server = world.operation(id).await.server_id;
    let drills = world.services.store.ha_drills(&server, 5).await.unwrap();
    drills.first().unwrap().outcome.clone()
}

#[tokio::test]
async fn a_drill_is_measured_by_one_process_and_ended_by_another_only_when_that_is_gone() {
    for test in testing::all().await {
        let world = World::new(test).await;
        let drill = open(&world).await;
        let (store, now) = (&world.services.store, world.clock.now());
        let until = now + Duration::seconds(15);
        assert!(store.claim_drill(&drill, "first", (now, until)).await.unwrap());
        assert!(!store.claim_drill(&drill, "second", (now, until)).await.unwrap());
        let (later, mut probes) = (Desk::new(world.services.clone()), JoinSet::new());
        later.look(&mut probes).await.unwrap();
        assert!(probes.is_empty(), "the first measures it");
        assert_eq!(outcome(&world, &drill).await, "running");
        world.clock.wind(Duration::seconds(10));
        let now = world.clock.now();
        let until = now + Duration::seconds(15);
        assert!(!store.renew_drill(&drill, "second", (now, until)).await.unwrap());
        assert!(store.renew_drill(&drill, "first", (now, until)).await.unwrap());
        world.clock.wind(Duration::seconds(10));
        later.look(&mut probes).await.unwrap();
        assert_eq!(outcome(&world, &drill).await, "running", "it was held for longer");
        world.clock.wind(Duration::seconds(6));
        let open = store.open_drills(world.clock.now()).await.unwrap();
        assert_eq!(open[0].holder, Holder::Gone);
        later.look(&mut probes).await.unwrap();
        let told = outcome(&world, &drill).await;
        assert!(probes.is_empty() && told.contains("ended while the drill ran"), "{told}");
    }
}

#[tokio::test]
async fn two_processes_that_look_at_once_begin_one_measurement() {
    let world = World::new(testing::sqlite().await).await;
    let drill = open(&world).await;
    let mut probes = JoinSet::new();
    for desk in [Desk::new(world.services.clone()), Desk::new(world.services.clone())] {
        desk.look(&mut probes).await.unwrap();
    }
    assert_eq!(probes.len(), 1);
    probes.join_all().await;
    let told = outcome(&world, &drill).await;
    assert!(told.contains("does not reach the server's endpoint"), "{told}");
}
