//! Scale compute: how long a client that writes through the gateway all the while gets nothing written.

use crate::create::stages;
use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::power::add_stages;
use crate::report::{Promise, Report, Verdict};
use crate::stats::{Times, spread, time};
use crate::world::World;
use crate::{Args, machine};
use anyhow::Context;
use pgflex::domain::activity::Actor;
use pgflex::domain::ids::ServerId;
use pgflex::domain::operation::{Operation, OperationKind};
use pgflex::operations::scale::ScaleInput;
use pgflex::operations::submit::Change;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Connection};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Up and down again with a restart; another tier of the same memory without one.
const RESTARTING: [&str; 2] = ["Standard_B2ms", "Standard_B2s"];
const LIVE: [&str; 2] = ["Standard_D2ds_v5", "Standard_B2ms"];
/// Aim in milliseconds.
const AIM: f64 = 3_000.0;
/// Time for writes before and after each scaling.
const CALM: Duration = Duration::from_millis(500);

pub async fn measure(world: &World, args: &Args, report: &Report) -> anyhow::Result<()> {
    report.heading("scale compute: time without writes");
    report.note(&format!(
        "One server and one client that inserts a row, commits and goes on, through the gateway with verify-full; when its \
         connection ends it connects again at once. The longest time between two of its commits, in {} scalings with a \
         restart ({}) and as many without one ({}). Load before: {}.",
        args.runs,
        RESTARTING.join(" and back to "),
        LIVE.join(" and back to "),
        machine::load()
    ));
    let portal = Portal::start(world, "scale", "runner,monitor,gateway").await?;
    let create = portal.create("bench-scale", RESTARTING[1]).await?;
    let id = portal.ended(&create).await?.server_id;
    let writer = Writer::begin(&portal, &id).await?;
    let (mut restarting, mut live) = (Times::default(), Times::default());
    let mut parts: Vec<(String, Times)> = vec![];
    for run in 0..args.runs.max(1) {
        let (gap, ended) = writer.gap_of(&portal, &id, RESTARTING[run % 2]).await?;
        restarting.add(gap);
        add_stages(&mut parts, stages(&portal, &ended).await?);
    }
    if portal.store.server(&id).await?.context("the server")?.spec.sku != LIVE[1] {
        scale(&portal, &id, LIVE[1]).await?;
    }
    for run in 0..args.runs.max(1) {
        live.add(writer.gap_of(&portal, &id, LIVE[run % 2]).await?.0);
    }
    let row = |what: &str, times: &Times| vec![what.into(), spread(times), time(times.max())];
    report.table(
        &["", "without writes p50 / p95", "longest"],
        &[row("with a restart", &restarting), row("without", &live)],
    );
    let rows = parts.iter().map(|(name, times)| vec![name.clone(), spread(times)]);
    report.table(&["with a restart", "p50 / p95"], &rows.collect::<Vec<_>>());
    for (what, times) in [("with a restart", &restarting), ("without a restart", &live)] {
        report.promise(Promise {
            promise: format!("scale compute {what}: time without writes"),
            measured: format!("{} (p95 {})", time(times.p50()), time(times.p95())),
            anchor: "managed clouds: 40 to 60 s".into(),
            ratio: "-".into(),
            aim: "<= 3 s".into(),
            verdict: Verdict::of(times.p95() <= AIM),
        });
    }
    Ok(())
}

async fn scale(portal: &Portal, server: &ServerId, to: &str) -> anyhow::Result<Operation> {
    let change = Change::new(OperationKind::Scale, "", &ScaleInput { to: to.into() });
    let id = portal.door().submit_change(change, server, &Actor::system(), None).await?;
    portal.ended(&id).await
}

/// A client that writes until it is dropped.
struct Writer {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

/// The last commit, and the longest time between two since somebody looked.
struct Seen {
    last: Instant,
    longest: Duration,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    async fn begin(portal: &Portal, server: &ServerId) -> anyhow::Result<Self> {
        let port = portal.store.server(server).await?.context("the server")?.port;
        let options = PgConnectOptions::new_without_pgpass()
            .host("localhost")
            .port(port)
            .username(ADMIN)
            .password(PASSWORD)
            .database("postgres")
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(portal.ca_file()?);
        let mut connection = options.connect().await?;
        sqlx::query("CREATE TABLE written (at timestamptz)").execute(&mut connection).await?;
        let seen = Arc::new(Mutex::new(Seen { last: Instant::now(), longest: Duration::ZERO }));
        let task = tokio::spawn(write(options, connection, seen.clone()));
        Ok(Self { seen, task })
    }

    /// The longest time without a commit around one scaling.
    async fn gap_of(
        &self,
        portal: &Portal,
        id: &ServerId,
        to: &str,
    ) -> anyhow::Result<(Duration, Operation)> {
        tokio::time::sleep(CALM).await;
        self.take_longest();
        let ended = scale(portal, id, to).await?;
        tokio::time::sleep(CALM).await;
        Ok((self.take_longest(), ended))
    }

    /// Starts anew; what lasts until now counts.
    fn take_longest(&self) -> Duration {
        let Ok(mut seen) = self.seen.lock() else { return Duration::ZERO };
        let longest = seen.longest.max(seen.last.elapsed());
        seen.longest = Duration::ZERO;
        longest
    }
}

async fn write(options: PgConnectOptions, first: PgConnection, seen: Arc<Mutex<Seen>>) {
    let mut connection = Some(first);
    loop {
        let Some(open) = connection.as_mut() else {
            connection = options.connect().await.ok();
            if connection.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            continue;
        };
        let written = sqlx::query("INSERT INTO written VALUES (now())").execute(open).await;
        if written.is_err() {
            if let Some(broken) = connection.take() {
                drop(broken.close_hard().await);
            }
            continue;
        }
        if let Ok(mut seen) = seen.lock() {
            let gap = seen.last.elapsed();
            seen.longest = seen.longest.max(gap);
            seen.last = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
