//! What must be true after an operation ended.

use crate::world::{VERIFIER, World};
use pgflex::domain::activity::ActivityOutcome;
use pgflex::domain::meter::Meter;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus, StepStatus};
use pgflex::domain::route::RouteState;
use pgflex::domain::server::{ServerState, SettledState};
use pgflex::secrets::sha256_hex;
use pgflex::store::activity::ActivityFilter;

/// What must be true of a server after an operation of the kind succeeded.
pub async fn assert_succeeded(world: &World, operation: &Operation, why: &str) {
    assert_eq!(
        operation.status,
        OperationStatus::Succeeded,
        "{why}: {:?} {:?}",
        operation.failed_step,
        operation.error
    );
    let records = world.services.store.operation_steps(&operation.id).await.unwrap();
    assert!(
        records.iter().all(|record| record.status == StepStatus::Done && record.ended_at.is_some()),
        "{why}"
    );
    let activity = world.services.store.activities(&ActivityFilter::default()).await.unwrap();
    let mine: Vec<_> =
        activity.iter().filter(|line| line.operation_id.as_ref() == Some(&operation.id)).collect();
    assert_eq!(mine.len(), 1, "{why}: one line, once");
    assert_eq!(mine[0].outcome, ActivityOutcome::Succeeded, "{why}");
    match operation.kind {
        OperationKind::Delete => assert_nothing_left(world, why).await,
        OperationKind::Stop => assert_stopped(world, operation, why).await,
        _ => assert_running_once(world, operation, why).await,
    }
    if operation.kind != OperationKind::Delete {
        assert_storage(world, operation, why).await;
    }
}

/// What the server says of its storage is so: the size, and whether it is protected.
async fn assert_storage(world: &World, operation: &Operation, why: &str) {
    let succeeded = operation.status == OperationStatus::Succeeded;
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    let grown = succeeded && operation.kind == OperationKind::GrowStorage;
    let gib = if grown { 64 } else { 32 };
    assert_eq!(server.spec.storage_gib, gib, "{why}");
    let members = world.services.store.members(&server.id).await.unwrap();
    let bytes = world.engine.disk_bytes(&members[0].disk_volume()).unwrap();
    // A file system cannot shrink: after a growth that was taken back it may be larger, never smaller.
    let may_be_larger = operation.kind == OperationKind::GrowStorage && !succeeded;
    assert!(bytes == u64::from(gib) << 30 || may_be_larger && bytes == 64 << 30, "{why}: {bytes}");
    let protected = succeeded && operation.kind == OperationKind::ProtectStorage;
    assert_eq!(server.configuration.write_protected, protected, "{why}");
    let conf = world.engine.file(&members[0].volume(), "config/postgresql.conf").unwrap();
    let conf = String::from_utf8(conf).unwrap();
    assert_eq!(conf.contains("default_transaction_read_only = on"), protected, "{why}");
    let wal = if grown { "max_wal_size = 2GB" } else { "max_wal_size = 1GB" };
    assert!(conf.contains(wal), "{why}: {conf}");
    let now = pgflex::clock::Clock::now(&world.clock);
    let ever = chrono::DateTime::UNIX_EPOCH;
    let meters = world.services.store.meter_intervals(ever, now + chrono::Duration::days(1)).await;
    let running: Vec<String> = meters
        .unwrap()
        .into_iter()
        .filter(|one| one.meter == Meter::Storage && one.ended_at.is_none())
        .map(|one| one.quantity)
        .collect();
    let is_other_size = running.iter().any(|quantity| *quantity != gib.to_string());
    assert!(!is_other_size && (running.len() == 1 || !grown), "{why}: counted as {running:?}");
}

pub async fn assert_running_once(world: &World, operation: &Operation, why: &str) {
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    assert_eq!(server.state(), ServerState::Ready, "{why}");
    let members = world.services.store.members(&server.id).await.unwrap();
    assert_eq!(members.len(), 1, "{why}");
    let mut wanted = vec![
        format!("container {}", members[0].container()),
        format!("network {}", pgflex::domain::server::network_name(&server.id)),
        format!("volume {}", members[0].volume()),
        format!("volume {}", members[0].disk_volume()),
    ];
    wanted.sort();
    assert_eq!(world.engine.remaining(), wanted, "{why}: exactly one of each");
    let admins = world.postgres.admins();
    assert!(
        !admins.is_empty()
            && admins.iter().all(|admin| admin.verifier_sha256 == sha256_hex(VERIFIER)),
        "{why}: always the same secret"
    );
    let routes = world.services.store.route_snapshot("pgflex.localhost").await.unwrap().routes;
    let address = routes[0].target.unwrap().ip().to_string();
    assert!(
        world.engine.member_at(&address).is_some(),
        "{why}: the route leads to the running member"
    );
}

/// The data are kept, nothing runs, nobody is let in.
pub async fn assert_stopped(world: &World, operation: &Operation, why: &str) {
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    assert_eq!(server.state(), ServerState::Stopped, "{why}");
    let members = world.services.store.members(&server.id).await.unwrap();
    let volume = format!("volume {}", members[0].volume());
    assert!(world.engine.remaining().contains(&volume), "{why}");
    let routes = world.services.store.route_snapshot("pgflex.localhost").await.unwrap().routes;
    assert!(routes.iter().all(|route| route.state == RouteState::Closed), "{why}");
}

pub async fn assert_nothing_left(world: &World, why: &str) {
    assert_eq!(world.engine.remaining(), Vec::<String>::new(), "{why}");
    assert_eq!(world.services.store.route_snapshot("x").await.unwrap().routes.len(), 0, "{why}");
    assert_eq!(world.services.store.members_all().await.unwrap().len(), 0, "{why}");
}

/// What must be true after an operation was unwound.
pub async fn assert_unwound(world: &World, operation: &Operation, why: &str) {
    let ended = [OperationStatus::Failed, OperationStatus::Cancelled].contains(&operation.status);
    assert!(ended, "{why}: {:?} {:?}", operation.status, operation.error);
    assert!(
        operation.error.as_ref().is_some_and(|text| !text.is_empty()) && operation.advice.is_some(),
        "{why}: says what and what to do"
    );
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    match operation.kind {
        OperationKind::Create => {
            assert_nothing_left(world, why).await;
            assert_eq!(server.settled, SettledState::Failed, "{why}");
        }
        OperationKind::Start => assert_stopped(world, operation, why).await,
        _ => assert_running_once(world, operation, why).await,
    }
    if operation.kind != OperationKind::Create {
        assert_storage(world, operation, why).await;
    }
}
