//! The `docker` program: what a person would type.

use anyhow::{Context, bail};
use std::ffi::OsStr;
use tokio::process::Command;

/// Runs a program to its end and gives what it wrote.
///
/// # Errors
/// When it cannot be started or ends badly; the error has its words.
pub async fn output<S: AsRef<OsStr>>(program: &str, args: &[S]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(args)
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{program} cannot be run: is it installed?"))?;
    if !output.status.success() {
        bail!(
            "{program} ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub async fn docker<S: AsRef<OsStr>>(args: &[S]) -> anyhow::Result<String> {
    output("docker", args).await
}

/// Removes containers, then networks and volumes that carry a label. Tells what it could not do.
pub async fn remove_labelled(label: &str) {
    let filter = format!("label={label}");
    let kinds: [(&[&str], &[&str]); 3] = [
        (&["ps", "--all"], &["rm", "--force", "--volumes"]),
        (&["network", "ls"], &["network", "rm"]),
        (&["volume", "ls"], &["volume", "rm", "--force"]),
    ];
    for (list, remove) in kinds {
        let listed = docker(&[list, &["--quiet", "--filter", &filter]].concat()).await;
        let Ok(ids) = listed.inspect_err(|error| eprintln!("bench: clean-up: {error:#}")) else {
            continue;
        };
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            continue;
        }
        if let Err(error) = docker(&[remove, &ids].concat()).await {
            eprintln!("bench: clean-up: {error:#}");
        }
    }
}
