//! `make bench`: measures the promises in numbers, each beside an anchor measured in the same run.
//!
//! Real parts only: the release build, a real Docker Engine, a real PostgreSQL, real pgbench and HAProxy.
//! An aim that is missed is printed as missed and is no failure of this program; that something
//! could not be measured is. What is made carries `pgflex.test=1` and is removed at the end, also after
//! Ctrl-C or a panic.

mod anchor;
mod backup;
mod create;
mod docker;
mod gateway;
mod ha;
mod http;
mod machine;
mod pages;
mod paths;
mod pgbench;
mod portal;
mod power;
mod proxies;
mod report;
mod rest;
mod scale;
mod seed;
mod stats;
#[path = "../../tests/common/tail.rs"]
mod tail;
mod world;
mod zones;

use clap::{Parser, ValueEnum};
use report::Report;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use world::World;

/// Measures the promises of pgflex and prints them as tables.
#[derive(Parser, Debug, Clone)]
pub struct Args {
    /// What to measure; everything when none is named.
    #[arg(value_enum)]
    sections: Vec<Section>,
    /// Servers created, each beside one run of the anchor.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// Requests for each page.
    #[arg(long, default_value_t = 2000)]
    requests: usize,
    /// Seconds of one pgbench run.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Rounds of pgbench; in each every path has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Events of each kind on a pair over three zones.
    #[arg(long, default_value_t = 20)]
    failovers: usize,
    /// Size of the data, in megabytes, of a pair whose standby is made from nothing.
    #[arg(long, default_value_t = 1000)]
    rebuild_megabytes: usize,
    /// Size of the data, in megabytes, that is backed up and restored.
    #[arg(long, default_value_t = 1024)]
    backup_megabytes: usize,
    /// Given by `cargo bench`; without it and without a section nothing is measured, so that
    /// `cargo test --all-targets` does not take half an hour.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// Submit to first TLS query; restart; delete.
    Create,
    /// Stop and start.
    Power,
    /// Time without writes while a server gets another size.
    Scale,
    /// Pages with 1,000 servers in the store.
    Pages,
    /// Throughput, latency and CPU of the gateway beside other proxies.
    Gateway,
    /// Memory and CPU of the portal at rest.
    Rest,
    /// Backup and restore beside pg_basebackup and cp.
    Backup,
    /// Time without writes while the primary of a pair changes, over three engines.
    Ha,
}

impl Section {
    const ALL: [Section; 8] = [
        Section::Create,
        Section::Power,
        Section::Scale,
        Section::Pages,
        Section::Gateway,
        Section::Rest,
        Section::Backup,
        Section::Ha,
    ];

    async fn measure(
        self,
        world: Arc<World>,
        args: Args,
        report: Arc<Report>,
    ) -> anyhow::Result<()> {
        match self {
            Section::Create => create::measure(&world, &args, &report).await,
            Section::Power => power::measure(&world, &args, &report).await,
            Section::Scale => scale::measure(&world, &args, &report).await,
            Section::Pages => pages::measure(&world, &args, &report).await,
            Section::Gateway => gateway::measure(&world, &args, &report).await,
            Section::Rest => rest::measure(&world, &report).await,
            Section::Backup => backup::measure(&world, &args, &report).await,
            Section::Ha => ha::measure(&args, report).await,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if !args.bench && args.sections.is_empty() {
        println!("benchmarks run with `make bench`");
        return ExitCode::SUCCESS;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let world = match World::open() {
        Ok(world) => Arc::new(world),
        Err(error) => {
            eprintln!("bench: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let ended = tokio::select! {
        failures = all(&world, &args) => Some(failures),
        () = interrupted() => None,
    };
    world.clean().await;
    match ended {
        Some(0) => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::from(130),
    }
}

/// Measures what was asked for; gives how many sections could not be measured.
async fn all(world: &Arc<World>, args: &Args) -> usize {
    let report = Arc::new(Report::begin(&machine::facts().await));
    let wanted =
        if args.sections.is_empty() { Section::ALL.to_vec() } else { args.sections.clone() };
    let mut failures = 0;
    for section in wanted {
        // A task of its own: a panic in one section is that section's failure.
        let run = section.measure(world.clone(), args.clone(), report.clone());
        let mut task = AbortOnDrop(tokio::spawn(run));
        let failed = match (&mut task.0).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(panic) => Some(panic.to_string()),
        };
        if let Some(why) = failed {
            failures += 1;
            report.note(&format!("NOT MEASURED: the section {section:?} broke off: {why}"));
        }
    }
    report.end();
    failures
}

struct AbortOnDrop(tokio::task::JoinHandle<anyhow::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn interrupted() {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    eprintln!("bench: interrupted, cleaning up");
}
