//! Faults one by one, under the checker of acknowledged commits: each ends healthy without a person, and nothing that
//! was acknowledged is lost. `docs/faults.md` has every row of the list: where it is tested, or why not here.

use crate::checker::{Checker, Verdict};
use crate::engines::Zones;
use crate::fault::{Expected, Fault};
use crate::pair::Pair;
use crate::portal::Portal;
use pgflex::domain::ha::{Cause, Durability, MemberRole};
use std::sync::Arc;
use std::time::Duration;

/// Between two writes of one client: eight of them leave the machine some time for the servers.
pub const PAUSE: Duration = Duration::from_millis(15);

/// Time for commits before each fault.
const CALM: Duration = Duration::from_millis(700);

/// What became of one fault.
pub struct Struck {
    pub fault: String,
    pub from: Duration,
    pub to: Duration,
    pub healthy_after: Duration,
    pub failed_over: bool,
}

/// Strikes once and waits until all is well again.
pub async fn strike(pair: &Pair, checker: &Checker, fault: Fault) -> Struck {
    // Commits of its own lie between a fault and the next, or one gap would be counted for both.
    tokio::time::sleep(CALM).await;
    pair.forget_failovers().await;
    let (name, from) = (fault.name(), checker.now());
    let before = pair.row().await.epoch;
    println!("  {name} …");
    fault.strike(pair).await;
    let healthy_after = pair.healthy(name).await;
    let failovers = pair.row().await.epoch - before;
    let is_right = match fault.expected() {
        Expected::Failover => failovers == 1,
        Expected::Same => failovers == 0,
        Expected::Either => failovers <= 1,
    };
    assert!(is_right, "{name}: {failovers} changes of primary\n{}", pair.story().await);
    Struck {
        fault: name.into(),
        from,
        to: checker.now(),
        healthy_after,
        failed_over: failovers > 0,
    }
}

/// Judges the whole run and says what each fault cost.
pub async fn judge(checker: Checker, struck: &[Struck]) -> Verdict {
    let verdict = checker.finish().await.unwrap();
    for one in struck {
        println!(
            "  {:<50} {} longest time without writes {:>6.2} s, healthy {:>5.1} s later",
            one.fault,
            if one.failed_over { "failover," } else { "         " },
            verdict.longest_gap(one.from, one.to).as_secs_f64(),
            one.healthy_after.as_secs_f64()
        );
    }
    println!(
        "  {} commits acknowledged, {} unknown, {} transfers, {} reads, {} wrong",
        verdict.acknowledged,
        verdict.unknown,
        verdict.transfers,
        verdict.reads,
        verdict.anomalies.len()
    );
    assert!(verdict.acknowledged > 100 && verdict.reads > 20, "too little was done to judge");
    let first: Vec<_> = verdict.anomalies.iter().take(20).collect();
    assert!(first.is_empty(), "{first:?}; all that was seen is in {:?}", verdict.file);
    verdict
}

async fn run(zones: Arc<Zones>, name: &str, durability: Durability, faults: &[Fault]) {
    let pair = Pair::create_with(Portal::start(&zones).await, name, durability).await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let mut struck = vec![];
    for fault in faults {
        struck.push(strike(&pair, &checker, *fault).await);
    }
    if crate::variable("PGFLEX_ZONES_STORY").is_some() {
        println!("{}", pair.story().await);
    }
    judge(checker, &struck).await;
    pair.portal.finish().await;
}

/// A selection that takes a few minutes.
pub async fn the_usual_faults_lose_nothing(zones: Arc<Zones>) {
    let faults = [
        Fault::Switchover,
        Fault::KillPrimary,
        Fault::KillStandby,
        Fault::CutMembers,
        Fault::LoseZone,
        Fault::IsolatePrimary,
        Fault::KillBoth,
    ];
    run(zones, "usual", Durability::Preferred, &faults).await;
}

/// Every fault of the list that this kernel can make; with `PGFLEX_ZONES_FAULTS="3 11"` those with these numbers.
pub async fn every_fault_loses_nothing(zones: Arc<Zones>) {
    run(zones, "every", Durability::Preferred, &wanted(&Fault::ALL)).await;
}

/// The same with durability required: nothing is acknowledged while there is one host only, and all goes on by itself.
pub async fn every_fault_with_durability_required(zones: Arc<Zones>) {
    run(zones, "required", Durability::Required, &wanted(&Fault::ALL)).await;
}

fn wanted(faults: &[Fault]) -> Vec<Fault> {
    let wanted = crate::variable("PGFLEX_ZONES_FAULTS").unwrap_or_default();
    let numbers: Vec<&str> = wanted.split_whitespace().collect();
    let is_wanted = |fault: &&Fault| {
        numbers.is_empty() || numbers.iter().any(|number| fault.has_number(number))
    };
    faults.iter().filter(is_wanted).copied().collect()
}

/// Durability required: a lost primary is replaced, and while a zone is away nothing is acknowledged at all.
pub async fn what_is_required_waits_for_two_hosts(zones: Arc<Zones>) {
    let portal = Portal::start(&zones).await;
    let pair = Pair::create_with(portal, "two-hosts", Durability::Required).await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let mut struck = vec![];
    for fault in [Fault::KillPrimary, Fault::LoseZone] {
        struck.push(strike(&pair, &checker, fault).await);
    }
    let standby = pair.place(MemberRole::Standby).await;
    let (name, from) = ("11 zone of the standby lost for 20 s", checker.now());
    println!("  {name} …");
    zones.lose(standby.zone);
    let lost = checker.now();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let returns = checker.now();
    zones.restore(standby.zone);
    let healthy_after = pair.healthy(name).await;
    let to = checker.now();
    struck.push(Struck { fault: name.into(), from, to, healthy_after, failed_over: false });
    tokio::time::sleep(CALM).await;
    let end = checker.now();
    let verdict = judge(checker, &struck).await;
    assert_eq!(verdict.acknowledged_within(lost, returns), 0, "on one host only");
    assert!(verdict.acknowledged_within(to, end) > 0, "they do not go on");
    pair.portal.finish().await;
}

/// A drill writes by itself, through the gateway, and keeps what it measured; its table is gone afterwards.
pub async fn a_drill_measures_itself(zones: Arc<Zones>) {
    let pair = Pair::create(Portal::start(&zones).await, "drill").await;
    pair.switch_over_as(Cause::Drill).await;
    let is_over = async |portal: &Portal| {
        let drills = portal.app.store.ha_drills(&pair.server, 5).await.unwrap();
        drills.first().is_some_and(|drill| drill.ended_at.is_some())
    };
    pair.portal.until("the drill is over", is_over).await;
    let drill = pair.portal.app.store.ha_drills(&pair.server, 5).await.unwrap().remove(0);
    println!("  {drill:?}");
    assert_eq!((drill.outcome.as_str(), drill.lost), ("passed", 0));
    assert!(drill.writes > 5 && drill.gap_micros.is_some_and(|gap| gap > 50_000), "{drill:?}");
    let left = "SELECT count(*) FROM pg_namespace WHERE starts_with(nspname::text, 'pgflex_drill')";
    assert_eq!(pair.portal.psql(&pair.server, left).await.unwrap(), "0");
    pair.portal.finish().await;
}

/// 45: the second waits until the pair is in sync, and no longer.
pub async fn two_failovers_in_a_row_lose_nothing(zones: Arc<Zones>) {
    let faults = [Fault::LoseZone, Fault::LoseZone, Fault::KillPrimary];
    run(zones, "twice", Durability::Preferred, &faults).await;
}

/// 22: the control plane is killed at every step of a failover; the gateway lives on.
pub async fn a_portal_killed_in_a_failover_loses_nothing(zones: Arc<Zones>) {
    use pgflex::domain::operation::OperationKind;
    let mut pair = Pair::create(Portal::start_apart(&zones).await, "killed").await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let mut struck = vec![];
    for step in pgflex::operations::kinds::steps(OperationKind::Failover) {
        pair.forget_failovers().await;
        let (from, before) = (checker.now(), pair.row().await.epoch);
        let name = format!("22 portal killed in a failover after “{}”", step.title);
        println!("  {name} …");
        let stopped = pair.portal.restart_until(&format!("{}:acted", step.name));
        let primary = pair.place(MemberRole::Primary).await;
        // Lost for good: a primary that is only killed would be started again in place.
        zones.docker(primary.zone, &["rm", "--force", &primary.container]);
        let waited = tokio::time::timeout(Duration::from_secs(60), stopped).await;
        assert!(
            matches!(waited, Ok(Ok(()))),
            "{name}: it never came to it\n{}",
            pair.story().await
        );
        pair.portal.restart();
        let healthy_after = pair.healthy(&name).await;
        let failed_over = pair.row().await.epoch > before;
        struck.push(Struck { fault: name, from, to: checker.now(), healthy_after, failed_over });
    }
    judge(checker, &struck).await;
    pair.portal.finish().await;
}
