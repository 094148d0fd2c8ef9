//! The `pgbench` program: loads, runs and what it says.

use crate::docker;
use crate::portal::{ADMIN, PASSWORD};
use anyhow::{Context, bail};
use std::path::PathBuf;
use tokio::process::Command;

/// 100,000 rows for each: ten fit into the memory of the server that is measured.
const SCALE: &str = "--scale=10";

/// What clients do.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub name: &'static str,
    pub options: &'static [&'static str],
    pub clients: u32,
}

const fn load(name: &'static str, options: &'static [&'static str], clients: u32) -> Load {
    Load { name, options, clients }
}

/// Everything that is measured.
pub const LOADS: [Load; 7] = [
    load("select-only", &["--select-only"], 1),
    load("select-only", &["--select-only"], 8),
    load("select-only", &["--select-only"], 32),
    load("simple-update", &["--skip-some-updates"], 1),
    load("simple-update", &["--skip-some-updates"], 8),
    load("simple-update", &["--skip-some-updates"], 32),
    load("select-only, new connection each", &["--select-only", "--connect"], 8),
];

/// What one run gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub per_second: f64,
    pub latency_ms: f64,
    pub transactions: f64,
}

/// The program: in the path, or where Debian keeps it.
pub async fn program() -> anyhow::Result<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|entry| entry.path().join("bin/pgbench")).filter(|path| path.exists());
    if docker::output("pgbench", &["--version"]).await.is_ok() {
        return Ok("pgbench".into());
    }
    debian.max().context("pgbench is not installed")
}

/// Fills the tables.
pub async fn initialise(program: &PathBuf, host: &str, port: u16) -> anyhow::Result<()> {
    run(program, host, port, &["--initialize", "--quiet", SCALE]).await.map(|_| ())
}

/// Runs a load for some seconds.
pub async fn bench(
    program: &PathBuf,
    (host, port): (&str, u16),
    load: &Load,
    seconds: u32,
) -> anyhow::Result<Figures> {
    let threads = load.clients.min(2);
    let own = [
        format!("--client={}", load.clients),
        format!("--jobs={threads}"),
        format!("--time={seconds}"),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let text = run(program, host, port, &[load.options, &own, &["--no-vacuum"]].concat()).await?;
    figures(&text).with_context(|| format!("pgbench said: {text}"))
}

async fn run(program: &PathBuf, host: &str, port: u16, options: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(options).arg(format!("--host={host}")).arg(format!("--port={port}"));
    command.arg(format!("--username={ADMIN}")).arg("postgres");
    command.env("PGPASSWORD", PASSWORD).env("PGSSLMODE", "require").kill_on_drop(true);
    let output = command.output().await.context("pgbench cannot be run")?;
    if !output.status.success() {
        bail!(
            "pgbench ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn figures(text: &str) -> Option<Figures> {
    let number = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.trim_start_matches([' ', ':', '=']).split([' ', '/']).next()?.parse::<f64>().ok()
    };
    Some(Figures {
        per_second: number("tps")?,
        latency_ms: number("latency average")?,
        transactions: number("number of transactions actually processed")?,
    })
}
