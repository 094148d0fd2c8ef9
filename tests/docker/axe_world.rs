//! What the pages are looked at with: a real server with the longest name, one that is gone, operations
//! that succeeded, run, failed and wait for a person.

use crate::axe_pages::World;
use crate::portal::Portal;
use crate::support::socket;
use bollard::Docker;
use bollard::models::NetworkCreateRequest;
use pgflex::clock::{new_id, new_uuid};
use pgflex::domain::account::{Invite, Role};
use pgflex::domain::activity::Actor;
use pgflex::domain::ids::{InviteId, NetworkId, OperationId};
use pgflex::domain::operation::{OperationKind, OperationStatus};
use pgflex::domain::server::network_name;
use pgflex::domain::virtual_network::{NetworkState, VirtualNetwork};
use pgflex::operations::kinds::steps;
use pgflex::operations::submit::Change;
use pgflex::secrets::sha256_hex;
use pgflex::store::Record;
use pgflex::store::progress::OperationChange;

/// As long as a name may be, and without a place to break it.
pub const LONG_NAME: &str = "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww";

/// A database with a name that is no word of a path.
pub const DATABASE: &str = "sales/2027 <west>";

/// Makes it all; the portal runs before and after. The draft is for the caller to add.
pub async fn prepare(portal: &mut Portal) -> World {
    let create = portal.submit_create(LONG_NAME).await;
    let gone = portal.submit_create("gone-db").await;
    let stopped = portal.submit_create("stopped-db").await;
    let succeeded = ends(portal, &create, OperationStatus::Succeeded).await;
    let gone = ends(portal, &gone, OperationStatus::Succeeded).await.server_id;
    let stopped = ends(portal, &stopped, OperationStatus::Succeeded).await.server_id;
    crate::data::succeeded(portal, &stopped, Change::plain(OperationKind::Stop)).await;
    let database = crate::data::create(DATABASE, "de-DE");
    crate::data::succeeded(portal, &succeeded.server_id, database).await;
    let actor = Actor::system();
    let delete = portal.door().submit(OperationKind::Delete, &gone, &actor, None).await.unwrap();
    ends(portal, &delete, OperationStatus::Succeeded).await;
    let failed = fail(portal).await;
    portal.kill();
    let parked = park(portal).await;
    // From here on one operation stands at its sixth step for good.
    let running = portal.submit_create("running-db").await;
    let stop = format!("--test-stop-at={}:begun", steps(OperationKind::Create)[5].name);
    portal.start(&[&stop]);
    portal.wait_line("stopped at");
    let invitation = invite(portal).await;
    World {
        server: succeeded.server_id,
        stopped,
        deleted: gone,
        succeeded: create,
        running,
        failed,
        parked,
        invitation,
        draft: String::new(),
        network: network(portal).await,
        host: portal.app.store.hosts().await.unwrap()[0].id.clone(),
    }
}

async fn ends(
    portal: &Portal,
    id: &OperationId,
    wanted: OperationStatus,
) -> pgflex::domain::operation::Operation {
    let operation = portal.wait_settled(id).await;
    assert_eq!(operation.status, wanted, "{operation:?}\n{}", portal.tail());
    operation
}

/// A creation that finds a stranger's network where its own should be: for good, so it unwinds.
async fn fail(portal: &mut Portal) -> OperationId {
    portal.kill();
    let id = portal.submit_create("failed-db").await;
    let server = portal.app.store.operation(&id).await.unwrap().unwrap().server_id;
    let docker = Docker::connect_with_unix(&socket(), 120, bollard::API_DEFAULT_VERSION).unwrap();
    let name = network_name(&server);
    let network = NetworkCreateRequest { name: name.clone(), ..Default::default() };
    docker.create_network(network).await.unwrap();
    portal.start(&[]);
    let operation = portal.wait_settled(&id).await;
    docker.remove_network(&name).await.unwrap();
    assert_eq!(operation.status, OperationStatus::Failed, "{operation:?}");
    id
}

/// An operation whose undoing is stuck, by its record.
async fn park(portal: &Portal) -> OperationId {
    let id = portal.submit_create("parked-db").await;
    let mut tx = portal.app.store.begin_write(portal.app.clock.now()).await.unwrap();
    let change = OperationChange {
        status: Some(OperationStatus::NeedsAttention),
        error: Some(
            "The Docker Engine did not answer for ten minutes while the volume was removed.",
        ),
        advice: Some("Start the engine on the host, then retry."),
        ..Default::default()
    };
    tx.change_operation(&id, &change).await.unwrap();
    tx.commit(Record::Nothing("a test begins")).await.unwrap();
    id
}

async fn network(portal: &Portal) -> NetworkId {
    let network = VirtualNetwork {
        id: new_id(NetworkId::parse),
        name: "w".repeat(64),
        range: "10.123.0.0/16".parse().unwrap(),
        state: NetworkState::Active,
        note: String::new(),
        created_at: portal.app.clock.now(),
    };
    let mut tx = portal.app.store.begin_write(portal.app.clock.now()).await.unwrap();
    tx.insert_network(&network).await.unwrap();
    tx.commit(Record::Nothing("a test begins")).await.unwrap();
    network.id
}

async fn invite(portal: &Portal) -> String {
    let (token, now) = (new_uuid(), portal.app.clock.now());
    let invite = Invite {
        id: new_id(InviteId::parse),
        role: Role::Reader,
        note: "for the walk".into(),
        is_setup: false,
        created_by: "ada@example.org".into(),
        created_at: now,
        expires_at: now + chrono::Duration::hours(1),
    };
    let mut tx = portal.app.store.begin_write(now).await.unwrap();
    tx.insert_invite(&invite, &sha256_hex(&token)).await.unwrap();
    tx.commit(Record::Nothing("a test begins")).await.unwrap();
    token
}
