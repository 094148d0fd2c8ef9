//! The machine and its processes, as `/proc` tells.

use crate::docker;
use anyhow::Context;
use pgflex::clock::{Clock, SystemClock};

/// Ticks of a second in `/proc/PID/stat`. Linux tells programs 100 on every machine it runs on today.
const TICKS_PER_SECOND: f64 = 100.0;

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What somebody must know to compare the figures with others.
pub async fn facts() -> Vec<(&'static str, String)> {
    let engine = docker::docker(&["version", "--format", "{{.Server.Version}}"]).await;
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let memory = read("/proc/meminfo");
    let memory_kib = memory.lines().find_map(|line| kib(line, "MemTotal:")).unwrap_or(0);
    vec![
        ("date", SystemClock.now().format("%Y-%m-%d %H:%M UTC").to_string()),
        ("pgflex", env!("CARGO_PKG_VERSION").to_owned()),
        ("cores", format!("{} ({})", cores(), model.unwrap_or("unknown").trim())),
        ("memory", format!("{:.1} GiB", memory_kib as f64 / f64::from(1 << 20))),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        (
            "engine",
            engine.map_or_else(|error| format!("none ({error})"), |v| format!("Docker {v}")),
        ),
        ("load average at start", load()),
    ]
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Load of the last one, five and fifteen minutes. Above the number of cores something else runs too.
pub fn load() -> String {
    read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn kib(line: &str, name: &str) -> Option<u64> {
    line.strip_prefix(name)?.split_whitespace().next()?.parse().ok()
}

/// Seconds of CPU, user and system, that a process with all its threads has used.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    // The name in parentheses may hold anything; the fields after the last one are plain.
    let (_, fields) = stat.rsplit_once(')').context("an odd /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
}

/// Resident memory of a process in MiB: now, and the most it ever had.
pub fn memory_mib(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let mib = |name| {
        let found = status.lines().find_map(|line| kib(line, name));
        found.unwrap_or(0) as f64 / 1024.0
    };
    Ok((mib("VmRSS:"), mib("VmHWM:")))
}
