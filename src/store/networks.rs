//! Virtual networks and who is in them.

use super::codec::{micros, parsed, time};
use super::{Record, Store, StoreError, WriteTx};
use crate::domain::ids::{NetworkId, ServerId};
use crate::domain::network::Access;
use crate::domain::server::SettledState;
use crate::domain::virtual_network::{NetworkState, VirtualNetwork};
use chrono::{DateTime, Utc};
use ipnet::Ipv4Net;
use sqlx::FromRow;

#[derive(FromRow)]
struct Row {
    id: String,
    name: String,
    address_range: String,
    state: String,
    note: String,
    created_at: i64,
}

impl Row {
    fn into_network(self) -> Result<VirtualNetwork, StoreError> {
        let range = |text: &str| text.parse::<Ipv4Net>().ok();
        Ok(VirtualNetwork {
            id: parsed(&self.id, NetworkId::parse, "network id")?,
            range: parsed(&self.address_range, range, "range of a network")?,
            state: parsed(&self.state, NetworkState::parse, "state of a network")?,
            name: self.name,
            note: self.note,
            created_at: time(self.created_at),
        })
    }
}

/// A server that belongs to a virtual network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkServer {
    pub network_id: NetworkId,
    pub server_id: ServerId,
    pub server_name: String,
    pub settled: SettledState,
    /// Name of the host that its member is on; `None` while it is not placed.
    pub host: Option<String>,
}

const ALL: &str =
    "SELECT id, name, address_range, state, note, created_at FROM networks ORDER BY name";

impl Store {
    /// Every virtual network by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn networks(&self) -> Result<Vec<VirtualNetwork>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(self.read()).await?;
        rows.into_iter().map(Row::into_network).collect()
    }

    /// One virtual network.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn network(&self, id: &NetworkId) -> Result<Option<VirtualNetwork>, StoreError> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, name, address_range, state, note, created_at FROM networks WHERE id = $1",
        )
        .bind(id.as_str())
        .fetch_optional(self.read())
        .await?;
        row.map(Row::into_network).transpose()
    }

    /// Every server that is in a virtual network, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn network_servers(&self) -> Result<Vec<NetworkServer>, StoreError> {
        let rows: Vec<(String, String, String, String, Option<String>)> = sqlx::query_as(
            "SELECT s.network_id, s.id, s.name, s.settled, h.name FROM servers s
               LEFT JOIN members m ON m.server_id = s.id LEFT JOIN hosts h ON h.id = m.host_id
             WHERE s.network_id IS NOT NULL ORDER BY s.name",
        )
        .fetch_all(self.read())
        .await?;
        rows.into_iter()
            .map(|(network, server, server_name, settled, host)| {
                Ok(NetworkServer {
                    network_id: parsed(&network, NetworkId::parse, "network id")?,
                    server_id: parsed(&server, ServerId::parse, "server id")?,
                    settled: parsed(&settled, SettledState::parse, "settled state")?,
                    server_name,
                    host,
                })
            })
            .collect()
    }

    /// Writes down why the deletion of a network waits; nothing is written when it says so already.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn note_network(
        &self,
        now: DateTime<Utc>,
        id: &NetworkId,
        note: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("UPDATE networks SET note = $2 WHERE id = $1 AND note <> $2")
            .bind(id.as_str())
            .bind(note)
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::Nothing("an observation is no change that anybody asked for")).await
    }

    /// Forgets a network that was asked to go and is on no host any more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_network(
        &self,
        now: DateTime<Utc>,
        id: &NetworkId,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin_write(now).await?;
        sqlx::query("DELETE FROM networks WHERE id = $1 AND state = $2")
            .bind(id.as_str())
            .bind(NetworkState::Deleting.key())
            .execute(&mut *tx.tx)
            .await?;
        tx.commit(Record::Nothing("its deletion was recorded when it was asked for")).await
    }
}

impl WriteTx {
    /// Every virtual network, seen inside the transaction; others that make one wait until it ends.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn lock_networks(&mut self) -> Result<Vec<VirtualNetwork>, StoreError> {
        self.lock_placement().await?;
        let rows: Vec<Row> = sqlx::query_as(ALL).fetch_all(&mut *self.tx).await?;
        rows.into_iter().map(Row::into_network).collect()
    }

    /// Writes a new network. A taken name is a unique violation.
    ///
    /// # Errors
    /// When the name is taken or the store does not answer.
    pub async fn insert_network(&mut self, network: &VirtualNetwork) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO networks (id, name, address_range, state, note, created_at) VALUES ($1, $2, $3, $4, '', $5)",
        )
        .bind(network.id.as_str())
        .bind(network.name.clone())
        .bind(network.range.to_string())
        .bind(network.state.key())
        .bind(micros(network.created_at))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Writes how a server is reached. False when the network is not there any more or is to go: then
    /// nothing was written.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_networking(
        &mut self,
        server: &ServerId,
        access: Access,
        network: Option<&NetworkId>,
    ) -> Result<bool, StoreError> {
        if let Some(network) = network {
            // The write also makes a deletion of the network wait until this transaction has ended.
            let held = sqlx::query(
                "UPDATE networks SET version = version + 1 WHERE id = $1 AND state = $2",
            )
            .bind(network.as_str())
            .bind(NetworkState::Active.key())
            .execute(&mut *self.tx)
            .await?;
            if held.rows_affected() == 0 {
                return Ok(false);
            }
        }
        sqlx::query(
            "UPDATE servers SET access = $2, network_id = $3, version = version + 1 WHERE id = $1",
        )
        .bind(server.as_str())
        .bind(access.key())
        .bind(network.map(|id| id.as_str().to_owned()))
        .execute(&mut *self.tx)
        .await?;
        // Routes follow the access mode.
        self.bump_route_generation().await?;
        Ok(true)
    }

    /// Asks a network to go. False when servers are in it, or when a change of networking is under way that
    /// needs it: as the way there, or as the way back.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_network_deletion(&mut self, id: &NetworkId) -> Result<bool, StoreError> {
        // First the lock, then, in a statement that sees what others have committed, the question.
        sqlx::query("UPDATE networks SET version = version + 1 WHERE id = $1")
            .bind(id.as_str())
            .execute(&mut *self.tx)
            .await?;
        let done = sqlx::query(
            "UPDATE networks SET state = $2, note = '' WHERE id = $1 AND state = $3
               AND NOT EXISTS (SELECT 1 FROM servers WHERE network_id = $1)
               AND NOT EXISTS (SELECT 1 FROM operations o LEFT JOIN operation_steps p ON p.operation_id = o.id
                 WHERE o.is_active = 1 AND o.kind = 'change_networking' AND (o.input LIKE $4 OR p.output LIKE $4))",
        )
        .bind(id.as_str())
        .bind(NetworkState::Deleting.key())
        .bind(NetworkState::Active.key())
        .bind(format!("%{id}%"))
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock, new_id};
    use crate::store::testing;

    fn network(name: &str) -> VirtualNetwork {
        VirtualNetwork {
            id: new_id(NetworkId::parse),
            name: name.into(),
            range: "10.20.0.0/24".parse().unwrap(),
            state: NetworkState::Active,
            note: String::new(),
            created_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        }
    }

    async fn server(store: &Store) -> ServerId {
        let id = new_id(ServerId::parse);
        let port = i64::from(u32::from_be_bytes(crate::clock::random_bytes::<4>()) % 65_535) + 1;
        let mut tx = store.begin_write(SystemClock.now()).await.unwrap();
        sqlx::query("INSERT INTO servers (id, name, region, zone, major, sku, tier, storage_gib, admin_login, access, tags, settled, port, created_at)
                     VALUES ($1, $2, 'r', '1', '17', 'Standard_B1ms', 'Burstable', 32, 'a', 'Public', '[]', 'Ready', $3, 0)")
            .bind(id.as_str().to_owned())
            .bind(format!("s-{}", id.short()))
            .bind(port)
            .execute(&mut *tx.tx)
            .await
            .unwrap();
        tx.commit(Record::Nothing("test")).await.unwrap();
        id
    }

    #[tokio::test]
    async fn a_network_with_a_server_stays_and_one_that_goes_takes_none() {
        for test in testing::all().await {
            let (store, now) = (&test.store, SystemClock.now());
            let kept = network(&crate::clock::new_uuid());
            let server = server(store).await;
            let mut tx = store.begin_write(now).await.unwrap();
            tx.insert_network(&kept).await.unwrap();
            assert!(tx.lock_networks().await.unwrap().contains(&kept));
            assert!(
                tx.set_networking(&server, Access::Private, Some(&kept.id)).await.unwrap(),
                "joined"
            );
            tx.commit(Record::Nothing("test")).await.unwrap();
            assert_eq!(store.network(&kept.id).await.unwrap().as_ref(), Some(&kept));
            let inside = store.network_servers().await.unwrap();
            assert!(inside.iter().any(|one| one.server_id == server && one.host.is_none()));
            let mut tx = store.begin_write(now).await.unwrap();
            assert!(!tx.begin_network_deletion(&kept.id).await.unwrap(), "a server is in it");
            assert!(tx.set_networking(&server, Access::Public, None).await.unwrap(), "left");
            assert!(tx.begin_network_deletion(&kept.id).await.unwrap(), "it is empty");
            assert!(!tx.begin_network_deletion(&kept.id).await.unwrap(), "asked once");
            let joined = tx.set_networking(&server, Access::Private, Some(&kept.id)).await.unwrap();
            assert!(!joined, "it takes nobody any more");
            tx.commit(Record::Nothing("test")).await.unwrap();
            store.note_network(now, &kept.id, "host a is silent").await.unwrap();
            assert_eq!(store.network(&kept.id).await.unwrap().unwrap().note, "host a is silent");
            store.forget_network(now, &kept.id).await.unwrap();
            assert_eq!(store.network(&kept.id).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn names_are_unique() {
        for test in testing::all().await {
            let name = crate::clock::new_uuid();
            let mut tx = test.store.begin_write(SystemClock.now()).await.unwrap();
            tx.insert_network(&network(&name)).await.unwrap();
            let error = tx.insert_network(&network(&name)).await.unwrap_err();
            assert!(error.is_unique_violation());
        }
    }
}
