//! Meter intervals: opened and closed in the same transaction as the change that they count.

use super::codec::{micros, parsed, time, time_option};
use super::{Record, Store, StoreError, WriteTx};
use crate::clock::new_uuid;
use crate::domain::ids::{GroupId, ServerId};
use crate::domain::meter::{Meter, MeterInterval, of_members, per_member};
use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow};

#[derive(FromRow)]
struct Row {
    server_id: String,
    server_name: String,
    group_id: String,
    meter: String,
    quantity: String,
    started_at: i64,
    ended_at: Option<i64>,
}

impl Row {
    fn into_interval(self) -> Result<MeterInterval, StoreError> {
        Ok(MeterInterval {
            server_id: parsed(&self.server_id, ServerId::parse, "server id")?,
            server_name: self.server_name,
            group_id: parsed(&self.group_id, GroupId::parse, "group id")?,
            meter: parsed(&self.meter, Meter::parse, "meter")?,
            quantity: self.quantity,
            started_at: time(self.started_at),
            ended_at: time_option(self.ended_at),
        })
    }
}

/// Members that a server `s` is charged for: both of a pair from the moment it is asked for.
macro_rules! counted {
    ($each:literal) => {
        concat!(
            "(CASE WHEN EXISTS (SELECT 1 FROM high_availability h WHERE h.server_id = s.id) THEN '2x ' ELSE '' END || ",
            $each,
            ")"
        )
    };
}

impl Store {
    /// Every charged interval that touches the time between `from` and `to`, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn meter_intervals(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<MeterInterval>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT server_id, server_name, group_id, meter, quantity, started_at, ended_at FROM meters
             WHERE started_at < $2 AND (ended_at IS NULL OR ended_at > $1) AND meter <> 'stopped' ORDER BY started_at, id",
        )
        .bind(micros(from))
        .bind(micros(to))
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_interval).collect()
    }

    /// Every interval of one server, oldest first, with those in which it was stopped.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn server_meters(&self, server: &ServerId) -> Result<Vec<MeterInterval>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT server_id, server_name, group_id, meter, quantity, started_at, ended_at FROM meters
             WHERE server_id = $1 ORDER BY started_at, id",
        )
        .bind(server.as_str())
        .fetch_all(self.read())
        .await?;
        rows.into_iter().map(Row::into_interval).collect()
    }

    /// Lets the meters run that a server's settled state asks for, from now on and never from earlier, and ends
    /// those that it does not: servers from before there were meters, and whatever an interruption left.
    /// A server with an operation under way is left alone: the operation sets its meters.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reconcile_meters(&self, now: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut tx = self.begin_write(now).await?;
        let mut changed = tx.end_strays().await?;
        for (meter, quantity, states) in [
            (Meter::Storage, counted!("CAST(s.storage_gib AS TEXT)"), "'Ready', 'Stopped'"),
            (Meter::Compute, counted!("s.sku"), "'Ready'"),
        ] {
            changed += tx.follow_state(meter, quantity, states).await?;
        }
        tx.commit(Record::Nothing("the meters themselves are the record")).await?;
        Ok(changed)
    }
}

/// That nothing changes the server at this moment.
const QUIET: &str = "NOT EXISTS (SELECT 1 FROM operations o WHERE o.server_id = s.id AND o.lane = 'change' AND o.is_active = 1)";

impl WriteTx {
    /// Lets a meter run with a quantity from now on, or stop with `None`. What runs with the same
    /// quantity goes on, so a step that runs twice counts once. While compute does not run but storage
    /// does, the meter of stopped time runs instead.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_meter(
        &mut self,
        server: &ServerId,
        meter: Meter,
        quantity: Option<&str>,
    ) -> Result<(), StoreError> {
        let ended = self.end_meter(server, meter, quantity.unwrap_or_default()).await?;
        if let Some(quantity) = quantity {
            self.begin_meter(server, meter, quantity).await?;
        }
        match (meter, quantity, ended) {
            (Meter::Compute, None, Some(sku)) => self.begin_stopped(server, &sku).await,
            (Meter::Compute, Some(_), _) | (Meter::Storage, None, _) => {
                self.end_meter(server, Meter::Stopped, "").await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// The same for a quantity of one member: a pair counts twice.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn set_member_meter(
        &mut self,
        server: &ServerId,
        meter: Meter,
        each: &str,
    ) -> Result<(), StoreError> {
        let members = if self.ha(server).await?.is_some() { 2 } else { 1 };
        self.set_meter(server, meter, Some(&of_members(members, each))).await
    }

    /// Lets the meters that run count as many members as there are, after a pair was asked for or given up.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(super) async fn recount_members(&mut self, server: &ServerId) -> Result<(), StoreError> {
        let running: Vec<(String, String)> = sqlx::query_as(
            "SELECT meter, quantity FROM meters WHERE server_id = $1 AND ended_at IS NULL AND meter IN ('compute', 'storage')",
        )
        .bind(server.as_str())
        .fetch_all(&mut *self.tx)
        .await?;
        for (meter, quantity) in running {
            let meter = parsed(&meter, Meter::parse, "meter")?;
            self.set_member_meter(server, meter, per_member(&quantity).1).await?;
        }
        Ok(())
    }

    /// Ends a running meter unless it has the quantity `except`; gives the quantity that it had. It never ends
    /// before it began, whatever the clock says.
    async fn end_meter(
        &mut self,
        server: &ServerId,
        meter: Meter,
        except: &str,
    ) -> Result<Option<String>, StoreError> {
        let row: Option<(String,)> = sqlx::query_as(
            "UPDATE meters SET ended_at = CASE WHEN started_at > $3 THEN started_at ELSE $3 END
             WHERE server_id = $1 AND meter = $2 AND ended_at IS NULL AND quantity <> $4 RETURNING quantity",
        )
        .bind(server.as_str())
        .bind(meter.key())
        .bind(micros(self.now))
        .bind(except)
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row.map(|(quantity,)| quantity))
    }

    /// Begins a meter that does not run: now, or where its last interval ended if the clock was set back
    /// since, so that no second counts twice.
    async fn begin_meter(
        &mut self,
        server: &ServerId,
        meter: Meter,
        quantity: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO meters (id, server_id, server_name, group_id, meter, quantity, started_at)
             SELECT $2, s.id, s.name, s.group_id, $3, $4, CASE WHEN e.last > $5 THEN e.last ELSE $5 END FROM servers s
               JOIN (SELECT COALESCE(MAX(ended_at), 0) AS last FROM meters WHERE server_id = $1 AND meter = $3) e ON 1 = 1
             WHERE s.id = $1 AND NOT EXISTS
               (SELECT 1 FROM meters m WHERE m.server_id = s.id AND m.meter = $3 AND m.ended_at IS NULL)",
        )
        .bind(server.as_str())
        .bind(new_uuid())
        .bind(meter.key())
        .bind(quantity)
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// A server that loses its storage as well is being deleted, not stopped.
    async fn begin_stopped(&mut self, server: &ServerId, sku: &str) -> Result<(), StoreError> {
        let storage: Option<(String,)> = sqlx::query_as(
            "SELECT quantity FROM meters WHERE server_id = $1 AND meter = 'storage' AND ended_at IS NULL",
        )
        .bind(server.as_str())
        .fetch_optional(&mut *self.tx)
        .await?;
        match storage {
            Some(_) => self.begin_meter(server, Meter::Stopped, sku).await,
            None => Ok(()),
        }
    }

    /// Ends the meters of servers that are gone, and compute of quiet servers that do not run.
    async fn end_strays(&mut self) -> Result<u64, StoreError> {
        let stopped = sqlx::query(AssertSqlSafe(format!(
            "UPDATE meters SET ended_at = CASE WHEN started_at > $1 THEN started_at ELSE $1 END
             WHERE ended_at IS NULL AND (NOT EXISTS (SELECT 1 FROM servers s WHERE s.id = meters.server_id)
               OR (meter = 'compute' AND EXISTS (SELECT 1 FROM servers s WHERE s.id = meters.server_id
                 AND s.settled IN ('Stopped', 'Failed') AND {QUIET})))"
        )))
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(stopped.rows_affected())
    }

    /// For quiet servers in one of `states`: ends a meter of another quantity and begins the right one.
    async fn follow_state(
        &mut self,
        meter: Meter,
        quantity: &'static str,
        states: &'static str,
    ) -> Result<u64, StoreError> {
        let ended = sqlx::query(AssertSqlSafe(format!(
            "UPDATE meters SET ended_at = CASE WHEN started_at > $2 THEN started_at ELSE $2 END
             WHERE ended_at IS NULL AND meter = $1 AND EXISTS (SELECT 1 FROM servers s WHERE s.id = meters.server_id
               AND s.settled IN ({states}) AND {quantity} <> meters.quantity AND {QUIET})"
        )))
        .bind(meter.key())
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        let begun = sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO meters (id, server_id, server_name, group_id, meter, quantity, started_at)
             SELECT s.id || '/' || CAST($1 AS TEXT) || '/' || CAST($2 AS TEXT), s.id, s.name, s.group_id, $1, {quantity}, $2
             FROM servers s WHERE s.settled IN ({states}) AND {QUIET} AND NOT EXISTS
               (SELECT 1 FROM meters m WHERE m.server_id = s.id AND m.meter = $1 AND m.ended_at IS NULL)
             ON CONFLICT DO NOTHING"
        )))
        .bind(meter.key())
        .bind(micros(self.now))
        .execute(&mut *self.tx)
        .await?;
        Ok(ended.rows_affected() + begun.rows_affected())
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::domain::server::SettledState;
    use crate::store::testing;
    use chrono::Duration;

    #[tokio::test]
    async fn a_meter_runs_once_changes_its_quantity_and_stops() {
        for test in testing::all().await {
            let store = &test.store;
            let begun = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let server = testing::server(store, begun, "shop").await;
            for (after, quantity) in
                [(0, Some("B2s")), (10, Some("B2s")), (20, Some("D4")), (30, None), (40, None)]
            {
                let mut tx = store.begin_write(begun + Duration::seconds(after)).await.unwrap();
                tx.set_meter(&server, Meter::Compute, quantity).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            let seen = store.meter_intervals(begun, begun + Duration::days(1)).await.unwrap();
            let lengths: Vec<_> = seen
                .iter()
                .map(|i| (i.quantity.as_str(), (i.ended_at.unwrap() - i.started_at).num_seconds()))
                .collect();
            assert_eq!(lengths, [("B2s", 20), ("D4", 10)], "{}", test.name);
        }
    }

    async fn lengths(
        store: &Store,
        server: &ServerId,
        now: DateTime<Utc>,
    ) -> Vec<(Meter, String, i64)> {
        let seen = store.server_meters(server).await.unwrap();
        seen.into_iter()
            .map(|i| {
                let end = i.ended_at.unwrap_or(now);
                (i.meter, i.quantity, (end - i.started_at).num_seconds())
            })
            .collect()
    }

    #[tokio::test]
    async fn a_pair_counts_twice_from_the_moment_it_is_asked_for() {
        use crate::domain::ha::{Durability, HaMode, HighAvailability};
        for test in testing::all().await {
            let store = &test.store;
            let begun = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let at = |seconds| begun + Duration::seconds(seconds);
            let server = testing::server(store, begun, "shop").await;
            let mut tx = store.begin_write(begun).await.unwrap();
            tx.set_settled(&server, SettledState::Ready).await.unwrap();
            tx.follow_meters(&server, SettledState::Ready).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            let row = HighAvailability::asked(
                server.clone(),
                HaMode::SameZone,
                Durability::Preferred,
                "1".into(),
                begun,
            );
            let mut tx = store.begin_write(at(10)).await.unwrap();
            tx.insert_ha(&row).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            assert_eq!(store.reconcile_meters(at(11)).await.unwrap(), 0, "nothing to put right");
            let mut tx = store.begin_write(at(20)).await.unwrap();
            let sku = crate::domain::catalog::Sku::by_name("Standard_D2ds_v5").unwrap();
            tx.set_sku(&server, sku).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            let mut tx = store.begin_write(at(30)).await.unwrap();
            tx.delete_ha(&server).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            assert_eq!(store.reconcile_meters(at(31)).await.unwrap(), 0, "nothing to put right");
            let mut seen = lengths(store, &server, at(40)).await;
            seen.sort_by(|a, b| a.1.cmp(&b.1));
            let expected = [
                (Meter::Compute, "2x Standard_B2s".to_owned(), 10),
                (Meter::Storage, "2x 32".into(), 20),
                (Meter::Compute, "2x Standard_D2ds_v5".into(), 10),
                (Meter::Storage, "32".into(), 10),
                (Meter::Storage, "32".into(), 10),
                (Meter::Compute, "Standard_B2s".into(), 10),
                (Meter::Compute, "Standard_D2ds_v5".into(), 10),
            ];
            let mut expected = expected.to_vec();
            expected.sort_by(|a, b| a.1.cmp(&b.1));
            assert_eq!(seen, expected, "{}", test.name);
        }
    }

    #[tokio::test]
    async fn stopped_time_is_counted_between_a_stop_and_a_start_but_not_after_a_deletion() {
        for test in testing::all().await {
            let store = &test.store;
            let begun = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let server = testing::server(store, begun, "shop").await;
            let changes = [
                (0, Meter::Storage, Some("64")),
                (0, Meter::Compute, Some("B2s")),
                (10, Meter::Compute, None),
                (15, Meter::Compute, None),
                (30, Meter::Compute, Some("D4")),
                (40, Meter::Storage, None),
                (40, Meter::Compute, None),
            ];
            for (after, meter, quantity) in changes {
                let mut tx = store.begin_write(begun + Duration::seconds(after)).await.unwrap();
                tx.set_meter(&server, meter, quantity).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            let mut seen = lengths(store, &server, begun + Duration::days(1)).await;
            seen.sort_by(|a, b| a.1.cmp(&b.1).then(a.2.cmp(&b.2)));
            let expected = [
                (Meter::Storage, "64".to_owned(), 40),
                (Meter::Compute, "B2s".into(), 10),
                (Meter::Stopped, "B2s".into(), 20),
                (Meter::Compute, "D4".into(), 10),
            ];
            assert_eq!(seen, expected, "{}", test.name);
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_makes_no_second_count_twice() {
        for test in testing::all().await {
            let store = &test.store;
            let begun = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let server = testing::server(store, begun, "shop").await;
            for (after, quantity) in
                [(0, Some("a")), (100, None), (50, Some("b")), (60, None), (150, Some("c"))]
            {
                let mut tx = store.begin_write(begun + Duration::seconds(after)).await.unwrap();
                tx.set_meter(&server, Meter::Compute, quantity).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
            }
            let seen = lengths(store, &server, begun + Duration::seconds(160)).await;
            let seconds: Vec<_> =
                seen.iter().map(|(_, quantity, s)| (quantity.as_str(), *s)).collect();
            assert_eq!(seconds, [("a", 100), ("b", 0), ("c", 10)], "{}", test.name);
        }
    }

    #[tokio::test]
    async fn reconciling_begins_what_is_missing_from_now_on_and_ends_what_does_not_run() {
        for test in testing::all().await {
            let store = &test.store;
            let begun = DateTime::from_timestamp(1_795_000_000, 0).unwrap();
            let server = testing::server(store, begun, "shop").await;
            let late = begun + Duration::days(3);
            let settle = async |state, now| {
                let mut tx = store.begin_write(now).await.unwrap();
                tx.set_settled(&server, state).await.unwrap();
                tx.commit(Record::Nothing("a test")).await.unwrap();
                store.reconcile_meters(now).await.unwrap()
            };
            assert_eq!(settle(SettledState::New, late).await, 0, "{}", test.name);
            assert_eq!(settle(SettledState::Ready, late).await, 2, "{}", test.name);
            assert_eq!(
                settle(SettledState::Ready, late + Duration::seconds(9)).await,
                0,
                "{}",
                test.name
            );
            let seen = store.server_meters(&server).await.unwrap();
            assert!(
                seen.iter().all(|i| i.started_at == late && i.ended_at.is_none()),
                "never backdated"
            );
            assert_eq!(settle(SettledState::Stopped, late + Duration::seconds(20)).await, 1);
            let seen = lengths(store, &server, late + Duration::seconds(20)).await;
            assert!(
                seen.iter().any(|(meter, _, s)| *meter == Meter::Compute && *s == 20),
                "{seen:?}"
            );
            let mut tx = store.begin_write(late + Duration::seconds(30)).await.unwrap();
            tx.delete_server(&server).await.unwrap();
            tx.commit(Record::Nothing("a test")).await.unwrap();
            store.reconcile_meters(late + Duration::seconds(30)).await.unwrap();
            let seen = store.server_meters(&server).await.unwrap();
            assert!(seen.iter().all(|i| i.ended_at.is_some()), "{}", test.name);
        }
    }
}
