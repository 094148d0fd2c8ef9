//! Hosts of the configuration file, with the certificates that it names.

use crate::config::{HostConfig, TlsPaths};
use crate::operations::host_entry::{Certificates, HostWish, check};
use crate::secrets::{Sealer, Secret};
use crate::store::hosts::HostEntry;
use anyhow::Context;
use std::path::Path;

/// The hosts as the store takes them.
///
/// # Errors
/// When a file cannot be read, or address and certificates cannot be used; each error names the host.
pub(super) fn entries(hosts: &[HostConfig], sealer: &Sealer) -> anyhow::Result<Vec<HostEntry>> {
    hosts.iter().map(|host| entry(host, sealer)).collect()
}

fn entry(host: &HostConfig, sealer: &Sealer) -> anyhow::Result<HostEntry> {
    let tls = host.tls.as_ref().map(read).transpose();
    let wish = HostWish {
        name: host.name.clone(),
        address: host.address.clone(),
        member_address: host.member_address.map(|ip| ip.to_string()).unwrap_or_default(),
        places: host.places.clone(),
        tls: tls.with_context(|| format!("the certificates of the host {}", host.name))?,
    };
    // What cannot be used is said at the start, not at the first server.
    check(sealer, wish, None).with_context(|| format!("the host {} cannot be used", host.name))
}

pub(crate) fn read(paths: &TlsPaths) -> anyhow::Result<Certificates> {
    Ok(Certificates {
        ca: text(&paths.ca)?,
        certificate: text(&paths.certificate)?,
        key: Secret::new(text(&paths.key)?),
    })
}

fn text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("the file {} cannot be read", path.display()))
}
