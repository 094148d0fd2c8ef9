//! Members of a pair that could not reach each other are not placed, whoever asked for it.

use crate::world::World;
use pgflex::clock::Clock;
use pgflex::domain::catalog::Tier;
use pgflex::domain::host::EngineFacts;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::store::testing;

/// Zone 2 is on an engine of its own; neither host has a member address.
async fn apart() -> World {
    let world = World::new(testing::sqlite().await).await;
    let store = &world.services.store;
    let loads = store.host_loads().await.unwrap();
    let far = loads.into_iter().find(|load| load.host.name == "other").unwrap();
    let facts = EngineFacts { engine_id: "far".into(), ..far.facts.unwrap() };
    store.observe_host(&far.host.id, world.clock.now(), &facts, &[]).await.unwrap();
    world
}

fn assert_says_what_to_set(ended: &Operation) {
    assert_eq!(ended.status, OperationStatus::Failed);
    let error = ended.error.as_deref().unwrap();
    assert!(error.contains("no member address") && error.contains("member_address"), "{error}");
}

#[tokio::test]
async fn a_standby_is_not_placed_where_the_primary_cannot_reach_it() {
    let world = apart().await;
    let create = world.submit_create_in("shop", Tier::GeneralPurpose).await;
    let server = world.run_to_rest(&world.runner(), &create).await.server_id;
    world.plant_pair(&server).await;
    let build = world.submit_on(OperationKind::BuildStandby, &server).await;
    assert_says_what_to_set(&world.run_to_rest(&world.runner(), &build).await);
    assert_eq!(world.services.store.members(&server).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_primary_is_not_placed_where_its_standby_could_never_be() {
    let world = apart().await;
    let create = world.submit_create_in("shop", Tier::GeneralPurpose).await;
    let server = world.operation(&create).await.server_id;
    world.plant_pair(&server).await;
    assert_says_what_to_set(&world.run_to_rest(&world.runner(), &create).await);
    assert!(world.services.store.members(&server).await.unwrap().is_empty());
}
