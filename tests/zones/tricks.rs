//! Tricks on containers and processes, from the outside.

use super::engines::Zones;
use super::pair::Place;
use std::process::Command;
use std::time::Duration;

/// The portal may have killed it meanwhile: then there is nothing to thaw.
pub async fn pause(zones: &Zones, place: &Place, seconds: u64) {
    zones.docker(place.zone, &["pause", &place.container]);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    zones.try_docker(place.zone, &["unpause", &place.container]);
}

pub fn signal(process: u32, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(done.unwrap().success(), "no process {process}");
}

/// A process stands still for a while.
pub async fn hang(process: u32, time: Duration) {
    signal(process, "STOP");
    tokio::time::sleep(time).await;
    signal(process, "CONT");
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// The first process of a container is `flock` or, where that made way for it, the postmaster itself.
pub fn postmaster(zones: &Zones, place: &Place) -> u32 {
    let format = "--format={{.State.Pid}}";
    let first = zones.docker(place.zone, &["inspect", format, &place.container]);
    let first: u32 = first.parse().unwrap();
    let name = std::fs::read_to_string(format!("/proc/{first}/comm")).unwrap_or_default();
    if name.trim() == "postgres" { first } else { children(first)[0] }
}

pub fn kill_postmaster(zones: &Zones, place: &Place) {
    signal(postmaster(zones, place), "KILL");
}

/// A session of a user, in the middle of whatever it does.
pub fn kill_backend(zones: &Zones, place: &Place) {
    let title = |process: &u32| std::fs::read_to_string(format!("/proc/{process}/cmdline"));
    let backend = children(postmaster(zones, place))
        .into_iter()
        .find(|process| title(process).is_ok_and(|title| title.contains(super::portal::ADMIN)));
    if let Some(backend) = backend {
        // It may have ended by itself since.
        let _ = Command::new("kill").args(["-KILL", &backend.to_string()]).status();
    }
}

/// The process of PostgreSQL with a word in its title.
pub fn kill_titled(zones: &Zones, place: &Place, word: &str) {
    let title = |process: &u32| std::fs::read_to_string(format!("/proc/{process}/cmdline"));
    let found = children(postmaster(zones, place))
        .into_iter()
        .find(|process| title(process).is_ok_and(|title| title.contains(word)));
    signal(found.unwrap(), "TERM");
}

/// Runs a line of shell in a container.
pub fn exec(zones: &Zones, place: &Place, line: &str) -> String {
    zones.docker(place.zone, &["exec", &place.container, "sh", "-euc", line])
}

/// Takes all of a member's storage but `left` bytes; most of it without a write to the host's disk.
pub fn fill(zones: &Zones, place: &Place, left: u64) {
    let rest = if left == 0 { 128 << 20 } else { left };
    let line = format!(
        "cd /var/lib/pgflex; fallocate -l $(($(stat -f -c '%a * %S' .) - {rest})) filler || true; \
         [ {left} -gt 0 ] || dd if=/dev/zero of=filler-2 bs=64k 2>/dev/null || true"
    );
    exec(zones, place, &line);
}

/// The folder of this machine at which a member's volume is mounted.
pub fn source(zones: &Zones, place: &Place) -> String {
    let format = "--format={{range .Mounts}}{{if eq .Type \"volume\"}}{{.Source}}{{end}}{{end}}";
    zones.docker(place.zone, &["inspect", format, &place.container])
}

/// Nothing is left of a member: neither container nor volume nor, where it has one, its disk.
pub fn remove_with_volume(zones: &Zones, place: &Place) {
    let format = "--format={{range .Mounts}}{{if eq .Type \"volume\"}}{{.Name}}{{end}}{{end}}";
    let volume = zones.docker(place.zone, &["inspect", format, &place.container]);
    zones.docker(place.zone, &["rm", "--force", &place.container]);
    // What is mounted goes before what it is mounted from; the portal may be at the same.
    for volume in [volume.clone(), volume.replace("-data", "-disk")] {
        zones.try_docker(place.zone, &["volume", "rm", &volume]);
    }
}
