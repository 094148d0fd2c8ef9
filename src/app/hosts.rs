//! Hosts of the configuration file, with the certificates that it names.

use crate::config::{HostConfig, TlsPaths};
use crate::engine::EngineTls;
use crate::engine::docker::DockerEngine;
use crate::operations::engines::seal_tls;
use crate::secrets::{Sealer, Secret};
use crate::store::hosts::HostEntry;
use anyhow::Context;
use std::net::IpAddr;
use std::path::Path;

/// The hosts as the store takes them.
///
/// # Errors
/// When a file cannot be read, or address and certificates cannot be used; each error names the host.
pub(super) fn entries(
    hosts: &[HostConfig],
    sealer: &Sealer,
    install_id: &str,
) -> anyhow::Result<Vec<HostEntry>> {
    hosts.iter().map(|host| entry(host, sealer, install_id)).collect()
}

fn entry(host: &HostConfig, sealer: &Sealer, install_id: &str) -> anyhow::Result<HostEntry> {
    let tls = host.tls.as_ref().map(read).transpose();
    let tls = tls.with_context(|| format!("the certificates of the host {}", host.name))?;
    // What cannot be used is said at the start, not at the first server.
    DockerEngine::connect_with(&host.address, tls.as_ref(), install_id)
        .with_context(|| format!("the host {} cannot be used", host.name))?;
    let sealed_tls = tls.map(|tls| seal_tls(sealer, &host.name, &tls)).transpose()?;
    let member_address = match (host.member_address, &sealed_tls) {
        (None, Some(_)) => Some(usual_member_address(&host.address).with_context(|| {
            format!(
                "the host {} needs member_address, the IP address at which other machines reach it",
                host.name
            )
        })?),
        (given, _) => given,
    };
    Ok(HostEntry {
        name: host.name.clone(),
        address: host.address.clone(),
        places: host.places.clone(),
        member_address,
        sealed_tls,
    })
}

/// The address of an engine that is reached by IP address.
fn usual_member_address(address: &str) -> Option<IpAddr> {
    crate::engine::docker::host_of(address)?.parse().ok()
}

fn read(paths: &TlsPaths) -> anyhow::Result<EngineTls> {
    Ok(EngineTls {
        ca: text(&paths.ca)?,
        certificate: text(&paths.certificate)?,
        key: Secret::new(text(&paths.key)?),
    })
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("the file {} cannot be read", path.display()))
}
