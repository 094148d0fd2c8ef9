//! What people ask for every day, on a pair in sync: to the end, killed at every moment of every step, failed at every
//! step, with every reply of either engine lost. Whatever became of it, the pair is brought back in sync by the one
//! operation that the portal submits by itself.

use super::pairs::Pair;
use super::{METHODS, once, together};
use crate::world::World;
use pgflex::domain::activity::Actor;
use pgflex::domain::catalog::{Sku, Tier};
use pgflex::domain::ha::{MemberRole, ReplicationState as S};
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::{Operation, OperationKind as K, OperationStatus};
use pgflex::domain::route::RouteState;
use pgflex::engine::Engine;
use pgflex::engine::fake::Fault;
use pgflex::operations::kinds;
use pgflex::operations::runner::{Hook, Interference, Moment, Point};
use pgflex::operations::step::{Step, Undo};
use pgflex::operations::submit::Change;
use pgflex::store::testing;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One change of a pair.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    kind: K,
    input: fn() -> Value,
    /// Whether the standby takes over.
    rolls: bool,
}

const fn case(name: &'static str, kind: K, input: fn() -> Value) -> Case {
    Case { name, kind, input, rolls: false }
}

const fn rolling(name: &'static str, kind: K, input: fn() -> Value) -> Case {
    Case { name, kind, input, rolls: true }
}

const SMALL: &str = "Standard_D2ds_v5";
const LARGE: &str = "Standard_D4ds_v5";

const CASES: &[Case] = &[
    rolling("restart", K::Restart, || Value::Null),
    rolling(
        "set",
        K::ChangeParameters,
        || json!({ "set": { "work_mem": "8MB" }, "reset": [], "restart": true }),
    ),
    case(
        "set live",
        K::ChangeParameters,
        || json!({ "set": { "work_mem": "8MB" }, "reset": [], "restart": false }),
    ),
    case(
        "lower",
        K::ChangeParameters,
        || json!({ "set": { "max_connections": "100" }, "reset": [], "restart": true }),
    ),
    rolling("allow", K::AllowExtensions, || json!({ "allowed": ["pgaudit"], "restart": true })),
    rolling("grow compute", K::Scale, || json!({ "to": LARGE })),
    case("shrink compute", K::Scale, || json!({ "to": SMALL })),
    case("grow storage", K::GrowStorage, || json!({ "to_gib": 64 })),
    case("protect", K::ProtectStorage, || json!({ "on": true })),
    case("renew", K::RenewCertificate, || Value::Null),
    case(
        "plain text",
        K::ChangeNetworking,
        || json!({ "access": "Public", "network_id": null, "require_secure_transport": false }),
    ),
    case("repair", K::Repair, || Value::Null),
    case("stop", K::Stop, || Value::Null),
    case("start", K::Start, || Value::Null),
    case("delete", K::Delete, || Value::Null),
];

/// All; while one is being built, those alone that `PGFLEX_SWEEP_PAIRS` names.
#[expect(clippy::disallowed_methods, reason = "a developer's choice of what to run")]
fn cases() -> Vec<Case> {
    let chosen = std::env::var("PGFLEX_SWEEP_PAIRS").unwrap_or_default();
    let is_chosen =
        |case: &&Case| chosen.is_empty() || chosen.split(',').any(|name| name == case.name);
    CASES.iter().filter(is_chosen).copied().collect()
}

async fn ask(world: &World, kind: K, server: &ServerId, input: Value) -> OperationId {
    let change = Change { kind, input };
    world.door().submit_change(change, server, &Actor::system(), None).await.unwrap()
}

async fn done(world: &World, kind: K, server: &ServerId, input: Value) {
    let id = ask(world, kind, server, input).await;
    let ended = world.run_to_rest(&world.runner(), &id).await;
    assert_eq!(ended.status, OperationStatus::Succeeded, "{kind:?}: {:?}", ended.error);
}

/// A world with a pair in sync, or stopped, and the operation asked for.
async fn begun(case: Case) -> (World, OperationId) {
    let world = World::new(testing::sqlite().await).await;
    let create = world.submit_create_in("shop", Tier::GeneralPurpose).await;
    let server = world.run_to_rest(&world.runner(), &create).await.server_id;
    if case.name == "shrink compute" {
        done(&world, K::Scale, &server, json!({ "to": LARGE })).await;
    }
    world.plant_pair(&server).await;
    done(&world, K::BuildStandby, &server, Value::Null).await;
    if case.kind == K::Start {
        done(&world, K::Stop, &server, Value::Null).await;
    }
    let id = ask(&world, case.kind, &server, (case.input)()).await;
    assert_eq!(world.operation(&id).await.is_rolling(), case.rolls, "{}", case.name);
    (world, id)
}

fn steps(case: Case) -> &'static [Step] {
    kinds::table(case.kind, case.rolls)
}

async fn assert_succeeded(world: &World, case: Case, operation: &Operation, why: &str) {
    let (failed, error) = (&operation.failed_step, &operation.error);
    assert_eq!(operation.status, OperationStatus::Succeeded, "{why}: {failed:?} {error:?}");
    match case.kind {
        K::Delete => return assert_nothing_left(world, why).await,
        K::Stop => return assert_stopped(world, operation, why).await,
        _ => {}
    }
    let pair = Pair::of(world, operation).await;
    pair.assert_sound(why).await;
    pair.assert_serves(why).await;
    match (case.rolls, case.name) {
        (true, _) => assert_eq!((pair.row.epoch, pair.row.state), (2, S::Single), "{why}"),
        (false, "shrink compute") => {
            assert_eq!((pair.row.epoch, pair.row.state), (1, S::Single), "{why}");
        }
        (false, _) => pair.assert_in_sync(why).await,
    }
    assert_in_sync_again(world, operation, why).await;
    assert_changed(world, case, operation, true, why).await;
}

async fn assert_unwound(world: &World, case: Case, operation: &Operation, why: &str) {
    let ended = [OperationStatus::Failed, OperationStatus::Cancelled];
    assert!(ended.contains(&operation.status), "{why}: {operation:?}");
    if case.kind == K::Start {
        return assert_stopped(world, operation, why).await;
    }
    let pair = Pair::of(world, operation).await;
    pair.assert_sound(why).await;
    pair.assert_serves(why).await;
    // An epoch that has begun is finished, and a container that was made larger for it stays so.
    let is_kept = pair.row.epoch == 2 && case.name == "grow compute";
    assert_in_sync_again(world, operation, why).await;
    assert_changed(world, case, operation, is_kept, why).await;
}

/// What the portal does by itself after each of them.
async fn assert_in_sync_again(world: &World, operation: &Operation, why: &str) {
    let server = &operation.server_id;
    if Pair::of(world, operation).await.row.state != S::Sync {
        done(world, K::BuildStandby, server, Value::Null).await;
    }
    let pair = Pair::of(world, operation).await;
    pair.assert_sound(why).await;
    pair.assert_in_sync(why).await;
    let wanted = world.services.store.server(server).await.unwrap().unwrap();
    let memory = wanted.spec.sku().memory_bytes();
    for member in &pair.members {
        let facts = pair.engine(member).container(&member.container()).await.unwrap().unwrap();
        let role = member.role;
        assert_eq!(facts.memory_limit_bytes, memory, "{why}: {role:?} has the size on record");
        assert_eq!(facts.state, "running", "{why}: {role:?}");
    }
}

/// Rows and the files of both say the change, or what was before.
async fn assert_changed(world: &World, case: Case, operation: &Operation, is: bool, why: &str) {
    let server = world.services.store.server(&operation.server_id).await.unwrap().unwrap();
    let pair = Pair::of(world, operation).await;
    let both = |file: &str, text: &str| {
        for member in &pair.members {
            let role = member.role;
            let has = pair.file(member, file).contains(text);
            assert_eq!(has, is, "{why}: {text} in {file} of {role:?}");
        }
    };
    let (conf, size) = ("postgresql.conf", server.spec.sku.as_str());
    match case.name {
        "set" | "set live" => both(conf, "work_mem = '8MB'"),
        "lower" => {
            let primary = pair.file(&pair.members[0], conf);
            assert_eq!(primary.contains("max_connections = '100'"), is, "{why}");
        }
        "allow" => both(conf, "pg_stat_statements,pgaudit"),
        "grow compute" => assert_eq!(size == LARGE, is, "{why}"),
        "shrink compute" => assert_eq!(size == SMALL, is, "{why}"),
        "grow storage" => both(conf, "max_wal_size = 2GB"),
        "protect" => both(conf, "default_transaction_read_only = on"),
        "plain text" => {
            both(
                "pg_hba.conf",
                "host       all          all             all                 scram",
            );
        }
        _ => {}
    }
    let running = running(world).await;
    let gib = server.spec.storage_gib;
    assert_eq!(running, [format!("2x {size}"), format!("2x {gib}")].into(), "{why}: counted");
}

/// Quantities of the meters that run.
async fn running(world: &World) -> BTreeSet<String> {
    let now = pgflex::clock::Clock::now(&world.clock) + chrono::Duration::days(1);
    let store = &world.services.store;
    let all = store.meter_intervals(chrono::DateTime::UNIX_EPOCH, now).await.unwrap();
    all.into_iter().filter(|one| one.ended_at.is_none()).map(|one| one.quantity).collect()
}

async fn assert_nothing_left(world: &World, why: &str) {
    for engine in world.engines() {
        assert_eq!(engine.remaining(), Vec::<String>::new(), "{why}");
    }
    assert_eq!(world.services.store.members_all().await.unwrap().len(), 0, "{why}");
    assert_eq!(running(world).await, BTreeSet::new(), "{why}");
}

/// Nothing runs, nobody is let in, and the standby is as complete as it was.
async fn assert_stopped(world: &World, operation: &Operation, why: &str) {
    let pair = Pair::of(world, operation).await;
    pair.assert_sound(why).await;
    assert!(pair.row.state == S::Stopped && pair.row.is_promotable, "{why}: {:?}", pair.row);
    for member in &pair.members {
        let facts = pair.engine(member).container(&member.container()).await.unwrap().unwrap();
        assert_ne!(facts.state, "running", "{why}: {:?}", member.role);
    }
    let primary = pair.role(MemberRole::Primary).unwrap();
    let waits = pair.file(primary, "postgresql.conf").contains("FIRST 1 (\"pgflex_");
    assert!(waits, "{why}: whoever starts it acknowledges nothing that the standby lacks");
    let routes = world.services.store.route_snapshot("x").await.unwrap().routes;
    assert!(routes.iter().all(|route| route.state == RouteState::Closed), "{why}");
    assert_eq!(running(world).await, ["2x 32".to_owned()].into(), "{why}");
}

#[tokio::test]
async fn every_change_of_a_pair_runs_to_the_end() {
    for case in cases() {
        let (world, id) = begun(case).await;
        let operation = world.run_to_rest(&world.runner(), &id).await;
        assert_succeeded(&world, case, &operation, case.name).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_pair_ends_right_when_killed_at_every_moment() {
    together(cases(), |case| async move {
        for step in steps(case) {
            for point in Point::ALL {
                let why = format!("{} killed at {} {point:?}", case.name, step.name);
                let (world, id) = begun(case).await;
                let hook = once(step.name, point, false, Interference::Kill);
                let operation = world.run_through(hook, &id).await;
                assert_succeeded(&world, case, &operation, &why).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_of_a_pair_is_taken_back_or_finished_when_a_step_fails() {
    together(cases(), |case| async move {
        for (at, step) in steps(case).iter().enumerate() {
            for point in [Point::Begun, Point::Acted] {
                let why = format!("{} failed at {} {point:?}", case.name, step.name);
                let (world, id) = begun(case).await;
                let hook = once(step.name, point, false, Interference::Fail);
                let operation = world.run_through(hook, &id).await;
                if !steps(case)[..at].iter().any(|step| step.point_of_no_return) {
                    assert_unwound(&world, case, &operation, &why).await;
                    continue;
                }
                assert_eq!(operation.status, OperationStatus::NeedsAttention, "{why}");
                world.door().retry(&operation, &Actor::system(), None).await.unwrap();
                let operation = world.run_to_rest(&world.runner(), &id).await;
                assert_succeeded(&world, case, &operation, &why).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unwinding_a_change_of_a_pair_survives_a_kill_at_every_moment() {
    together(cases(), |case| async move {
        let all = steps(case);
        let point_of = all.iter().position(|step| step.point_of_no_return).unwrap();
        let last = all[point_of].name;
        for step in all[..=point_of].iter().filter(|step| matches!(step.undo, Undo::Run(_))) {
            for point in Point::ALL {
                let why = format!("{}: killed while undoing {} {point:?}", case.name, step.name);
                let (world, id) = begun(case).await;
                let fail = once(last, Point::Begun, false, Interference::Fail);
                let kill = once(step.name, point, true, Interference::Kill);
                let hook: Hook = Arc::new(move |moment: Moment<'_>| match fail(moment) {
                    Interference::None => kill(moment),
                    other => other,
                });
                let operation = world.run_through(hook, &id).await;
                assert_unwound(&world, case, &operation, &why).await;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_reply_of_either_engine_does_no_harm_to_a_change_of_a_pair() {
    together(cases(), |case| async move {
        for at in 0..2 {
            let (calm, id) = begun(case).await;
            let before = calm.engines()[at].calls().len();
            calm.run_to_rest(&calm.runner(), &id).await;
            let calls = calm.engines()[at].calls();
            let method = |call: &String| METHODS.iter().find(|name| call.starts_with(*name));
            let methods: BTreeSet<_> = calls[before..].iter().filter_map(method).collect();
            for method in methods {
                let (world, id) = begun(case).await;
                world.engines()[at].inject(method, 1, Fault::LoseReply);
                let operation = world.run_to_rest(&world.runner(), &id).await;
                let why = format!("{}, reply of {method} lost on engine {at}", case.name);
                assert_succeeded(&world, case, &operation, &why).await;
            }
        }
    })
    .await;
}

/// Sizes of the sweeps are two of one tier.
#[test]
fn the_sizes_are_there() {
    for name in [SMALL, LARGE] {
        assert_eq!(Sku::by_name(name).unwrap().tier, Tier::GeneralPurpose);
    }
}
