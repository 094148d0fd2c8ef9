//! What must be true after an operation ended.

use super::{backups, far, pairs, power, restores};
use crate::world::{VERIFIER, World, changes};
use pgflex::domain::activity::ActivityOutcome;
use pgflex::domain::meter::Meter;
use pgflex::domain::network::Access;
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus, StepStatus};
use pgflex::domain::route::RouteState;
use pgflex::domain::server::{Member, Server, ServerState, SettledState};
use pgflex::domain::virtual_network::docker_name;
use pgflex::operations::access::{open_secret, secret};
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
    if changes::is_of_a_pair(operation.kind) {
        return pairs::assert_succeeded(world, operation, why).await;
    }
    if operation.kind == OperationKind::Restore {
        return restores::assert_restored(world, operation, why).await;
    }
    match operation.kind {
        OperationKind::Delete => assert_nothing_left(world, why).await,
        OperationKind::Stop => assert_stopped(world, operation, why).await,
        OperationKind::ChangeNetworking => {
            let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
            assert_eq!(server.spec.access, Access::Private, "{why}");
            assert_running_once(world, operation, why).await;
        }
        OperationKind::Scale => {
            assert_running_once(world, operation, why).await;
            let wanted = operation.input["to"].as_str().unwrap();
            power::assert_size(world, operation, wanted, why).await;
        }
        OperationKind::ChangeParameters | OperationKind::AllowExtensions => {
            assert_running_once(world, operation, why).await;
            assert_configured(world, operation, true, why).await;
        }
        OperationKind::ChangeExtension => {
            assert_running_once(world, operation, why).await;
            assert_eq!(world.postgres.created_extensions(), ["sales hstore"], "{why}");
        }
        _ => assert_running_once(world, operation, why).await,
    }
    assert_changed(world, operation, why).await;
    if operation.kind != OperationKind::Delete {
        assert_storage(world, operation, why).await;
    }
}

/// What a kind was submitted for is so.
async fn assert_changed(world: &World, operation: &Operation, why: &str) {
    match operation.kind {
        OperationKind::CreateDatabase => {
            assert_eq!(world.postgres.databases(), [changes::NEW_DATABASE], "{why}");
        }
        OperationKind::DropDatabase => {
            assert_eq!(world.postgres.databases(), Vec::<String>::new(), "{why}");
        }
        OperationKind::ResetPassword => {
            assert_eq!(world.postgres.verifier().unwrap(), changes::NEW_VERIFIER, "{why}");
            assert_eq!(kept_verifier(world, operation).await, changes::NEW_VERIFIER, "{why}");
            assert!(world.postgres.sessions_ended() > 0, "{why}");
        }
        OperationKind::Backup => backups::assert_taken(world, operation, why).await,
        OperationKind::DeleteBackup => backups::assert_deleted(world, operation, why).await,
        OperationKind::SuspendRepository => far::assert_suspended(world, operation, why).await,
        OperationKind::RemoveRepository => far::assert_removed(world, operation, why).await,
        OperationKind::RestoreDrill => restores::assert_proven(world, operation, why).await,
        _ => {}
    }
}

/// Nothing of what a kind was submitted for is left.
async fn assert_unchanged(world: &World, operation: &Operation, why: &str) {
    match operation.kind {
        OperationKind::CreateDatabase => {
            assert_eq!(world.postgres.databases(), Vec::<String>::new(), "{why}");
        }
        OperationKind::DropDatabase => {
            assert_eq!(world.postgres.databases(), [changes::OLD_DATABASE], "{why}");
        }
        OperationKind::ResetPassword => {
            assert_eq!(world.postgres.verifier().unwrap(), VERIFIER, "{why}");
            assert_eq!(kept_verifier(world, operation).await, VERIFIER, "{why}");
        }
        OperationKind::Backup => backups::assert_not_taken(world, operation, why).await,
        OperationKind::DeleteBackup => backups::assert_listed_is_there(world, operation, why).await,
        OperationKind::SuspendRepository => far::assert_not_suspended(world, operation, why).await,
        OperationKind::RemoveRepository => {
            let seen = world.services.store.repositories(&operation.server_id).await.unwrap();
            assert_eq!(seen.len(), 2, "{why}");
        }
        OperationKind::RestoreDrill => restores::assert_not_proven(world, operation, why).await,
        _ => {}
    }
}

async fn kept_verifier(world: &World, operation: &Operation) -> String {
    let name = secret::ADMIN_VERIFIER;
    let kept = open_secret(&world.services, &operation.server_id, name).await.unwrap();
    kept.unwrap().reveal().to_owned()
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
    assert_networking(world, &server, &members[0], why).await;
    let mut wanted = vec![
        format!("container {}", members[0].container()),
        format!("network {}", pgflex::domain::server::network_name(&server.id)),
        format!("volume {}", members[0].volume()),
        format!("volume {}", members[0].disk_volume()),
    ];
    let pooled = server.configuration.pooler.enabled;
    if pooled {
        wanted.push(format!("container {}", members[0].pooler()));
        wanted.push(format!("volume {}", members[0].pooler()));
    }
    let should = operation.kind == OperationKind::ChangePooler
        && operation.status == OperationStatus::Succeeded;
    assert_eq!(pooled, should, "{why}");
    wanted.sort();
    // A virtual network stays on the host until it is deleted itself.
    let mut remaining = world.engine.remaining();
    // So does the repository of a host, for good.
    remaining.retain(|object| !object.contains("pgflex-vnet-") && !object.contains("-repository"));
    assert_eq!(remaining, wanted, "{why}: exactly one of each");
    let admins = world.postgres.admins();
    assert!(
        !admins.is_empty()
            && admins.iter().all(|admin| admin.verifier_sha256 == sha256_hex(VERIFIER)),
        "{why}: always the same secret"
    );
    let routes = world.services.store.route_snapshot("pgflex.localhost").await.unwrap().routes;
    assert_eq!(routes.len(), 1 + usize::from(pooled), "{why}");
    for route in &routes {
        let address = route.target.unwrap().ip().to_string();
        assert!(
            world.engine.member_at(&address).is_some(),
            "{why}: the route leads to the running container"
        );
    }
    let way = match server.spec.access {
        Access::Public => RouteState::Open,
        Access::Private => RouteState::Closed,
    };
    assert_eq!(routes[0].state, way, "{why}");
    power::assert_meters(world, &["compute", "storage"], why).await;
}

/// Row, places in networks, rules of PostgreSQL and route say the same.
async fn assert_networking(world: &World, server: &Server, member: &Member, why: &str) {
    let joined = world.engine.joined(&member.container());
    let rules = world.engine.file(&member.volume(), "config/pg_hba.conf").unwrap();
    let rules = String::from_utf8(rules).unwrap();
    let routes = world.services.store.route_snapshot("pgflex.localhost").await.unwrap().routes;
    match (server.spec.access, &server.network_id) {
        (Access::Public, None) => {
            assert!(joined.is_empty(), "{why}: {joined:?}");
            assert!(rules.lines().any(|line| line.ends_with("all                 scram-sha-256")));
            assert_eq!(routes[0].state, RouteState::Open, "{why}");
        }
        (Access::Private, Some(network)) => {
            assert_eq!(joined.len(), 1, "{why}: {joined:?}");
            assert_eq!(joined[0].network, docker_name(network), "{why}");
            assert_eq!(joined[0].aliases, ["shop", "shop.pgflex.localhost"], "{why}");
            let network = format!("network {}", docker_name(network));
            assert!(world.engine.remaining().contains(&network), "{why}");
            assert!(rules.contains("10.20.0.0/24"), "{why}: {rules}");
            assert_eq!(routes[0].state, RouteState::Closed, "{why}");
            assert!(world.postgres.ended_sessions().iter().any(|ended| ended.outside.is_some()));
        }
        other => panic!("{why}: {other:?}"),
    }
}

/// The row and the file that PostgreSQL reads say the same: the change, or what was before.
async fn assert_configured(world: &World, operation: &Operation, is_changed: bool, why: &str) {
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    let member = &world.services.store.members(&server.id).await.unwrap()[0];
    let file = world.engine.file(&member.volume(), "config/postgresql.conf").unwrap();
    let file = String::from_utf8(file).unwrap();
    let configuration = &server.configuration;
    let (in_row, in_file) = match operation.kind {
        OperationKind::ChangeParameters => {
            (configuration.parameters.contains_key("work_mem"), file.contains("work_mem = '8MB'"))
        }
        _ => (
            configuration.extensions.contains("pgaudit"),
            file.contains("pg_stat_statements,pgaudit"),
        ),
    };
    assert_eq!((in_row, in_file), (is_changed, is_changed), "{why}");
}

/// The data are kept, nothing runs, nobody is let in.
pub async fn assert_stopped(world: &World, operation: &Operation, why: &str) {
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    assert_eq!(server.state(), ServerState::Stopped, "{why}");
    let members = world.services.store.members(&server.id).await.unwrap();
    let mut wanted = vec![
        format!("container {}", members[0].container()),
        format!("network {}", pgflex::domain::server::network_name(&server.id)),
        format!("volume {}", members[0].volume()),
        format!("volume {}", members[0].disk_volume()),
    ];
    wanted.sort();
    assert_eq!(world.engine.remaining(), wanted, "{why}");
    power::assert_not_running(world, &members[0], why).await;
    power::assert_meters(world, &["storage"], why).await;
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
    if changes::is_of_a_pair(operation.kind) {
        return pairs::assert_unwound(world, operation, why).await;
    }
    if operation.kind == OperationKind::Restore {
        return restores::assert_not_restored(world, operation, why).await;
    }
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    match operation.kind {
        OperationKind::Create => {
            assert_nothing_left(world, why).await;
            assert_eq!(server.settled, SettledState::Failed, "{why}");
        }
        OperationKind::Start => assert_stopped(world, operation, why).await,
        OperationKind::ChangeNetworking => {
            assert_eq!(server.spec.access, Access::Public, "{why}: as before");
            assert_running_once(world, operation, why).await;
        }
        OperationKind::Scale => {
            assert_running_once(world, operation, why).await;
            power::assert_size(world, operation, "Standard_B1ms", why).await;
        }
        OperationKind::ChangeParameters | OperationKind::AllowExtensions => {
            assert_running_once(world, operation, why).await;
            assert_configured(world, operation, false, why).await;
        }
        OperationKind::ChangeExtension => {
            assert_running_once(world, operation, why).await;
            assert!(world.postgres.created_extensions().is_empty(), "{why}");
        }
        _ => assert_running_once(world, operation, why).await,
    }
    assert_unchanged(world, operation, why).await;
    if operation.kind != OperationKind::Create {
        assert_storage(world, operation, why).await;
    }
}
