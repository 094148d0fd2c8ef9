//! The probe of a failover drill: writes ten times a second as a user does, through the gateway, while the primary
//! changes, and keeps what it saw. It comes by the portal's own certificate: no password of anybody is needed.
//!
//! A measurement lives in the memory of this process alone. One that a kill cut off cannot be completed, and is
//! recorded as not measured.

use crate::domain::operation::{Operation, OperationStatus};
use crate::domain::server::Server;
use crate::operations::access;
use crate::operations::context::Services;
use crate::operations::runner::chain;
use crate::postgres::drill::{DrillWriter, schema_of};
use crate::postgres::{PostgresError, Target};
use crate::store::drills::{DrillResult, LOST, OpenDrill, PASSED};
use crate::store::{Record, StoreError};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(100);
/// Between two tries to get a session.
const AGAIN: Duration = Duration::from_millis(25);
/// Between two looks for drills when no operation of this process moves.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it goes on writing after the operation has ended.
const AFTER: Duration = Duration::from_secs(1);
/// Longest wait for a write after the operation has ended.
const AFTER_MAX: Duration = Duration::from_secs(30);
/// A drill that takes longer is no drill any more.
const DRILL_MAX: Duration = Duration::from_secs(600);

/// Runs until `stop` is set.
pub async fn run(services: Arc<Services>, mut stop: watch::Receiver<bool>) {
    let mut progress = services.poke.watch_progress();
    let mut known = HashSet::new();
    let mut probes = tokio::task::JoinSet::new();
    let mut is_first = true;
    while !*stop.borrow() {
        progress.borrow_and_update();
        match services.store.open_drills().await {
            Ok(open) => {
                for drill in open.into_iter().filter(|one| known.insert(one.operation_id.clone())) {
                    probes.spawn(measure(services.clone(), drill, is_first));
                }
                is_first = false;
            }
            Err(error) => tracing::warn!(error = %chain(&error), "drills cannot be read"),
        }
        while probes.try_join_next().is_some() {}
        tokio::select! {
            _ = progress.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.changed() => {}
        }
    }
}

/// What a probe saw.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: Vec<i64>,
    last: Option<Duration>,
    longest: Duration,
    /// No write was acknowledged after the operation had ended.
    never_again: bool,
}

impl Tally {
    /// A write was acknowledged at this time of the run.
    fn add(&mut self, id: i64, at: Duration) {
        self.longest = self.longest.max(at.saturating_sub(self.last.unwrap_or(at)));
        self.last = Some(at);
        self.acknowledged.push(id);
    }

    /// Nothing was acknowledged any more until this time: then the wait is as long as was looked, and longer.
    fn give_up(&mut self, at: Duration) {
        self.never_again = true;
        self.longest = self.longest.max(at.saturating_sub(self.last.unwrap_or_default()));
    }

    fn lost(&self, there: &[i64]) -> usize {
        let there: HashSet<&i64> = there.iter().collect();
        self.acknowledged.iter().filter(|id| !there.contains(id)).count()
    }
}

/// Measures one drill and keeps the result; `is_cut` is one that another process began.
async fn measure(services: Arc<Services>, drill: OpenDrill, is_cut: bool) {
    let measured = if is_cut {
        Err("Not measured: the portal was started again while the drill ran.".to_owned())
    } else {
        let probe = Probe { services: &services, drill: &drill };
        timeout(DRILL_MAX, probe.run())
            .await
            .unwrap_or_else(|_| Err("Not measured: the drill took longer than 10 minutes.".into()))
    };
    let nothing = |outcome| DrillResult {
        ended_at: services.clock.now(),
        writes: 0,
        lost: 0,
        gap_micros: None,
        outcome,
    };
    let result = measured.unwrap_or_else(nothing);
    tracing::info!(operation.id = %drill.operation_id, outcome = %result.outcome, "a drill is over");
    if let Err(error) = keep(&services, &drill, &result).await {
        tracing::error!(error = %chain(&error), "the result of a drill could not be kept");
    }
    services.poke.progress();
}

async fn keep(
    services: &Services,
    drill: &OpenDrill,
    result: &DrillResult,
) -> Result<(), StoreError> {
    let mut tx = services.store.begin_write(services.clock.now()).await?;
    tx.end_drill(&drill.operation_id, result).await?;
    tx.commit(Record::Nothing("a measurement; the operation has a line of its own")).await
}

struct Probe<'a> {
    services: &'a Arc<Services>,
    drill: &'a OpenDrill,
}

impl Probe<'_> {
    /// The whole measurement.
    ///
    /// # Errors
    /// A sentence that says why there is none.
    async fn run(&self) -> Result<DrillResult, String> {
        let server = self.services.store.server(&self.drill.server_id).await;
        let server = server.map_err(|error| format!("Not measured: {error}."))?;
        let server = server.ok_or("Not measured: the server is gone.")?;
        let target = self.target(&server).await?;
        let schema = schema_of(self.drill.operation_id.short());
        let postgres = &self.services.postgres;
        postgres.make_drill(&target, &schema).await.map_err(|error| refused(&error))?;
        let (tally, operation) = self.write(&target, &schema).await?;
        let there = self.read_again(&target, &schema).await?;
        if let Err(error) = postgres.remove_drill(&target, &schema).await {
            tracing::warn!(%error, "a drill's table is removed by the next drill");
        }
        Ok(self.result(&tally, &there, operation.status))
    }

    /// The way in that users have.
    async fn target(&self, server: &Server) -> Result<Target, String> {
        let host = self.services.settings.endpoint_host.as_str();
        let addresses = tokio::net::lookup_host((host, server.port)).await;
        let addresses: Vec<SocketAddr> = addresses.map(Iterator::collect).unwrap_or_default();
        for address in addresses {
            if matches!(timeout(AFTER, TcpStream::connect(address)).await, Ok(Ok(_))) {
                return access::target(self.services, server, address)
                    .await
                    .map_err(|error| format!("Not measured: {error}."));
            }
        }
        Err(format!(
            "Not measured: the portal itself does not reach the server's endpoint {host}:{}.",
            server.port
        ))
    }

    /// Writes until the operation is over and a write after it was acknowledged.
    async fn write(&self, target: &Target, schema: &str) -> Result<(Tally, Operation), String> {
        let (begun, mut tally, mut id) = (Instant::now(), Tally::default(), 0);
        let mut writer: Option<Box<dyn DrillWriter>> = None;
        let mut over: Option<(Instant, Operation)> = None;
        loop {
            let tick = Instant::now();
            match self.write_once(&mut writer, (target, schema), id).await {
                Ok(()) => {
                    tally.add(id, begun.elapsed());
                    id += 1;
                    if id == 1 {
                        self.note_begin().await;
                    }
                    tokio::time::sleep_until(tick + WRITE_EVERY).await;
                }
                Err(error @ PostgresError::Refused(_)) if id == 0 => return Err(refused(&error)),
                Err(_) => {
                    id += 1;
                    tokio::time::sleep(AGAIN).await;
                }
            }
            if over.is_none() {
                over = self.ended().await.map(|operation| (Instant::now(), operation));
            }
            if let Some((since, operation)) = &over {
                let wrote_after = tally.last.is_some_and(|last| begun + last > *since + AFTER);
                let is_over = since.elapsed() > AFTER_MAX;
                if is_over && !wrote_after {
                    tally.give_up(begun.elapsed());
                }
                if wrote_after || is_over {
                    return Ok((tally, operation.clone()));
                }
            }
        }
    }

    /// A write whose answer is lost is not tried again: its id is used up.
    async fn write_once(
        &self,
        writer: &mut Option<Box<dyn DrillWriter>>,
        (target, schema): (&Target, &str),
        id: i64,
    ) -> Result<(), PostgresError> {
        let mut session = match writer.take() {
            Some(session) => session,
            None => self.services.postgres.drill_writer(target, schema).await?,
        };
        session.write(id).await?;
        *writer = Some(session);
        Ok(())
    }

    /// The operation waits for this before it stops anything.
    async fn note_begin(&self) {
        let noted = async {
            let mut tx = self.services.store.begin_write(self.services.clock.now()).await?;
            tx.note_drill_writes(&self.drill.operation_id, 1).await?;
            tx.commit(Record::Nothing("a mark for the operation that waits for it")).await
        };
        if let Err(error) = noted.await {
            tracing::warn!(error = %chain(&error), "the begin of a drill's writes was not noted");
        }
    }

    /// The operation, when it has ended. A store that does not answer has said nothing.
    async fn ended(&self) -> Option<Operation> {
        let found = self.services.store.operation(&self.drill.operation_id).await;
        found.ok().flatten().filter(|operation| operation.status.is_settled())
    }

    async fn read_again(&self, target: &Target, schema: &str) -> Result<Vec<i64>, String> {
        let begun = Instant::now();
        loop {
            match self.services.postgres.drill_rows(target, schema).await {
                Ok(rows) => return Ok(rows),
                Err(error) if begun.elapsed() > AFTER_MAX => {
                    return Err(format!("Not measured: what was written cannot be read: {error}."));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    fn result(&self, tally: &Tally, there: &[i64], status: OperationStatus) -> DrillResult {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let lost = tally.lost(there);
        let outcome = match (lost, status) {
            (1.., _) => LOST.to_owned(),
            (0, OperationStatus::Succeeded) if tally.never_again => format!(
                "No write was acknowledged within {} s after the change of primary; the time without writes is longer than this. No write was lost.",
                AFTER_MAX.as_secs()
            ),
            (0, OperationStatus::Succeeded) => PASSED.to_owned(),
            (0, status) => format!(
                "The change of primary did not succeed ({}); no write was lost.",
                status.label()
            ),
        };
        DrillResult {
            ended_at: self.services.clock.now(),
            writes: count(tally.acknowledged.len()),
            lost: count(lost),
            gap_micros: i64::try_from(tally.longest.as_micros()).ok(),
            outcome,
        }
    }
}

fn refused(error: &PostgresError) -> String {
    format!(
        "Not measured: {error}. The probe comes from the portal's own address: a firewall rule of the server must admit it."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_has_the_longest_time_between_two_acknowledgements_and_what_is_missing() {
        let mut tally = Tally::default();
        for (id, at) in [(0, 50), (1, 150), (4, 1_150), (5, 1_250)] {
            tally.add(id, Duration::from_millis(at));
        }
        assert_eq!(tally.longest, Duration::from_secs(1));
        assert_eq!(tally.lost(&[0, 1, 2, 4, 5]), 0, "an answer that was lost is no loss");
        assert_eq!(tally.lost(&[0, 2, 5]), 2);
        assert_eq!(Tally::default().longest, Duration::ZERO);
        tally.give_up(Duration::from_secs(40));
        assert_eq!(
            tally.longest,
            Duration::from_millis(38_750),
            "an end without a write is no short gap"
        );
    }
}
