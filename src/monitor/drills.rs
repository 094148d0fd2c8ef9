//! The probe of a failover drill: writes ten times a second as a user does, through the gateway, while the primary
//! changes, and keeps what it saw. It comes by the portal's own certificate: no password of anybody is needed.
//!
//! A measurement lives in the memory of one process alone, which holds the drill by a lease. One that a kill cut off
//! cannot be completed: once the lease is over it is recorded as not measured.

use crate::clock::new_uuid;
use crate::domain::operation::{Operation, OperationStatus};
use crate::domain::server::Server;
use crate::operations::access;
use crate::operations::context::Services;
use crate::operations::ha::drill::PROBE_MAX;
use crate::operations::runner::chain;
use crate::postgres::drill::{DrillWriter, schema_of};
use crate::postgres::{PostgresError, Target};
use crate::store::drills::{DrillResult, Holder, LOST, OpenDrill, PASSED};
use crate::store::{Record, StoreError};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
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

/// How long a drill is held from one renewal on.
const LEASE: chrono::Duration = chrono::Duration::seconds(15);
/// Between two renewals.
const RENEW_EVERY: Duration = Duration::from_secs(3);

/// Runs until `stop` is set.
pub async fn run(services: Arc<Services>, mut stop: watch::Receiver<bool>) {
    let mut progress = services.poke.watch_progress();
    let desk = Desk::new(services);
    let mut probes = JoinSet::new();
    while !*stop.borrow() {
        progress.borrow_and_update();
        if let Err(error) = desk.look(&mut probes).await {
            tracing::warn!(error = %chain(&error), "drills cannot be read");
        }
        while probes.try_join_next().is_some() {}
        tokio::select! {
            _ = progress.changed() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stop.changed() => {}
        }
    }
}

/// What one process does about drills.
#[derive(Clone)]
pub struct Desk {
    services: Arc<Services>,
    /// Of this process alone.
    owner: String,
}

impl Desk {
    /// The desk of a process that has just started.
    pub fn new(services: Arc<Services>) -> Self {
        Self { services, owner: new_uuid() }
    }

    /// Begins to measure drills that nobody has, and ends those whose process is gone.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look(&self, probes: &mut JoinSet<()>) -> Result<(), StoreError> {
        for drill in self.services.store.open_drills(self.services.clock.now()).await? {
            match drill.holder {
                Holder::Somebody => {}
                Holder::Gone => self.keep(&drill, Err(CUT.to_owned())).await,
                Holder::Nobody if self.claim(&drill).await? => {
                    let desk = self.clone();
                    probes.spawn(async move { desk.measure(&drill).await });
                }
                Holder::Nobody => {}
            }
        }
        Ok(())
    }

    async fn claim(&self, drill: &OpenDrill) -> Result<bool, StoreError> {
        let now = self.services.clock.now();
        let store = &self.services.store;
        store.claim_drill(&drill.operation_id, &self.owner, (now, now + LEASE)).await
    }

    /// Measures a drill that this process has and keeps the result, while it has it.
    async fn measure(&self, drill: &OpenDrill) {
        let probe = Probe { services: &self.services, drill };
        tokio::select! {
            measured = timeout(DRILL_MAX, probe.run()) => {
                let late = || Err("Not measured: the drill took longer than 10 minutes.".into());
                self.keep(drill, measured.unwrap_or_else(|_| late())).await;
            }
            () = self.hold(drill) => {}
        }
    }

    /// Ends when the drill is no longer this process's. A store that does not answer has said nothing: then the lease ends.
    async fn hold(&self, drill: &OpenDrill) {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let now = self.services.clock.now();
            let (store, id) = (&self.services.store, &drill.operation_id);
            match store.renew_drill(id, &self.owner, (now, now + LEASE)).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(error = %chain(&error), "a drill could not be held"),
            }
        }
    }

    async fn keep(&self, drill: &OpenDrill, measured: Result<DrillResult, String>) {
        let services = &self.services;
        let nothing = |outcome| DrillResult {
            ended_at: services.clock.now(),
            writes: 0,
            lost: 0,
            gap_micros: None,
            outcome,
        };
        let result = measured.unwrap_or_else(nothing);
        tracing::info!(operation.id = %drill.operation_id, outcome = %result.outcome, "a drill is over");
        if let Err(error) = self.write(drill, &result).await {
            tracing::error!(error = %chain(&error), "the result of a drill could not be kept");
        }
        services.poke.progress();
    }

    async fn write(&self, drill: &OpenDrill, result: &DrillResult) -> Result<(), StoreError> {
        let services = &self.services;
        let mut tx = services.store.begin_write(services.clock.now()).await?;
        tx.end_drill(&drill.operation_id, &self.owner, result).await?;
        tx.commit(Record::Nothing("a measurement; the operation has a line of its own")).await
    }
}

const CUT: &str =
    "Not measured: the process of the portal that measured it ended while the drill ran.";
const TOO_LATE: &str =
    "Not measured: no process of the portal was there to write before the change of primary began.";

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
                        self.refuse_late_begin().await?;
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

    /// The operation has not waited for longer: what was written since tells nothing of the time before.
    async fn refuse_late_begin(&self) -> Result<(), String> {
        let found = self.services.store.operation(&self.drill.operation_id).await;
        let begun = found.ok().flatten().map(|operation| operation.created_at);
        let now = self.services.clock.now();
        let is_in_time = begun.is_some_and(|begun| now - begun < PROBE_MAX);
        if is_in_time { Ok(()) } else { Err(TOO_LATE.into()) }
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
