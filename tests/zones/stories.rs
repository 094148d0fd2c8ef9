//! Hosts on other machines: created on, carried to, cut off.

use crate::engines::Zones;
use crate::portal::Portal;
use pgflex::domain::operation::OperationKind;
use pgflex::engine::{Engine, EngineError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The image is in zone 1 alone; nothing in zone 2 could build it.
pub async fn an_image_is_carried_to_a_zone_that_lacks_it(zones: Arc<Zones>) {
    let portal = Portal::start(&zones).await;
    let first = portal.create("first", 1).await;
    assert_eq!(portal.psql(&first, "SELECT 1").await.unwrap(), "1");

    let id = portal.submit_create("second", 2).await;
    let second = portal.succeed(&id).await.server_id;
    let log = portal.log_of(&id).await;
    assert!(log.contains("from host zone-1"), "{log}");
    assert_eq!(portal.psql(&second, "SELECT 1").await.unwrap(), "1");

    // The way in leads to the published port, and the same image runs in both zones.
    let (one, two) =
        (portal.members(&first).await.remove(0), portal.members(&second).await.remove(0));
    assert_eq!(one.image, two.image);
    let container = portal.zones.docker(2, &["port", &two.container()]);
    let published = format!("{}:{}", zones.ip(2), two.port.unwrap());
    assert!(container.contains(&published), "{container}");
    portal.finish().await;
}

pub async fn a_zone_that_is_cut_off_holds_up_no_other(zones: Arc<Zones>) {
    let mut portal = Portal::start(&zones).await;
    let (here, there) = (portal.create("here", 1).await, portal.create("there", 2).await);
    zones.cut(2);
    // More of them than the runner works on at once, all waiting for the silent engine.
    let mut waiting = vec![];
    waiting.push(portal.submit(OperationKind::Restart, &there).await);
    for number in 0..6 {
        waiting.push(portal.submit_create(&format!("waiting-{number}"), 2).await);
    }
    let restart = portal.submit(OperationKind::Restart, &here).await;
    portal.succeed(&restart).await;
    let other = portal.create("other", 1).await;
    assert_eq!(portal.psql(&other, "SELECT 1").await.unwrap(), "1");
    assert!(portal.psql(&there, "SELECT 1").await.is_err());

    let is_silent = async |portal: &Portal| {
        let seen = portal.app.store.host_observations().await.unwrap();
        seen.iter().filter(|host| host.error.is_some()).count() == 1
    };
    portal.until("the cut engine is called silent, and no other", is_silent).await;
    let page = portal.page("/hosts").await;
    let card = page
        .split("<section")
        .find(|part| part.contains("zone-2") && part.contains("Does not answer"));
    assert!(card.is_some(), "{page}");

    // A portal that starts while a zone is gone serves the others.
    portal.restart();
    let answers = async |portal: &Portal| portal.psql(&here, "SELECT 1").await.is_ok();
    portal.until("the portal is back", answers).await;

    zones.heal(2);
    portal.succeed(&waiting[0]).await;
    let back = async |portal: &Portal| portal.psql(&there, "SELECT 1").await.is_ok();
    portal.until("the server answers again", back).await;
    for id in &waiting[1..] {
        portal.wait_settled(id).await;
    }
    portal.finish().await;
}

pub async fn an_engine_that_is_cut_off_is_silent_within_seconds(zones: Arc<Zones>) {
    let engine = zones.engine(3, "nobody");
    assert!(engine.facts().await.unwrap().clock_ahead_ms.is_some_and(|ahead| ahead.abs() < 1000));
    // A connection that is open learns of it too.
    let (to, mut events) = tokio::sync::mpsc::channel(1);
    let follow = tokio::spawn({
        let engine = zones.engine(3, "nobody");
        async move { engine.events(to).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    zones.cut(3);
    let begin = Instant::now();
    let answer = engine.owned().await;
    assert!(matches!(answer, Err(EngineError::Silent(_))), "{answer:?}");
    // Far above what it takes, far below what the system would wait.
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    println!("silent after {:.1} s", begin.elapsed().as_secs_f64());
    assert!(events.recv().await.is_none());
    assert!(matches!(follow.await.unwrap(), Err(EngineError::Silent(_))));
    println!("the events ended after {:.1} s", begin.elapsed().as_secs_f64());
}
