//! The usual input of each kind, for sweeps: one arm for each.

use super::World;
use pgflex::domain::catalog::Tier;
use pgflex::domain::configuration::Pooler;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::OperationKind;
use pgflex::operations::access::{sealed_place, secret};
use pgflex::operations::reset_password::KEPT_FOR;
use pgflex::store::Record;
use serde_json::{Value, json};

/// The virtual network that the world of the sweeps has.
pub const NETWORK: &str = "01890a5d-ac96-774b-bcce-0000000000ae";
pub const NEW_DATABASE: &str = "sales/2027 \"x\"";
pub const OLD_DATABASE: &str = "old %41";
/// Label of the second backup in a world: the one that a person asked for.
pub const NAMED_BACKUP: &str = "20261123-100202F";
pub const NEW_VERIFIER: &str = "SCRAM-SHA-256$4096:bmV3$c3RvcmVk:c2VydmVy";
const RESET: &str = "01890a5d-ac96-774b-bcce-0000000000ff";

pub fn input(kind: OperationKind) -> Value {
    match kind {
        OperationKind::Create
        | OperationKind::Delete
        | OperationKind::Restart
        | OperationKind::Stop
        | OperationKind::Start
        | OperationKind::RenewCertificate
        | OperationKind::Repair
        | OperationKind::BuildStandby
        | OperationKind::RemoveStandby
        | OperationKind::Disarm
        | OperationKind::RecoverPrimary => Value::Null,
        OperationKind::ChangeDurability => json!({ "durability": "Required" }),
        OperationKind::Switchover => json!({ "cause": "Planned" }),
        OperationKind::Failover => json!({
            "cause": "Automatic", "reason": "The primary's container ended.", "seen_at": "2026-11-23T10:00:00Z"
        }),
        OperationKind::Scale => json!({ "to": "Standard_B2s", "about": "to B2s" }),
        OperationKind::GrowStorage => json!({ "to_gib": 64 }),
        OperationKind::ProtectStorage => json!({ "on": true }),
        OperationKind::ChangeParameters => {
            json!({ "set": { "work_mem": "8MB" }, "reset": [], "restart": true })
        }
        OperationKind::AllowExtensions => {
            json!({ "allowed": ["hstore", "pgaudit"], "restart": true })
        }
        OperationKind::ChangeExtension => {
            json!({ "database": "sales", "extension": "hstore", "action": "create" })
        }
        OperationKind::ChangeNetworking => json!({
            "access": "Private", "network_id": NETWORK, "require_secure_transport": true
        }),
        OperationKind::CreateDatabase => json!({ "name": NEW_DATABASE, "collation": "de-DE" }),
        OperationKind::DropDatabase => json!({ "name": OLD_DATABASE }),
        OperationKind::ResetPassword => json!({ "reset": RESET }),
        OperationKind::Backup => json!({ "type": "full", "name": "" }),
        OperationKind::DeleteBackup => json!({ "label": NAMED_BACKUP }),
        OperationKind::SuspendRepository => json!({
            "repository": 1, "archived_until": "2026-11-23T10:00:00Z", "reason": "Its host is away."
        }),
        OperationKind::RemoveRepository => json!({ "repository": 2 }),
        OperationKind::Restore | OperationKind::RestoreDrill => Value::Null,
        OperationKind::ChangePooler => {
            let pooler = Pooler { enabled: true, ..Pooler::default() };
            json!({ "pooler": pooler, "ports": [20000, 20999] })
        }
    }
}

/// Size of the server that a kind is tried on, where the smallest does not do.
pub fn tier(kind: OperationKind) -> Tier {
    match kind {
        OperationKind::ChangePooler => Tier::GeneralPurpose,
        kind if is_of_a_pair(kind) => Tier::GeneralPurpose,
        _ => Tier::Burstable,
    }
}

pub fn is_of_a_pair(kind: OperationKind) -> bool {
    kind == OperationKind::BuildStandby || needs_standby(kind)
}

/// Whether a kind is tried on a pair in sync.
pub fn needs_standby(kind: OperationKind) -> bool {
    matches!(
        kind,
        OperationKind::RemoveStandby
            | OperationKind::ChangeDurability
            | OperationKind::Switchover
            | OperationKind::Failover
            | OperationKind::Disarm
            | OperationKind::RecoverPrimary
    )
}

/// What must be there before a kind is submitted, beside its server.
pub async fn prepare(world: &World, kind: OperationKind, server: &ServerId) {
    match kind {
        OperationKind::Failover | OperationKind::RecoverPrimary => {
            let primary = world.services.store.members(server).await.unwrap().remove(0);
            world.engine.crash(&primary.container(), 137);
        }
        OperationKind::DropDatabase => world.postgres.plant_database(OLD_DATABASE),
        OperationKind::ResetPassword => {
            let (services, name) = (&world.services, secret::pending_verifier(RESET));
            let place = sealed_place(server, &name);
            let sealed = services.sealer.seal(&place, NEW_VERIFIER.as_bytes()).unwrap();
            let now = services.clock.now();
            let mut tx = services.store.begin_write(now).await.unwrap();
            tx.put_server_secret_once(server, &name, sealed, Some(now + KEPT_FOR)).await.unwrap();
            tx.commit(Record::Nothing("as the form does")).await.unwrap();
        }
        _ => {}
    }
}

/// A second repository on the other host that nobody asks for any more, with nothing in it.
pub async fn plant_old_repository(world: &World, server: &ServerId) {
    let (store, now) = (&world.services.store, pgflex::clock::Clock::now(&world.clock));
    let first = store.repositories(server).await.unwrap().remove(0);
    let loads = store.host_loads().await.unwrap();
    let other = loads.into_iter().find(|load| load.host.id != first.host_id).unwrap();
    let second = pgflex::domain::backup::Repository {
        number: 2,
        host_id: other.host.id,
        state: pgflex::domain::backup::RepositoryState::Suspended,
        since: now - chrono::Duration::days(1),
        ..first
    };
    let mut tx = store.begin_write(now).await.unwrap();
    tx.put_repository(&second).await.unwrap();
    tx.commit(Record::Nothing("as the schedule left it")).await.unwrap();
}
