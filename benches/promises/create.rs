//! Submit to first TLS query, beside `docker run` of the same image with the same `initdb`.

use crate::anchor::{self, AnchorTimes, as_printed};
use crate::portal::Portal;
use crate::report::{Promise, Report, Verdict};
use crate::stats::{Times, spread, time};
use crate::world::World;
use crate::{Args, machine};
use anyhow::Context;
use pgflex::domain::operation::{Operation, OperationKind, StepRecord};
use std::path::Path;
use std::time::{Duration, Instant};

/// The smallest size, what a beginner takes.
const SKU: &str = "Standard_B1ms";
/// Aims: times the anchor, and in milliseconds.
const RATIO_AIM: f64 = 1.5;
const TIME_AIM: f64 = 5_000.0;

/// What one server took.
struct Ours {
    first_query: Duration,
    restart: Duration,
    delete: Duration,
    /// Name of a stage and its time, in order.
    stages: Vec<(String, Duration)>,
    restart_stages: Vec<(String, Duration)>,
    delete_stages: Vec<(String, Duration)>,
}

pub async fn measure(world: &World, args: &Args, report: &Report) -> anyhow::Result<()> {
    report.heading("create: submit to first TLS query");
    report.note(&format!(
        "{} servers of {SKU}, PostgreSQL 17, image present; each after one run of the anchor: `docker run` of the same \
         image with the same initdb (its own container), CPU and memory limits, then `docker run --detach` until the first query \
         on the container's address. Both are asked by psql; ours by the printed parameters with verify-full through the gateway. \
         The submit is the call that the form's handler makes. Load before: {}.",
        args.runs,
        machine::load()
    ));
    let portal = Portal::start(world, "create", "runner,monitor,gateway").await?;
    let ca_file = portal.ca_file()?;
    let (mut anchors, mut ours) = (vec![], vec![]);
    for run in 0..args.runs.max(1) {
        anchors.push(anchor::measure(world, SKU).await.context("the anchor")?);
        ours.push(one(&portal, &format!("bench-{run}"), &ca_file).await?);
    }
    print(report, &anchors, &ours);
    Ok(())
}

async fn one(portal: &Portal, name: &str, ca_file: &Path) -> anyhow::Result<Ours> {
    let begun = Instant::now();
    let id = portal.create(name, SKU).await?;
    let operation = portal.operation(&id).await?;
    let server = portal.store.server(&operation.server_id).await?.context("the server")?;
    let (address, connection) =
        (format!("127.0.0.1:{}", server.port), as_printed(server.port, ca_file));
    anchor::until_answered(&address, &connection).await?;
    let first_query = begun.elapsed();
    let ended = portal.ended(&id).await?;
    let mut stages = stages(portal, &ended).await?;
    let known: Duration = stages.iter().map(|(_, time)| *time).sum();
    stages.push((
        "way in open to first answer (gateway, psql)".into(),
        first_query.saturating_sub(known),
    ));

    let begun = Instant::now();
    let id = portal.submit(OperationKind::Restart, &server.id).await?;
    let ended = portal.ended(&id).await?;
    anchor::until_answered(&address, &connection).await?;
    let restart = begun.elapsed();
    let restart_stages = self::stages(portal, &ended).await?;

    let begun = Instant::now();
    let id = portal.submit(OperationKind::Delete, &server.id).await?;
    let ended = portal.ended(&id).await?;
    let delete = begun.elapsed();
    let delete_stages = self::stages(portal, &ended).await?;
    Ok(Ours { first_query, restart, delete, stages, restart_stages, delete_stages })
}

/// The stored times of an operation: claim, every step, and what passed between steps.
pub async fn stages(
    portal: &Portal,
    operation: &Operation,
) -> anyhow::Result<Vec<(String, Duration)>> {
    let steps = portal.store.operation_steps(&operation.id).await?;
    let begun = steps.first().and_then(|step| step.started_at).unwrap_or(operation.created_at);
    let mut stages = vec![("submit to first step".into(), positive(begun - operation.created_at))];
    let mut between = Duration::ZERO;
    for pair in steps.windows(2) {
        if let [StepRecord { ended_at: Some(end), .. }, StepRecord { started_at: Some(next), .. }] =
            pair
        {
            between += positive(*next - *end);
        }
    }
    for step in &steps {
        if let (Some(begin), Some(end)) = (step.started_at, step.ended_at) {
            stages.push((step.name.clone(), positive(end - begin)));
        }
    }
    stages.push(("between steps, all together".into(), between));
    Ok(stages)
}

fn positive(time: chrono::TimeDelta) -> Duration {
    time.to_std().unwrap_or_default()
}

fn print(report: &Report, anchors: &[AnchorTimes], ours: &[Ours]) {
    let anchor_of =
        |pick: fn(&AnchorTimes) -> Duration| anchors.iter().map(pick).collect::<Times>();
    let ours_of = |pick: fn(&Ours) -> Duration| ours.iter().map(pick).collect::<Times>();
    let (anchor, create) = (anchor_of(AnchorTimes::create), ours_of(|run| run.first_query));
    let row = |what: &str, times: &Times, anchor: &Times| {
        let ratio = format!("{:.2}", times.p50() / anchor.p50());
        vec![what.to_owned(), spread(times), time(times.max()), spread(anchor), ratio]
    };
    report.table(
        &["", "pgflex p50 / p95", "slowest", "docker run p50 / p95", "ratio of p50"],
        &[
            row("create", &create, &anchor),
            row("restart", &ours_of(|run| run.restart), &anchor_of(|run| run.restart)),
            row("delete", &ours_of(|run| run.delete), &anchor_of(|run| run.delete)),
        ],
    );
    report.note("\nWhere the time goes (median of each):");
    report.table(&["create", "p50 / p95"], &stage_rows(ours, |run| &run.stages));
    let parts = [
        ("initdb in its container", anchor_of(|run| run.initdb)),
        ("docker run --detach", anchor_of(|run| run.run)),
        ("first query", anchor_of(|run| run.first_query)),
    ];
    let parts = parts.map(|(name, times)| vec![name.to_owned(), spread(&times)]);
    report.table(&["anchor", "p50 / p95"], &parts);
    report.table(&["restart", "p50 / p95"], &stage_rows(ours, |run| &run.restart_stages));
    report.table(&["delete", "p50 / p95"], &stage_rows(ours, |run| &run.delete_stages));
    promise(report, &create, &anchor);
}

fn stage_rows(ours: &[Ours], pick: fn(&Ours) -> &Vec<(String, Duration)>) -> Vec<Vec<String>> {
    let Some(first) = ours.first() else { return vec![] };
    let times = |at: usize| {
        ours.iter().filter_map(|run| pick(run).get(at)).map(|(_, time)| *time).collect::<Times>()
    };
    let names = pick(first).iter().enumerate();
    names.map(|(at, (name, _))| vec![name.clone(), spread(&times(at))]).collect()
}

fn promise(report: &Report, create: &Times, anchor: &Times) {
    let ratio = create.p50() / anchor.p50();
    let line = |promise: &str, ratio: String, aim: &str, met| Promise {
        promise: promise.into(),
        measured: format!("{} (p95 {})", time(create.p50()), time(create.p95())),
        anchor: format!("docker run + initdb {}", time(anchor.p50())),
        ratio,
        aim: aim.into(),
        verdict: Verdict::of(met),
    };
    report.promise(line("create, time", "-".into(), "<= 5 s", create.p50() <= TIME_AIM));
    report.promise(line(
        "create, beside docker run",
        format!("{ratio:.2}"),
        "<= 1.5",
        ratio <= RATIO_AIM,
    ));
}
