//! What goes wrong around the portal: an engine that hangs, no engine at all, a full disk under the store.

use crate::portal::Portal;
use pgflex::domain::operation::OperationStatus;
use pgflex::engine::docker::DockerEngine;
use pgflex::engine::{Engine, EngineError};
use std::process::Command;
use std::time::{Duration, Instant};

/// Accepts and never answers: every call must come back by itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_is_silent_not_waited_for() {
    let path = std::env::temp_dir().join(format!("pgflex-{}.sock", pgflex::clock::new_uuid()));
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let held = tokio::spawn(async move {
        let mut held = vec![];
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let engine = DockerEngine::connect(&format!("unix://{}", path.display()), "x").unwrap();
    assert!(matches!(engine.facts().await, Err(EngineError::Silent(_))));
    held.abort();
    std::fs::remove_file(path).unwrap();
}

fn get(url: &str) -> String {
    let output = Command::new("curl").args(["-s", "-i", "-m", "20", url]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks again until the page says it: the first look at the engine needs a moment.
fn get_until(url: &str, text: &str) -> String {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let page = get(url);
        if page.contains(text) || Instant::now() > end {
            return page;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_engine_the_portal_starts_and_its_pages_say_so() {
    let mut portal = Portal::new().await;
    portal.start(&["--docker-host=unix:///nonexistent/docker.sock"]);
    let link = portal.wait_line("/setup/");
    let link = link.split_whitespace().last().unwrap().to_owned();
    // The notice itself stands on the pages of signed-in people: see the portal's stories of hosts.
    let page = get_until(&link, "Set up pgflex");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(get(&format!("{}/readyz", portal.url())).starts_with("HTTP/1.1 200"));
    let id = portal.submit_create("waits").await;
    let operation = portal.wait_settled(&id).await;
    assert_eq!(operation.status, OperationStatus::Failed, "there is no host to place it on");
    assert!(operation.error.unwrap().contains("does not answer"));
    portal.kill();
}

/// A file system of a few megabytes, unmounted at the end.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder =
            std::env::temp_dir().join(format!("pgflex-small-{}", pgflex::clock::new_uuid()));
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs"])
            .arg(&folder)
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_nothing_and_passes_when_there_is_room_again() {
    let Some(disk) = SmallDisk::mount() else {
        println!("SKIPPED: a small file system cannot be mounted here");
        return;
    };
    let mut portal = Portal::in_folder(disk.0.join("data")).await;
    portal.start(&["--docker-host=unix:///nonexistent/docker.sock"]);
    portal.wait_line("pgflex is at");
    let before = portal.submit_create("before").await;
    portal.wait_settled(&before).await;

    let ballast = disk.0.join("ballast");
    let _ = std::fs::write(&ballast, vec![0u8; 8 << 20]);
    // Often enough that every connection of the pool has met the full disk.
    for _ in 0..24 {
        let refused = portal.try_submit_create("during").await;
        assert!(refused.is_err(), "nothing may be promised that was not written");
    }
    let home = get(&format!("{}/sign-in", portal.url()));
    assert!(home.starts_with("HTTP/1.1 200"), "reading goes on: {home}");

    std::fs::remove_file(&ballast).unwrap();
    assert!(portal.app.store.operation(&before).await.unwrap().is_some(), "nothing was lost");
    for at in 0..9 {
        let after = portal.submit_create(&format!("after-{at}")).await;
        portal.wait_settled(&after).await;
    }
    portal.kill();
    drop(portal);
}
