//! Backups of a pair, copied from its standby: killed and failed at every step, and given up for the primary alone
//! whenever the standby is not there, cannot be reached, or is lost in the middle.

use super::far::{apart, helpers, protection, submit_into, succeed};
use super::*;
use crate::world::changes;
use pgflex::domain::activity::Actor;
use pgflex::domain::backup::{CopiedFrom, stanza_of};
use pgflex::domain::ha::{HighAvailability, Move};
use pgflex::domain::ids::{OperationId, ServerId};
use pgflex::domain::operation::Operation;
use pgflex::engine::EngineError;
use pgflex::operations::backup::repository;
use pgflex::operations::submit::Change;
use pgflex::store::Record;

/// A pair in sync over two engines, and its first backup submitted.
async fn submitted() -> (World, OperationId) {
    let world = apart().await;
    let build = world.submit(OperationKind::BuildStandby).await;
    let server = succeed(&world, &build).await.server_id;
    let id = submit_into(&world, &server, 1).await;
    (world, id)
}

/// One backup, copied from there, in the list and in the repository, and nothing that was there for it alone.
async fn assert_copied(world: &World, operation: &Operation, from: Option<CopiedFrom>, why: &str) {
    assert_eq!(operation.status, OperationStatus::Succeeded, "{why}: {:?}", operation.error);
    let server = &operation.server_id;
    let seen = protection(world, server).await;
    let good: Vec<_> = seen.good_in(1).collect();
    assert_eq!(good.len(), 1, "{why}: {:?}", seen.backups);
    assert!(good[0].verified_at.is_some() && good[0].copied_from.is_some(), "{why}: {good:?}");
    if from.is_some() {
        assert_eq!(good[0].copied_from, from, "{why}");
    }
    let volume =
        repository::blueprint(&world.services, &seen.repositories[0].host_id).volume_name();
    assert_eq!(world.engine.backups(&volume, &stanza_of(server)).len(), 1, "{why}: taken once");
    assert_eq!(helpers(world), Vec::<String>::new(), "{why}");
}

async fn told(world: &World, operation: &Operation) -> String {
    let lines = world.services.store.operation_log(&operation.id, 1000).await.unwrap();
    lines.into_iter().map(|line| line.text + "\n").collect()
}

#[tokio::test]
async fn a_backup_of_a_pair_is_copied_from_its_standby() {
    let (world, id) = submitted().await;
    let operation = succeed(&world, &id).await;
    assert_copied(&world, &operation, Some(CopiedFrom::Standby), "to the end").await;
    let opened = |call: &String| call.starts_with("start_container") && call.ends_with("-door");
    assert!(world.far.calls().iter().any(opened), "the standby's data are behind a door");
    assert!(!world.engine.calls().iter().any(opened), "the primary's are beside the repository");
    assert!(told(&world, &operation).await.contains("copied from the standby"));
}

#[tokio::test]
async fn a_backup_of_a_pair_ends_right_when_killed_or_failed_at_every_step() {
    for (at, step) in steps(OperationKind::Backup).iter().enumerate() {
        for point in Point::ALL {
            let (world, id) = submitted().await;
            let why = format!("killed at {} {point:?}", step.name);
            let hook = once(step.name, point, false, Interference::Kill);
            let operation = world.run_through(hook, &id).await;
            assert_copied(&world, &operation, Some(CopiedFrom::Standby), &why).await;
        }
        if before_return(OperationKind::Backup, at) {
            let (world, id) = submitted().await;
            let why = format!("failed at {}", step.name);
            let hook = once(step.name, Point::Acted, false, Interference::Fail);
            let operation = world.run_through(hook, &id).await;
            assert_eq!(operation.status, OperationStatus::Failed, "{why}");
            let seen = protection(&world, &operation.server_id).await;
            assert!(seen.backups.is_empty(), "{why}: {:?}", seen.backups);
            assert_eq!(helpers(&world), Vec::<String>::new(), "{why}");
        }
    }
}

#[tokio::test]
async fn a_lost_reply_does_a_backup_of_a_pair_no_harm() {
    for at in 0..2 {
        for method in METHODS {
            let (world, id) = submitted().await;
            world.engines()[at].inject(method, 1, Fault::LoseReply);
            let operation = world.run_to_rest(&world.runner(), &id).await;
            let why = format!("{method} on engine {at}");
            assert_copied(&world, &operation, None, &why).await;
        }
    }
}

/// Whatever goes wrong with the standby's help: the primary alone is copied, and the log says why.
#[tokio::test]
async fn a_copy_that_fails_with_the_standby_is_taken_of_the_primary_alone() {
    for point in [None, Some(Point::Acted), Some(Point::Recorded)] {
        let (world, id) = submitted().await;
        let line = "timeout before standby replayed to 0/4000028";
        world.engine.fail_backup_tool("backup", line);
        let operation = match point {
            None => world.run_to_rest(&world.runner(), &id).await,
            Some(point) => {
                let hook = once("copy", point, false, Interference::Kill);
                world.run_through(hook, &id).await
            }
        };
        let why = format!("killed at copy {point:?}");
        assert_copied(&world, &operation, Some(CopiedFrom::Primary), &why).await;
        let told = told(&world, &operation).await;
        assert!(told.contains("from the primary alone") && told.contains(line), "{told}");
    }
}

#[tokio::test]
async fn a_standby_whose_host_is_silent_keeps_nobody_from_a_backup() {
    let (world, id) = submitted().await;
    let strike = {
        let far = world.far.clone();
        let armed = AtomicBool::new(true);
        Arc::new(move |moment: Moment<'_>| {
            let here = moment.step == "choose_source" && moment.point == Point::Recorded;
            if here && armed.swap(false, Ordering::SeqCst) {
                far.inject_everywhere(Fault::Fail(EngineError::Silent("cut off".into())));
            }
            Interference::None
        })
    };
    let operation = world.run_through(strike, &id).await;
    assert_copied(&world, &operation, Some(CopiedFrom::Primary), "its host is silent").await;
    assert!(told(&world, &operation).await.contains("cannot be opened"));
}

/// The row of the pair is changed while the helper copies.
async fn lose(world: &World, server: &ServerId, change: &Move) {
    let row = world.services.store.ha(server).await.unwrap().unwrap();
    let now = row.changed_at;
    let row: HighAvailability = row.after(change, now).unwrap();
    let mut tx = world.services.store.begin_write(now).await.unwrap();
    tx.replace_ha(&row).await.unwrap();
    tx.commit(Record::Nothing("as a disarming does")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_lost_in_the_middle_is_given_up() {
    let (world, id) = submitted().await;
    let world = Arc::new(world);
    let server = world.operation(&id).await.server_id;
    world.engine.slow_backup_tool(5);
    let armed = Arc::new(AtomicBool::new(true));
    let inner = world.clone();
    let strike = move || {
        tokio::runtime::Handle::current().block_on(async {
            let open = helpers(&inner).iter().any(|one| one.ends_with("-door"));
            assert!(open, "the way to the standby is open while it copies");
            lose(&inner, &server, &Move::DisarmBegins).await;
        });
    };
    let hook: Hook = Arc::new(move |moment: Moment<'_>| {
        let here = moment == (Moment { step: "copy_standby", point: Point::Acted, undoing: false });
        if here && armed.swap(false, Ordering::SeqCst) {
            tokio::task::block_in_place(&strike);
        }
        Interference::None
    });
    let operation = world.run_through(hook, &id).await;
    assert_copied(&world, &operation, Some(CopiedFrom::Primary), "disarmed").await;
    assert!(told(&world, &operation).await.contains("does not count"));
}

/// After a failover the primary is not where the repository is, and its standby may be: both are behind doors.
#[tokio::test]
async fn the_new_standby_of_a_pair_that_failed_over_is_copied_from() {
    let (world, id) = submitted().await;
    let server = succeed(&world, &id).await.server_id;
    changes::prepare(&world, OperationKind::Failover, &server).await;
    for kind in [OperationKind::Failover, OperationKind::BuildStandby] {
        let change = Change { kind, input: changes::input(kind) };
        let actor = Actor::system();
        let id = world.door().submit_change(change, &server, &actor, None).await.unwrap();
        succeed(&world, &id).await;
    }
    succeed(&world, &submit_into(&world, &server, 1).await).await;
    let seen = protection(&world, &server).await;
    let from: Vec<_> = seen.good_in(1).map(|one| one.copied_from).collect();
    assert_eq!(from, [Some(CopiedFrom::Standby); 2], "{:?}", seen.backups);
    for engine in world.engines() {
        let opened = |call: &String| call.starts_with("start_container") && call.ends_with("-door");
        assert!(engine.calls().iter().any(opened));
    }
    assert_eq!(helpers(&world), Vec::<String>::new());
}
