//! Stop and start of one server: from the submit to the end of the stop, and to the first TLS query.

use crate::anchor::{as_printed, until_answered};
use crate::portal::Portal;
use crate::report::{Promise, Report, Verdict};
use crate::stats::{Times, spread, time};
use crate::world::World;
use crate::{Args, machine};
use anyhow::Context;
use pgflex::domain::operation::OperationKind;
use std::time::Instant;

const SKU: &str = "Standard_B1ms";
/// Aim of each, in milliseconds.
const AIM: f64 = 3_000.0;

pub async fn measure(world: &World, args: &Args, report: &Report) -> anyhow::Result<()> {
    report.heading("stop and start");
    report.note(&format!(
        "One server of {SKU}, {} times. Stop: submit to the end of the operation. Start: submit to the first query that psql \
         gets answered through the gateway with verify-full. Load before: {}.",
        args.runs,
        machine::load()
    ));
    let portal = Portal::start(world, "power", "runner,monitor,gateway").await?;
    let ca_file = portal.ca_file()?;
    let create = portal.create("bench-power", SKU).await?;
    let id = portal.ended(&create).await?.server_id;
    let port = portal.store.server(&id).await?.context("the server")?.port;
    let (address, connection) = (format!("127.0.0.1:{port}"), as_printed(port, &ca_file));
    let (mut stops, mut starts) = (Times::default(), Times::default());
    let mut parts: Vec<(String, Times)> = vec![];
    for _ in 0..args.runs.max(1) {
        let begun = Instant::now();
        let stop = portal.submit(OperationKind::Stop, &id).await?;
        portal.ended(&stop).await?;
        stops.add(begun.elapsed());
        let begun = Instant::now();
        let start = portal.submit(OperationKind::Start, &id).await?;
        let ended = portal.ended(&start).await?;
        until_answered(&address, &connection).await?;
        starts.add(begun.elapsed());
        add_stages(&mut parts, crate::create::stages(&portal, &ended).await?);
    }
    let row = |what: &str, times: &Times| vec![what.into(), spread(times), time(times.max())];
    report.table(&["", "p50 / p95", "slowest"], &[row("stop", &stops), row("start", &starts)]);
    let rows = parts.iter().map(|(name, times)| vec![name.clone(), spread(times)]);
    report.table(&["start", "p50 / p95"], &rows.collect::<Vec<_>>());
    for (what, times) in [("stop", &stops), ("start", &starts)] {
        report.promise(Promise {
            promise: what.into(),
            measured: format!("{} (p95 {})", time(times.p50()), time(times.p95())),
            anchor: "managed clouds: minutes".into(),
            ratio: "-".into(),
            aim: "<= 3 s".into(),
            verdict: Verdict::of(times.p95() <= AIM),
        });
    }
    Ok(())
}

/// Adds the times of one operation to those of the others, stage by stage.
pub fn add_stages(all: &mut Vec<(String, Times)>, one: Vec<(String, std::time::Duration)>) {
    for (name, time) in one {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, times)) => times.add(time),
            None => all.push((name, Times::from_iter([time]))),
        }
    }
}
