//! Who holds a lease: a name from which the same machine can tell that the holder is dead, so that a
//! restart goes on at once instead of waiting for the lease to end.

use crate::clock::new_uuid;
use std::fs;

/// A name for this process: boot, PID namespace, PID, start time, and a random part.
pub fn this_process() -> String {
    let pid = std::process::id();
    match (place(), start_time(pid)) {
        (Some(place), Some(start)) => format!("{place}/{pid}/{start}/{}", new_uuid()),
        _ => format!("unknown/{}", new_uuid()),
    }
}

/// Whether the process of that name is certainly dead. Processes of other machines, other boots' machines
/// or other PID namespaces are never called dead: their leases end by time.
pub fn is_dead(owner: &str) -> bool {
    let parts: Vec<&str> = owner.split('/').collect();
    let [boot, namespace, pid, start, _] = parts[..] else { return false };
    if place().as_deref() != Some(&format!("{boot}/{namespace}")) {
        return false;
    }
    pid.parse().is_ok_and(|pid: u32| start_time(pid).as_deref() != Some(start))
}

fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{}/{}", boot.trim(), namespace.to_string_lossy().replace('/', "")))
}

/// Start time of a process in clock ticks since boot; `None` when there is no such process or it is a zombie.
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after the last one are plain.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    (*fields.first()? != "Z").then(|| fields.get(19).map(|ticks| (*ticks).to_owned())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_gone_is_dead() {
        let me = this_process();
        assert!(!is_dead(&me));
        let mut parts: Vec<&str> = me.split('/').collect();
        parts[3] = "1";
        assert!(is_dead(&parts.join("/")), "another start time is another process");
        assert!(!is_dead("other-boot/pid:[1]/1/1/x"));
        assert!(!is_dead("unknown/x"));
    }
}
