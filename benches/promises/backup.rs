//! Backup and restore of a server with data that nothing compresses, beside `pg_basebackup` and `cp` of the same data in the
//! same run, and what a running backup does to the clients of the server.

use crate::anchor::{Anchor, as_printed, psql, until_answered};
use crate::pgbench::{self, Load};
use crate::portal::{PASSWORD, PORTS, Portal};
use crate::report::{Promise, Report, Verdict};
use crate::stats::{Times, median, spread, time};
use crate::world::World;
use crate::{Args, machine};
use anyhow::Context;
use pgflex::clock::new_id;
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{BackupType, RestoreTarget};
use pgflex::domain::ids::{GroupId, OperationId, RuleId, ServerId};
use pgflex::domain::names::ServerName;
use pgflex::domain::network::{Access, AddressRange, FirewallRule};
use pgflex::domain::operation::OperationKind;
use pgflex::operations::ask_restore::NewRestore;
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::store::Record;
use std::time::{Duration, Instant};

const SKU: &str = "Standard_D2ds_v5";
/// Aim of a restore, in milliseconds.
const AIM: f64 = 60_000.0;
/// Backups and restores of each sort.
const RUNS: usize = 3;
/// Longest wait for the first backup, which the schedule takes.
const FIRST: Duration = Duration::from_secs(180);
const WRITES: Load = Load { name: "simple-update", options: &["--skip-some-updates"], clients: 8 };

/// The server that is backed up, and how it is reached.
struct Source<'a> {
    portal: &'a Portal,
    id: ServerId,
    port: u16,
    connection: String,
}

pub async fn measure(world: &World, args: &Args, report: &Report) -> anyhow::Result<()> {
    let megabytes = args.backup_megabytes;
    report.heading("backup and restore");
    report.note(&format!(
        "One server of {SKU} with {megabytes} MB of rows that nothing compresses. A backup counts from the submit to the end of \
         the operation, when every file of it was read again; a restore from the submit to the first query that psql gets \
         answered through the gateway with verify-full. Beside it, with the same limits: pg_basebackup of the same rows into \
         another volume, and cp of that copy into a third with a start of PostgreSQL on it. Load before: {}.",
        machine::load()
    ));
    let portal = Portal::start(world, "backup", "runner,monitor,gateway").await?;
    let source = Source::create(&portal).await?;
    fill(&source.connection, megabytes).await?;
    let program = pgbench::program().await?;
    pgbench::initialise(&program, "localhost", source.port).await?;
    let anchor = Anchor::start(world, SKU).await?;
    fill(&anchor.connection, megabytes).await?;

    let (mut full, mut base, mut copies) = (Times::default(), Times::default(), Times::default());
    let (mut latest, mut moment) = (Times::default(), Times::default());
    for run in 0..RUNS {
        full.add(source.back_up(&format!("full-{run}")).await?);
        base.add(anchor.base_backup().await?);
        copies.add(anchor.copy_and_start().await?);
        latest.add(source.restore(&format!("latest-{run}"), RestoreTarget::Latest).await?);
        let at = source.latest().await?;
        moment.add(source.restore(&format!("moment-{run}"), RestoreTarget::Moment { at }).await?);
    }
    anchor.remove().await?;
    let row = |what: &str, times: &Times| vec![what.into(), spread(times), time(times.max())];
    report.table(
        &["", "p50 / p95", "slowest"],
        &[
            row("full backup, read again", &full),
            row("pg_basebackup", &base),
            row("restore to the latest moment", &latest),
            row("restore to a moment", &moment),
            row("cp of the copy, and a start", &copies),
        ],
    );
    tell_sizes(&source, report).await?;
    beside_clients(&source, &program, args, report).await?;
    report.promise(Promise {
        promise: format!("restore of {megabytes} MB to a moment"),
        measured: format!("{} (slowest {})", time(moment.p50()), time(moment.max())),
        anchor: format!("cp of the files and a start: {}", time(copies.p50())),
        ratio: format!("{:.2}", moment.p50() / copies.p50()),
        aim: "<= 60 s".into(),
        verdict: Verdict::of(moment.max() <= AIM),
    });
    report.promise(Promise {
        promise: format!("full backup of {megabytes} MB, verified"),
        measured: format!("{} (slowest {})", time(full.p50()), time(full.max())),
        anchor: format!("pg_basebackup: {}", time(base.p50())),
        ratio: format!("{:.2}", full.p50() / base.p50()),
        aim: "<= 60 s".into(),
        verdict: Verdict::of(full.max() <= AIM),
    });
    Ok(())
}

/// Rows of a kilobyte of hexadecimal digits without a pattern.
async fn fill(connection: &str, megabytes: usize) -> anyhow::Result<()> {
    psql(connection, "CREATE TABLE ballast (id bigint, filler text)").await?;
    let filler =
        "SELECT n, (SELECT string_agg(md5(n::text || m), '') FROM generate_series(1, 31) m)";
    for part in 0..megabytes.div_ceil(100) {
        let (from, to) = (part * 100_000 + 1, (part + 1) * 100_000);
        let rows = format!("INSERT INTO ballast {filler} FROM generate_series({from}, {to}) n");
        psql(connection, &rows).await?;
    }
    Ok(())
}

impl<'a> Source<'a> {
    /// The latest moment that can be restored: what was committed since may be on its way into the repository.
    async fn latest(&self) -> anyhow::Result<chrono::DateTime<chrono::Utc>> {
        let protection = self.portal.store.protection(&self.id).await?;
        protection.window_of(1).latest().context("nothing can be restored")
    }

    /// A server with its first backup, which the schedule takes.
    async fn create(portal: &'a Portal) -> anyhow::Result<Self> {
        let create = portal.create("bench-backup", SKU).await?;
        let id = portal.ended(&create).await?.server_id;
        let port = portal.store.server(&id).await?.context("the server")?.port;
        let begun = Instant::now();
        while portal.store.protection(&id).await?.backups.is_empty() {
            anyhow::ensure!(begun.elapsed() < FIRST, "the first backup did not come");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let connection = as_printed(port, &portal.ca_file()?);
        Ok(Self { portal, id, port, connection })
    }

    async fn back_up(&self, name: &str) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let wanted = (BackupType::Full, name);
        let operation =
            self.portal.door().take_backup(&self.id, wanted, &Actor::system(), None).await?;
        self.portal.ended(&operation).await?;
        Ok(begun.elapsed())
    }

    async fn restore(&self, name: &str, target: RestoreTarget) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let operation = self.submit(name, &target).await?;
        let server = self.portal.operation(&operation).await?.server_id;
        self.admit(&server).await?;
        self.portal.ended(&operation).await?;
        let port = self.portal.store.server(&server).await?.context("the copy")?.port;
        let connection = as_printed(port, &self.portal.ca_file()?);
        until_answered(&format!("127.0.0.1:{port}"), &connection).await?;
        let took = begun.elapsed();
        let rows = psql(&connection, "SELECT count(*) FROM ballast").await?;
        let there = psql(&self.connection, "SELECT count(*) FROM ballast").await?;
        anyhow::ensure!(rows == there, "{name}: {rows} rows of {there}");
        let delete = self.portal.submit(OperationKind::Delete, &server).await?;
        self.portal.ended(&delete).await?;
        Ok(took)
    }

    async fn submit(&self, name: &str, target: &RestoreTarget) -> anyhow::Result<OperationId> {
        let name = ServerName::parse(name).map_err(|why| anyhow::anyhow!(why.text))?;
        let new = NewRestore {
            source: &self.id,
            repository: 1,
            target,
            set: None,
            name: &name,
            zone: "1",
            access: Access::Public,
            network: None,
            admin_verifier: &scram_verifier(&Secret::new(PASSWORD)),
            ports: PORTS,
            idempotency_key: None,
        };
        let (door, group) = (self.portal.door(), GroupId::default_group());
        Ok(door.restore(&group, &self.portal.sealer, &new, &Actor::system()).await?)
    }

    /// A restored server lets nobody in until somebody says so.
    async fn admit(&self, server: &ServerId) -> anyhow::Result<()> {
        let range = AddressRange::parse("127.0.0.1", "")
            .map_err(|refusal| anyhow::anyhow!(refusal.text))?;
        let rule = FirewallRule { id: new_id(RuleId::parse), name: "bench".into(), range };
        let mut tx = self.portal.store.begin_write(self.portal.clock.now()).await?;
        tx.save_firewall_rule(server, &rule).await?;
        Ok(tx.commit(Record::Nothing("a benchmark")).await?)
    }
}

async fn tell_sizes(source: &Source<'_>, report: &Report) -> anyhow::Result<()> {
    let protection = source.portal.store.protection(&source.id).await?;
    let newest = protection.backups.first().context("a backup")?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    report.note(&format!(
        "The newest full backup: {:.0} MiB of data, {:.0} MiB in the repository.",
        mib(newest.bytes),
        mib(newest.stored_bytes)
    ));
    Ok(())
}

/// Transactions each second of clients that write, without a backup and while one after the other is taken.
async fn beside_clients(
    source: &Source<'_>,
    program: &std::path::PathBuf,
    args: &Args,
    report: &Report,
) -> anyhow::Result<()> {
    let run = || pgbench::bench(program, ("localhost", source.port), &WRITES, args.seconds);
    let (mut alone, mut beside) = (vec![], vec![]);
    for round in 0..args.rounds.max(1) {
        alone.push(run().await?.per_second);
        let name = format!("beside-{round}");
        let (figures, backup) = tokio::join!(run(), source.back_up(&name));
        backup?;
        beside.push(figures?.per_second);
        source.forget(&name).await?;
    }
    let (alone, beside) = (median(&alone), median(&beside));
    report.table(
        &["eight clients that write", "transactions/s"],
        &[
            vec!["no backup".into(), format!("{alone:.0}")],
            vec!["a full backup is taken".into(), format!("{beside:.0}")],
            vec!["ratio".into(), format!("{:.2}", beside / alone)],
        ],
    );
    Ok(())
}

impl Source<'_> {
    /// Deletes a backup that was asked for: there may be only so many.
    async fn forget(&self, name: &str) -> anyhow::Result<()> {
        let protection = self.portal.store.protection(&self.id).await?;
        let found = protection.backups.iter().find(|one| one.name == name).context("the backup")?;
        let door = self.portal.door();
        let delete = door.delete_backup(&self.id, &found.label, &Actor::system(), None).await?;
        self.portal.ended(&delete).await.map(|_| ())
    }
}
