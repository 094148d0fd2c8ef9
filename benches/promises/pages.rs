//! Times of every page with 1,000 servers in the store.

use crate::http::{Client, sign_up};
use crate::portal::{ADMIN, PASSWORD, Portal};
use crate::report::{Promise, Report, Verdict};
use crate::seed::{self, Seeded};
use crate::stats::{Times, time};
use crate::world::World;
use crate::{Args, machine, paths};
use anyhow::Context;
use pgflex::secrets::HashCost;
use pgflex::web::handlers::account::join::setup_link;
use pgflex::web::state::Parts;
use pgflex::web::{self, AppState};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const SERVERS: usize = 1_000;
/// Browsers that ask at the same time.
const CONCURRENCY: usize = 4;
const WARM_UP: usize = 50;
/// Milliseconds, 99 of 100.
const AIM: f64 = 20.0;

struct Page {
    path: String,
    status: u16,
    bytes: usize,
    times: Times,
    /// The cheapest page, asked for in the same way right after.
    anchor: Times,
}

pub async fn measure(world: &World, args: &Args, report: &Report) -> anyhow::Result<()> {
    report.heading(&format!("pages: {SERVERS} servers in the store"));
    let (portal, _app) = Portal::open(world, "pages").await?;
    let begun = Instant::now();
    let seeded = seed::fill(&portal, SERVERS).await?;
    report.note(&describe(&seeded, begun.elapsed(), args));
    let (address, link, _serving) = serve(&portal).await?;
    let mut owner = connect(address).await?;
    sign_up(&mut owner, &link).await?;
    let (mut paths, unknown) = paths::all(&seeded);
    paths.push(review(&mut owner).await?);
    let mut pages = vec![];
    for path in paths {
        pages.push(page(&owner, path, args.requests).await?);
    }
    print(report, &pages, &unknown, &seeded);
    Ok(())
}

fn describe(seeded: &Seeded, took: Duration, args: &Args) -> String {
    format!(
        "SQLite with {} servers, {} operations, {} lines of activity (seeded in {:.1} s). {} requests for each page over {CONCURRENCY} kept \
         connections of a signed-in owner, after a warm-up; measured at the client on loopback, client and server on the same {} \
         cores, so the times hold waiting for each other as well. Load before: {}.",
        seeded.servers,
        seeded.operations,
        seeded.activities,
        took.as_secs_f64(),
        args.requests,
        machine::cores(),
        machine::load()
    )
}

/// Starts the real HTTP server in a thread; gives its address and the set-up link.
async fn serve(portal: &Portal) -> anyhow::Result<(SocketAddr, String, oneshot::Sender<()>)> {
    let parts = Parts {
        store: portal.store.clone(),
        clock: portal.clock.clone(),
        config: portal.config.clone(),
        sealer: portal.sealer.clone(),
        poke: portal.poke.clone(),
        install_id: portal.install_id.clone(),
        ca_certificate: portal.ca_certificate.clone(),
        hash_cost: HashCost::STRONG,
    };
    let state = AppState::open(parts).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let link = setup_link(&state).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let (keep, dropped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    std::thread::Builder::new().name("pages".into()).spawn(move || {
        let stop = async move {
            let _ = dropped.await;
        };
        if let Err(error) = runtime.block_on(web::serve(state, stop)) {
            eprintln!("bench: the pages cannot be served: {error}");
        }
    })?;
    Ok((portal.config.args.listen, link.context("no set-up link")?, keep))
}

async fn connect(address: SocketAddr) -> anyhow::Result<Client> {
    for _ in 0..100 {
        if let Ok(client) = Client::connect(address).await {
            return Ok(client);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("the pages are not served at {address}")
}

/// Fills in the create form as far as its review.
async fn review(owner: &mut Client) -> anyhow::Result<String> {
    let fields = [
        ("name", "bench-review"),
        ("region", "westeurope"),
        ("tier", "Burstable"),
        ("sku", "Standard_B1ms"),
        ("storage", "32"),
        ("admin_login", ADMIN),
        ("admin_password", PASSWORD),
        ("admin_password_confirm", PASSWORD),
        ("action", "review"),
    ];
    let answer = owner.post("/servers/create", &fields).await?;
    let review = answer.location.filter(|path| path.starts_with(paths::REVIEW));
    review.with_context(|| {
        format!("the create form was answered with {}, not with its review", answer.status)
    })
}

/// A page, and right after it the anchor: what else ran on the machine at that time slowed down both.
async fn page(owner: &Client, path: String, requests: usize) -> anyhow::Result<Page> {
    let mut first = owner.again().await?;
    let answer = first.get(&path).await.with_context(|| path.clone())?;
    for _ in 0..WARM_UP {
        first.get(&path).await?;
    }
    let times = ask(owner, &path, answer.status, requests).await?;
    let anchor = ask(owner, paths::ANCHOR, 200, requests).await?;
    Ok(Page { path, status: answer.status, bytes: answer.body.len(), times, anchor })
}

/// Asks for a path over several connections at the same time.
async fn ask(owner: &Client, path: &str, status: u16, requests: usize) -> anyhow::Result<Times> {
    let mut browsers = tokio::task::JoinSet::new();
    for _ in 0..CONCURRENCY {
        let (mut client, path) = (owner.again().await?, path.to_owned());
        browsers.spawn(async move {
            let mut times = Times::default();
            for _ in 0..requests / CONCURRENCY {
                let begun = Instant::now();
                let answer = client.get(&path).await?;
                times.add(begun.elapsed());
                let given = answer.status;
                anyhow::ensure!(given == status, "{path} was answered with {given}");
            }
            Ok(times)
        });
    }
    let mut times = Times::default();
    while let Some(done) = browsers.join_next().await {
        times.extend(done??);
    }
    Ok(times)
}

fn print(report: &Report, pages: &[Page], unknown: &[&str], seeded: &Seeded) {
    let short = |path: &str| {
        let path = path.replace(seeded.server.as_str(), "{server}");
        path.replace(seeded.operation.as_str(), "{operation}")
            .replace(seeded.rule.as_str(), "{rule}")
            .split("draft=")
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let rows: Vec<Vec<String>> = pages
        .iter()
        .map(|page| {
            let times = &page.times;
            let kib = format!("{:.1}", page.bytes as f64 / 1024.0);
            let met = if times.p99() <= AIM { "met" } else { "MISSED" };
            let cells =
                [times.p50(), times.p95(), times.p99(), times.max(), page.anchor.p99()].map(time);
            [
                vec![short(&page.path), page.status.to_string(), kib],
                cells.to_vec(),
                vec![met.to_owned()],
            ]
            .concat()
        })
        .collect();
    let head =
        ["GET", "status", "KiB", "p50", "p95", "p99", "max", "/healthz p99 then", "p99 <= 20 ms"];
    report.table(&head, &rows);
    if !unknown.is_empty() {
        report
            .note(&format!("Not measured, the address cannot be filled: {}.", unknown.join(", ")));
    }
    promise(report, pages, short);
}

/// Only pages that were really shown count.
fn promise(report: &Report, pages: &[Page], short: impl Fn(&str) -> String) {
    let is_page = |path: &str| path != paths::ANCHOR && !paths::EXPORTS.contains(&path);
    let shown: Vec<&Page> =
        pages.iter().filter(|page| page.status == 200 && is_page(&page.path)).collect();
    let p99 = |page: &Page| page.times.p99();
    let slowest = shown.iter().max_by(|a, b| p99(a).total_cmp(&p99(b)));
    let Some(slowest) = slowest else { return };
    let (worst, anchor) = (p99(slowest), slowest.anchor.p99());
    let within = shown.iter().filter(|page| p99(page) <= AIM).count();
    report.promise(Promise {
        promise: "page, 1,000 servers, 99 of 100".into(),
        measured: format!(
            "{within} of {} pages within; slowest {} {}",
            shown.len(),
            short(&slowest.path),
            time(worst)
        ),
        anchor: format!("{} right after {}", paths::ANCHOR, time(anchor)),
        ratio: format!("{:.1}", worst / anchor),
        aim: "<= 20 ms".into(),
        verdict: Verdict::of(worst <= AIM),
    });
}
