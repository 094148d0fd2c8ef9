//! Faults that need a story of their own: of the portal itself, of its store, of the gateway, of clients.

use crate::checker::Checker;
use crate::delay::Delay;
use crate::engines::Zones;
use crate::faults::{PAUSE, Struck, judge};
use crate::pair::Pair;
use crate::portal::Portal;
use crate::tricks;
use pgflex::domain::ha::{Durability, MemberRole, ReplicationState};
use std::sync::Arc;
use std::time::Duration;

/// Long enough that the portal has seen, decided and done what it is going to do.
const WHILE: Duration = Duration::from_secs(15);

/// What a pair did while something happened to it.
struct Watch<'a> {
    pair: &'a Pair,
    checker: &'a Checker,
    name: String,
    from: Duration,
    before: i64,
}

impl<'a> Watch<'a> {
    async fn begin(pair: &'a Pair, checker: &'a Checker, name: &str) -> Self {
        tokio::time::sleep(Duration::from_millis(700)).await;
        pair.forget_failovers().await;
        println!("  {name} …");
        let before = pair.row().await.epoch;
        Self { pair, checker, name: name.into(), from: checker.now(), before }
    }

    /// When the pair is healthy again; it changed its primary so often.
    async fn end(self, failovers: i64) -> Struck {
        let healthy_after = self.pair.healthy(&self.name).await;
        let changes = self.pair.row().await.epoch - self.before;
        assert_eq!(changes, failovers, "{}\n{}", self.name, self.pair.story().await);
        Struck {
            fault: self.name,
            from: self.from,
            to: self.checker.now(),
            healthy_after,
            failed_over: changes > 0,
        }
    }
}

/// 19: 200 ms more on the way between the members, both ways, change nothing but the time of a commit.
pub async fn a_slow_link_changes_nothing_but_the_time(zones: Arc<Zones>) {
    let pair = Pair::create(Portal::start(&zones).await, "slow").await;
    let members = pair.portal.members(&pair.server).await;
    let (ip, port) = (zones.ip(1), members[0].port.unwrap());
    let delay = Delay::start(&zones.machine(), (&ip, port)).await;
    zones.lead_astray(2, (&ip, port), (&zones.machine(), delay.port));
    let standby = pair.place(MemberRole::Standby).await;
    tricks::kill_titled(&zones, &standby, "walreceiver");
    delay.is_used().await;
    pair.healthy("a detour of the link").await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let watch = Watch::begin(&pair, &checker, "19 200 ms more both ways between the members").await;
    let version = pair.row().await.version;
    delay.set(Duration::from_millis(200));
    tokio::time::sleep(WHILE).await;
    assert_eq!(pair.row().await.version, version, "{}", pair.story().await);
    delay.set(Duration::ZERO);
    let struck = [watch.end(0).await];
    judge(checker, &struck).await;
    zones.undo_all();
    pair.portal.finish().await;
}

/// 23: a portal that stands still while another one changes the primary, and then goes on with what it believes.
pub async fn two_portals_lose_nothing(zones: Arc<Zones>) {
    let mut pair = Pair::create(Portal::start_apart(&zones).await, "two").await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let mut struck = vec![];
    for _ in 0..2 {
        let name = "23 portal frozen while another one fails over, then thawed";
        pair.portal.freeze();
        let mut first = pair.portal.start_second();
        // It trusts no silence at first, but the word of an engine.
        let watch = Watch::begin(&pair, &checker, name).await;
        let primary = pair.place(MemberRole::Primary).await;
        zones.docker(primary.zone, &["rm", "--force", &primary.container]);
        pair.changes(watch.before, name).await;
        tricks::signal(first.id(), "CONT");
        struck.push(watch.end(1).await);
        let _ = first.kill();
        let _ = first.wait();
    }
    judge(checker, &struck).await;
    pair.portal.finish().await;
}

/// 24: nothing can be written to the store. Clients go on; nobody decides anything before it is back.
pub async fn a_store_that_is_locked_stops_no_client(zones: Arc<Zones>) {
    use sqlx::Connection;
    let pair = Pair::create(Portal::start(&zones).await, "locked").await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    sqlx::any::install_default_drivers();
    let url = pair.portal.app.config.database_url();
    let mut store = sqlx::AnyConnection::connect(&url).await.unwrap();
    let name = "24 store locked for 25 s, primary killed at the end of it";
    let watch = Watch::begin(&pair, &checker, name).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut store).await.unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    let calm = (watch.from, checker.now());
    let primary = pair.place(MemberRole::Primary).await;
    zones.kill_container(primary.zone, &primary.container);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(pair.row().await.epoch, watch.before, "nobody may decide without a record");
    sqlx::query("ROLLBACK").execute(&mut store).await.unwrap();
    drop(store);
    let struck = [watch.end(1).await];
    let verdict = judge(checker, &struck).await;
    let gap = verdict.longest_gap(calm.0, calm.1);
    assert!(verdict.acknowledged_within(calm.0, calm.1) > 100, "clients stopped for {gap:?}");
    pair.portal.finish().await;
}

/// 37: sessions that wait for a standby take all connections; the portal still gets in.
pub async fn waiting_clients_do_not_lock_the_portal_out(zones: Arc<Zones>) {
    let portal = Portal::start(&zones).await;
    let pair = Pair::create_with(portal, "crowd", Durability::Required).await;
    pair.portal.psql(&pair.server, "CREATE TABLE crowd (id int)").await.unwrap();
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let watch = Watch::begin(&pair, &checker, "37 every connection waits for a standby").await;
    let standby = pair.place(MemberRole::Standby).await;
    zones.lose(standby.zone);
    let full = tokio::time::timeout(Duration::from_secs(240), checker.crowd()).await;
    assert!(full.is_ok(), "connections did not run out");
    println!("  no connection is left after {:.0} s", (checker.now() - watch.from).as_secs_f64());
    tokio::time::sleep(WHILE).await;
    zones.restore(standby.zone);
    let struck = [watch.end(0).await];
    judge(checker, &struck).await;
    pair.portal.finish().await;
}

/// 50: a gateway that was killed reads who the primary is before it lets anybody in.
pub async fn a_gateway_killed_in_a_failover_shows_nothing_old(zones: Arc<Zones>) {
    let mut pair = Pair::create(Portal::start_apart(&zones).await, "gateway").await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    let mut struck = vec![];
    for wait in [0, 500, 1_500] {
        let name =
            format!("50 gateway killed, zone of the primary cut, gateway back after {wait} ms");
        let (from, before) = {
            let watch = Watch::begin(&pair, &checker, &name).await;
            (watch.from, watch.before)
        };
        let primary = pair.place(MemberRole::Primary).await;
        pair.portal.replace_gateway(|| {
            zones.block(primary.zone, &zones.ip(3));
            zones.cut(primary.zone);
            std::thread::sleep(Duration::from_millis(wait));
        });
        pair.changes(before, &name).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        zones.undo_all();
        zones.heal(primary.zone);
        let watch = Watch { pair: &pair, checker: &checker, name, from, before };
        struck.push(watch.end(1).await);
    }
    judge(checker, &struck).await;
    pair.portal.finish().await;
}

/// 51: a cancelled wait ends with a warning. What was acknowledged without one is there after a failover.
pub async fn a_commit_whose_wait_is_cancelled_is_warned_of(zones: Arc<Zones>) {
    let pair = Pair::create(Portal::start(&zones).await, "cancel").await;
    let checker = Checker::start(pair.endpoint().await, PAUSE).await.unwrap();
    for _ in 0..4 {
        let name = "51 waiting commits cancelled again and again, then the primary killed";
        let watch = Watch::begin(&pair, &checker, name).await;
        let primary = pair.place(MemberRole::Primary).await;
        let standby = pair.place(MemberRole::Standby).await;
        zones.block(primary.zone, &zones.ip(standby.zone));
        let storm = std::time::Instant::now();
        // Shorter than the time after which commits go on without the standby.
        while storm.elapsed() < Duration::from_millis(1_500) {
            checker.cancel_all().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        zones.kill_container(primary.zone, &primary.container);
        pair.leaves(ReplicationState::Sync, name).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        zones.undo_all();
        pair.healthy(name).await;
        println!("  failed over: {}", pair.row().await.epoch > watch.before);
    }
    let verdict = checker.finish().await.unwrap();
    println!(
        "  {} acknowledged, {} unknown, {} of them warned of",
        verdict.acknowledged, verdict.unknown, verdict.warned
    );
    let wrong = verdict.but_unconfirmed_reads();
    assert!(wrong.is_empty(), "{wrong:?}; all that was seen is in {:?}", verdict.file);
    assert!(verdict.warned > 0, "nothing was cancelled while it waited");
    pair.portal.finish().await;
}
