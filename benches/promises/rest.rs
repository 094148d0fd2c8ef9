//! Memory and CPU of the whole portal when nobody uses it.

use crate::http::{Client, sign_up};
use crate::machine;
use crate::paths;
use crate::portal::Portal;
use crate::proxies::listens;
use crate::report::{Promise, Report, Verdict};
use crate::seed::{self, Seeded};
use crate::world::World;
use anyhow::Context;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

const SERVERS: usize = 100;
const WATCH: Duration = Duration::from_secs(30);
/// Time from a start to rest.
const CALM_DOWN: Duration = Duration::from_secs(5);
const MEMORY_AIM_MIB: f64 = 80.0;
const CPU_AIM_PERCENT: f64 = 2.0;

struct Rest {
    when: &'static str,
    memory_mib: f64,
    memory_max_mib: f64,
    cpu_percent: f64,
}

pub async fn measure(world: &World, report: &Report) -> anyhow::Result<()> {
    report.heading(&format!("rest: the whole portal with {SERVERS} servers in the store"));
    let (portal, app) = Portal::open(world, "rest").await?;
    let seeded = seed::fill(&portal, SERVERS).await?;
    drop(app);
    let mut process = portal.spawn("web,runner,monitor,gateway")?;
    let link = link(&mut process).await?;
    listens(portal.config.args.listen.port()).await?;
    tokio::time::sleep(CALM_DOWN).await;
    let pid = process.id().context("the portal ended")?;
    let fresh = watch(pid, "after the start").await?;
    visit(&portal, &link, &seeded).await?;
    tokio::time::sleep(CALM_DOWN).await;
    let used = watch(pid, "after a sign-up and 20 visits of every page").await?;
    print(report, &[fresh, used]);
    Ok(())
}

/// The set-up link that the start prints. Its output is read on, so that it never blocks.
async fn link(process: &mut Child) -> anyhow::Result<String> {
    let output = process.stdout.take().context("no output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(at) = line.find("http").filter(|_| line.contains("/setup/")) {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(line[at..].to_owned());
        }
    }
    anyhow::bail!("the portal ended before it printed its link")
}

async fn visit(portal: &Portal, link: &str, seeded: &Seeded) -> anyhow::Result<()> {
    let mut client = Client::connect(portal.config.args.listen).await?;
    sign_up(&mut client, link).await?;
    for _ in 0..20 {
        for path in paths::all(seeded).0 {
            client.get(&path).await.with_context(|| path.clone())?;
        }
    }
    Ok(())
}

async fn watch(pid: u32, when: &'static str) -> anyhow::Result<Rest> {
    let before = machine::cpu_seconds(pid)?;
    tokio::time::sleep(WATCH).await;
    let used = machine::cpu_seconds(pid)? - before;
    let (memory_mib, memory_max_mib) = machine::memory_mib(pid)?;
    Ok(Rest { when, memory_mib, memory_max_mib, cpu_percent: used / WATCH.as_secs_f64() * 100.0 })
}

fn print(report: &Report, rests: &[Rest]) {
    report.note(&format!(
        "All roles in one release process, SQLite, engine reachable, {} s watched each time. Not running: the {SERVERS} servers. They are rows with \
         members, routes (their ports are open) and a past; the monitor asks the engine for each container every 15 s and is told that there is \
         none, so its query to each PostgreSQL is not in these figures, nor is any client's connection.",
        WATCH.as_secs()
    ));
    let row = |rest: &Rest| {
        vec![
            rest.when.to_owned(),
            format!("{:.1} MiB", rest.memory_mib),
            format!("{:.1} MiB", rest.memory_max_mib),
            format!("{:.2} %", rest.cpu_percent),
        ]
    };
    report.table(
        &["", "resident", "highest so far", "CPU of one core"],
        &rests.iter().map(row).collect::<Vec<_>>(),
    );
    let memory = rests.iter().map(|rest| rest.memory_mib).fold(0.0, f64::max);
    let cpu = rests.iter().map(|rest| rest.cpu_percent).fold(0.0, f64::max);
    let line = |promise: &str, measured: String, aim: String, met| Promise {
        promise: promise.into(),
        measured,
        anchor: "-".into(),
        ratio: "-".into(),
        aim,
        verdict: Verdict::of(met),
    };
    let (memory_aim, cpu_aim) =
        (format!("<= {MEMORY_AIM_MIB} MiB"), format!("<= {CPU_AIM_PERCENT} %"));
    report.promise(line(
        "memory at rest, 100 servers",
        format!("{memory:.1} MiB"),
        memory_aim,
        memory <= MEMORY_AIM_MIB,
    ));
    report.promise(line(
        "CPU at rest, 100 servers",
        format!("{cpu:.2} % of a core"),
        cpu_aim,
        cpu <= CPU_AIM_PERCENT,
    ));
}
