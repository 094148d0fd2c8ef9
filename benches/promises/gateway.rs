//! Throughput, latency and CPU of the ways to one server: direct, our gateway, HAProxy, the engine's port proxy.

use crate::pgbench::{self, Figures, LOADS, Load};
use crate::portal::Portal;
use crate::proxies::{Way, docker_proxy, haproxy, listens};
use crate::report::{Promise, Report, Verdict};
use crate::stats::median;
use crate::world::World;
use crate::{Args, machine};
use anyhow::Context;
use pgflex::domain::operation::OperationKind;
use pgflex::domain::server::Server;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Two vCores: the server is not held below what this machine gives.
const SKU: &str = "Standard_B2s";
/// Cores from which client, proxy and server have some of their own.
const CORES_ENOUGH: usize = 6;
const DIRECT: usize = 0;
const OURS: usize = 1;

/// Every round of one way under one load.
#[derive(Default, Clone)]
struct Rounds {
    per_second: Vec<f64>,
    latency_ms: Vec<f64>,
    cpu_ms_per_thousand: Vec<f64>,
}

impl Rounds {
    fn add(&mut self, figures: Figures, cpu_seconds: Option<f64>) {
        self.per_second.push(figures.per_second);
        self.latency_ms.push(figures.latency_ms);
        // Seconds for each transaction times 1,000 transactions times 1,000 milliseconds.
        self.cpu_ms_per_thousand.extend(cpu_seconds.map(|cpu| cpu / figures.transactions * 1e6));
    }
}

pub async fn measure(world: &World, args: &Args, report: &Report) -> anyhow::Result<()> {
    report.heading("gateway: pgbench over TLS");
    let program = pgbench::program().await?;
    let portal = Portal::start(world, "gateway", "runner,monitor").await?;
    let (server, target) = server(&portal).await?;
    let ways = ways(world, &portal, &server, target).await?;
    pgbench::initialise(&program, &target.ip().to_string(), target.port()).await?;
    report.note(&format!(
        "One server of {SKU}, PostgreSQL 17, scale 10, sslmode=require everywhere, pgbench of {}. {} s a run, {} rounds, in each every way has \
         its turn; medians of the rounds. The gateway is `pgflex serve --roles gateway`, a process of its own. docker-proxy is \
         started as the engine starts it for a published port, but in front of the same server: members publish none. HAProxy 2 as \
         it comes, TCP mode. CPU is user + system of the process in between. Load before: {}.",
        crate::docker::output("pgbench", &["--version"]).await.unwrap_or_default(), args.seconds, args.rounds, machine::load()
    ));
    let warm = Load { name: "warm-up", options: &["--select-only"], clients: 4 };
    pgbench::bench(&program, (&ways[DIRECT].host, ways[DIRECT].port), &warm, 3).await?;
    let mut all = vec![];
    for load in &LOADS {
        all.push(under(&program, load, &ways, args).await?);
    }
    print(report, &ways, &all);
    drop(ways);
    let id = portal.submit(OperationKind::Delete, &server.id).await?;
    portal.ended(&id).await.map(|_| ())
}

async fn server(portal: &Portal) -> anyhow::Result<(Server, SocketAddr)> {
    let id = portal.create("bench-gateway", SKU).await?;
    let operation = portal.ended(&id).await?;
    let server = portal.store.server(&operation.server_id).await?.context("the server")?;
    let snapshot = portal.store.route_snapshot("bench").await?;
    let route = snapshot.routes.into_iter().find(|route| route.server_id == server.id);
    let target = route.and_then(|route| route.target).context("the server has no route")?;
    Ok((server, target))
}

async fn ways(
    world: &World,
    portal: &Portal,
    server: &Server,
    target: SocketAddr,
) -> anyhow::Result<Vec<Way>> {
    let gateway = portal.spawn("gateway")?;
    listens(server.port).await.context("the gateway")?;
    let here = || "127.0.0.1".to_owned();
    let direct =
        Way { name: "direct", host: target.ip().to_string(), port: target.port(), process: None };
    let ours =
        Way { name: "pgflex gateway", host: here(), port: server.port, process: Some(gateway) };
    Ok(vec![direct, ours, haproxy(world, target).await?, docker_proxy(target).await?])
}

/// All ways under one load, round by round; who begins changes, so that nobody always comes after the same.
async fn under(
    program: &PathBuf,
    load: &Load,
    ways: &[Way],
    args: &Args,
) -> anyhow::Result<Vec<Rounds>> {
    let mut all = vec![Rounds::default(); ways.len()];
    for round in 0..args.rounds.max(1) {
        for turn in 0..ways.len() {
            let at = (round + turn) % ways.len();
            let way = &ways[at];
            let cpu = || way.pid().map(machine::cpu_seconds).transpose();
            let before = cpu()?;
            let figures = pgbench::bench(program, (&way.host, way.port), load, args.seconds).await;
            let figures = figures.with_context(|| format!("{} by {}", load.name, way.name))?;
            let used = cpu()?.zip(before).map(|(after, before)| after - before);
            all[at].add(figures, used);
        }
    }
    Ok(all)
}

fn print(report: &Report, ways: &[Way], all: &[Vec<Rounds>]) {
    let mut rows = vec![];
    for (load, rounds) in LOADS.iter().zip(all) {
        let direct = median(&rounds[DIRECT].per_second);
        for (way, rounds) in ways.iter().zip(rounds) {
            let cpu = &rounds.cpu_ms_per_thousand;
            let range = |values: &[f64]| {
                let (low, high) =
                    values.iter().fold((f64::MAX, 0.0_f64), |(l, h), v| (l.min(*v), h.max(*v)));
                format!("{low:.0} - {high:.0}")
            };
            rows.push(vec![
                load.name.to_owned(),
                load.clients.to_string(),
                way.name.to_owned(),
                format!("{:.0}", median(&rounds.per_second)),
                range(&rounds.per_second),
                format!("{:.2} ms", median(&rounds.latency_ms)),
                format!("{:.2}", median(&rounds.per_second) / direct),
                if cpu.is_empty() { "-".into() } else { format!("{:.4} s", median(cpu) / 1e3) },
            ]);
        }
    }
    let head = [
        "load",
        "clients",
        "way",
        "tps",
        "tps, all rounds",
        "latency",
        "to direct",
        "CPU / 1,000 tx",
    ];
    report.table(&head, &rows);
    promises(report, ways, all);
}

/// The mean over all loads of ours to another's, each load counting the same.
fn mean_ratio(all: &[Vec<Rounds>], at: usize, figure: impl Fn(&Rounds) -> f64) -> f64 {
    let logs = all.iter().map(|rounds| (figure(&rounds[OURS]) / figure(&rounds[at])).ln());
    (logs.sum::<f64>() / all.len() as f64).exp()
}

/// Throughput beside another way: of the medians, and the lowest and highest of single rounds. Where
/// one is on the other side of an aim than the other, this run cannot tell them apart.
fn throughput(all: &[Vec<Rounds>], at: usize) -> (f64, String) {
    let middle = mean_ratio(all, at, |rounds| median(&rounds.per_second));
    let count = all.first().map_or(0, |rounds| rounds[OURS].per_second.len());
    let single: Vec<f64> =
        (0..count).map(|round| mean_ratio(all, at, |rounds| rounds.per_second[round])).collect();
    let low = single.iter().copied().fold(f64::MAX, f64::min);
    let high = single.iter().copied().fold(0.0, f64::max);
    (middle, format!("throughput {middle:.2} (rounds {low:.2} - {high:.2})"))
}

fn promises(report: &Report, ways: &[Way], all: &[Vec<Rounds>]) {
    for (at, way) in ways.iter().enumerate().skip(OURS + 1) {
        let (tps, words) = throughput(all, at);
        let cpu = mean_ratio(all, at, |rounds| median(&rounds.cpu_ms_per_thousand));
        report.promise(Promise {
            promise: format!("gateway beside {}", way.name),
            measured: format!("{words}, CPU per transaction {cpu:.2} of its"),
            anchor: way.name.into(),
            ratio: format!("{tps:.2}"),
            aim: "ahead (> 1)".into(),
            verdict: Verdict::of(tps > 1.0),
        });
    }
    let (direct, words) = throughput(all, DIRECT);
    let enough = machine::cores() >= CORES_ENOUGH;
    report.promise(Promise {
        promise: "gateway beside a direct connection".into(),
        measured: format!(
            "{words}, on {} cores shared by client, gateway and server",
            machine::cores()
        ),
        anchor: "direct".into(),
        ratio: format!("{direct:.2}"),
        aim: ">= 0.9 with cores of its own".into(),
        verdict: if enough { Verdict::of(direct >= 0.9) } else { Verdict::NotMeasurable },
    });
    report.note(&format!(
        "Ratios in the summary are geometric means over the loads. Client, proxy and server share {} cores here: what a proxy uses is \
         taken from the server, so throughput beside direct says nothing about cores of its own; CPU per transaction does.",
        machine::cores()
    ));
}
