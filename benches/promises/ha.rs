//! High availability on three engines: how long clients that write all the while, through the gateway, get nothing written.

use crate::report::{Promise, Report, Verdict};
use crate::stats::{Times, spread, time};
use crate::zones::checker::Checker;
use crate::zones::engines::Zones;
use crate::zones::pair::Pair;
use crate::zones::portal::Portal;
use crate::zones::tricks;
use crate::{Args, machine};
use pgflex::domain::ha::{MemberRole, ReplicationState};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two writes of one of the eight clients.
const PAUSE: Duration = Duration::from_millis(15);
/// Time for writes before each fault.
const CALM: Duration = Duration::from_secs(1);
/// Standbys made from nothing.
const REBUILDS: usize = 5;

#[derive(Clone, Copy)]
enum Event {
    Planned,
    Killed,
    Lost,
    StandbyKilled,
    StandbyLost,
}

impl Event {
    const ALL: [Event; 5] =
        [Event::Planned, Event::Killed, Event::Lost, Event::StandbyKilled, Event::StandbyLost];

    fn name(self) -> &'static str {
        match self {
            Event::Planned => "planned failover",
            Event::Killed => "primary killed",
            Event::Lost => "zone of the primary lost",
            Event::StandbyKilled => "standby killed",
            Event::StandbyLost => "zone of the standby lost",
        }
    }

    /// Aim in milliseconds.
    fn aim(self) -> f64 {
        match self {
            Event::Planned => 1_000.0,
            Event::Killed => 2_000.0,
            Event::Lost => 8_000.0,
            Event::StandbyKilled | Event::StandbyLost => 3_000.0,
        }
    }

    fn anchor(self) -> &'static str {
        match self {
            Event::Planned => "Azure Flexible Server: no figure",
            Event::Killed | Event::Lost => "Azure Flexible Server: 60 to 120 s",
            Event::StandbyKilled | Event::StandbyLost => "Patroni by default: up to 30 s",
        }
    }

    /// Of a lost standby half as many tell as much, and the whole stays within a quarter of an hour.
    fn runs(self, failovers: usize) -> usize {
        match self {
            Event::Planned | Event::Killed | Event::Lost => failovers,
            Event::StandbyKilled | Event::StandbyLost => failovers.div_ceil(2),
        }
    }

    async fn happen(self, pair: &Pair) {
        let zones = pair.zones();
        let primary = pair.place(MemberRole::Primary).await;
        match self {
            Event::Planned => pair.switch_over().await,
            Event::Killed => zones.kill_container(primary.zone, &primary.container),
            Event::Lost => {
                let epoch = pair.row().await.epoch;
                zones.lose(primary.zone);
                pair.changes(epoch, self.name()).await;
                tokio::time::sleep(CALM).await;
                zones.restore(primary.zone);
            }
            Event::StandbyKilled => {
                let standby = pair.place(MemberRole::Standby).await;
                zones.kill_container(standby.zone, &standby.container);
            }
            Event::StandbyLost => {
                let standby = pair.place(MemberRole::Standby).await;
                zones.lose(standby.zone);
                pair.leaves(ReplicationState::Sync, self.name()).await;
                tokio::time::sleep(CALM).await;
                zones.restore(standby.zone);
            }
        }
    }
}

/// What one kind of event cost.
struct Cost {
    event: Event,
    runs: usize,
    gaps: Times,
    healthy: Times,
    acknowledged: usize,
}

pub async fn measure(args: &Args, report: Arc<Report>) -> anyhow::Result<()> {
    let runs = args.failovers.max(1);
    report.heading("high availability: time without writes");
    report.note(&format!(
        "A zone-redundant server of Standard_D2ds_v5 over three engines on this machine. Eight clients insert a row, commit \
         and go on, through the gateway with verify-full, and connect again at once when their connection ends. The longest \
         time without a commit of any of them around each of {runs} events of a kind (half as many of a lost standby); healthy is the time from the event \
         (of a lost zone: from its return) until commits are on two hosts again. Every acknowledged commit was looked for \
         afterwards. Load before: {}.",
        machine::load()
    ));
    // What drives the zones waits for programs: it has a thread of its own.
    let handle = tokio::runtime::Handle::current();
    let (table, megabytes) = (report.clone(), args.rebuild_megabytes);
    tokio::task::spawn_blocking(move || handle.block_on(all(runs, megabytes, &table))).await?
}

async fn all(runs: usize, megabytes: usize, report: &Report) -> anyhow::Result<()> {
    // The zones take their image from the engine of this machine.
    let program = env!("CARGO_BIN_EXE_pgflex");
    let made = Command::new(program).args(["image", "ensure", "17"]).status()?;
    anyhow::ensure!(made.success(), "the image of PostgreSQL 17 cannot be made");
    let zones = Arc::new(Zones::up(3));
    let portal = Portal::start(&zones).await;
    let begun = Instant::now();
    let pair = Pair::create(portal, "bench-ha").await;
    report.note(&format!(
        "Created zone redundant, with the image in one zone of two, and healthy after {:.1} s.",
        begun.elapsed().as_secs_f64()
    ));
    let mut costs = vec![];
    for event in Event::ALL {
        let cost = cost(&pair, event, event.runs(runs)).await?;
        // At once: a section that breaks off later has told what it knew.
        eprintln!("{}, {} times: {} without writes", event.name(), cost.runs, spread(&cost.gaps));
        costs.push(cost);
    }
    tell(&costs, report);
    rebuild(&pair, megabytes, report).await?;
    pair.portal.finish().await;
    Ok(())
}

/// Times of a standby made from nothing: the container and the volume of the one before are removed.
async fn rebuild(pair: &Pair, megabytes: usize, report: &Report) -> anyhow::Result<()> {
    let psql = async |sql: &str| {
        pair.portal.psql(&pair.server, sql).await.map_err(|why| anyhow::anyhow!("{sql}: {why}"))
    };
    psql("CREATE TABLE ballast (id bigint, filler text)").await?;
    // A row of a kilobyte that nothing compresses.
    let filler =
        "SELECT n, (SELECT string_agg(md5(n::text || m), '') FROM generate_series(1, 31) m)";
    for part in 0..megabytes.div_ceil(100) {
        let (from, to) = (part * 100_000 + 1, (part + 1) * 100_000);
        psql(&format!("INSERT INTO ballast {filler} FROM generate_series({from}, {to}) n")).await?;
    }
    psql("CHECKPOINT").await?;
    let size = psql("SELECT pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database").await?;
    let mut times = Times::default();
    for _ in 0..REBUILDS {
        pair.healthy("the standby before").await;
        let standby = pair.place(MemberRole::Standby).await;
        let begun = Instant::now();
        tricks::remove_with_volume(pair.zones(), &standby);
        pair.leaves(ReplicationState::Sync, "its standby was removed").await;
        pair.reaches(ReplicationState::Sync, "its standby was removed").await;
        times.add(begun.elapsed());
    }
    report.table(
        &["standby made from nothing", "databases", "runs", "p50", "longest"],
        &[vec![
            "from its removal until commits are on two hosts again".into(),
            size,
            REBUILDS.to_string(),
            time(times.p50()),
            time(times.max()),
        ]],
    );
    Ok(())
}

async fn cost(pair: &Pair, event: Event, runs: usize) -> anyhow::Result<Cost> {
    let checker = Checker::start(pair.endpoint().await, PAUSE).await?;
    let (mut windows, mut healthy) = (vec![], Times::default());
    for _ in 0..runs {
        tokio::time::sleep(CALM).await;
        pair.forget_failovers().await;
        let from = checker.now();
        event.happen(pair).await;
        healthy.add(pair.healthy(event.name()).await);
        windows.push((from, checker.now()));
    }
    let verdict = checker.finish().await?;
    anyhow::ensure!(
        verdict.anomalies.is_empty(),
        "{}: {} anomalies, all that was seen is in {:?}",
        event.name(),
        verdict.anomalies.len(),
        verdict.file
    );
    let gaps = windows.iter().map(|(from, to)| verdict.longest_gap(*from, *to)).collect();
    Ok(Cost { event, runs, gaps, healthy, acknowledged: verdict.acknowledged })
}

fn tell(costs: &[Cost], report: &Report) {
    let row = |cost: &Cost| {
        vec![
            cost.event.name().to_owned(),
            cost.runs.to_string(),
            spread(&cost.gaps),
            time(cost.gaps.max()),
            spread(&cost.healthy),
            cost.acknowledged.to_string(),
            "0".to_owned(),
        ]
    };
    report.table(
        &[
            "",
            "runs",
            "without writes p50 / p95",
            "longest",
            "healthy p50 / p95",
            "commits",
            "lost",
        ],
        &costs.iter().map(row).collect::<Vec<_>>(),
    );
    for cost in costs {
        report.promise(Promise {
            promise: format!("{}: time without writes", cost.event.name()),
            measured: format!("{} (p95 {})", time(cost.gaps.p50()), time(cost.gaps.p95())),
            anchor: cost.event.anchor().into(),
            ratio: "-".into(),
            aim: format!("<= {}", time(cost.event.aim())),
            verdict: Verdict::of(cost.gaps.p95() <= cost.event.aim()),
        });
    }
}
