//! A Docker Engine through bollard. Only this folder and `engine::image` know bollard.
//!
//! An address is a local socket (`unix:///…`), TCP with mutual TLS, or plain TCP to a loopback address (an SSH
//! tunnel, a test). Plain TCP to anything else is refused: whoever reads or speaks there owns the host.

mod address;
mod container;
mod disk;
mod disk_scripts;
pub(super) mod errors;
mod events;
mod facts;
mod files;
mod limits;
mod network;
mod places;
pub(super) mod process;
mod tls;
mod usage;
mod volume;

use super::EngineTls;
use super::image::ImageMaker;
use super::{
    ContainerFacts, ContainerSpec, DiskAnswer, DiskSpec, Engine, EngineError, FileSpec,
    ImageProgress, ImageSource, ImageStream, Labels, Limits, NetworkFacts, NetworkJoin,
    NetworkSpec, OwnedObject, Reserve, VolumeSpec, label,
};
use crate::domain::host::EngineFacts;
use crate::domain::storage::VolumeUsage;
use crate::domain::version::Major;
use address::Address;
use async_trait::async_trait;
use bollard::{API_DEFAULT_VERSION, Docker};
use std::time::Duration;
use tls::Transport;
use tokio::sync::OnceCell;

/// Reads: inspect, list, version.
const LOOK: Duration = Duration::from_secs(10);
/// Writes that the engine does at once: network, volume, container made, signal sent.
const CHANGE: Duration = Duration::from_secs(30);
/// Start: cgroups, mounts and addresses are made, which takes its time on a loaded host.
const START: Duration = Duration::from_secs(60);
/// What stop and removal may take beyond the container's own grace.
const STOP_MARGIN: Duration = Duration::from_secs(15);
/// Grace of a removal before the kill.
const REMOVE_GRACE: Duration = Duration::from_secs(20);
/// Bollard's own limit on an answer's head; ours above are shorter, except for long waits.
const TRANSPORT_SECONDS: u64 = 1800;

/// One engine. Cheap to make: nothing is opened before the first call.
pub struct DockerEngine {
    address: Address,
    /// `None` where the address needs no TLS.
    tls: Option<Transport>,
    install_id: String,
    client: OnceCell<Docker>,
    images: ImageMaker,
}

impl DockerEngine {
    /// An engine at `address` without TLS: a local socket or a loopback port. It need not be up.
    ///
    /// # Errors
    /// When the address is not one that may be used so.
    pub fn connect(address: &str, install_id: impl Into<String>) -> Result<Self, EngineError> {
        Self::connect_with(address, None, install_id)
    }

    /// An engine at `address`, whose objects carry `install_id`; with `tls` both sides show a certificate.
    ///
    /// # Errors
    /// When the address is not one that may be used, or the certificates cannot be read.
    pub fn connect_with(
        address: &str,
        tls: Option<&EngineTls>,
        install_id: impl Into<String>,
    ) -> Result<Self, EngineError> {
        let (address, install_id) = (Address::parse(address, tls.is_some())?, install_id.into());
        let tls = match (&address, tls) {
            (Address::Tls { host, port }, Some(tls)) => Some(Transport::new(host, *port, tls)?),
            _ => None,
        };
        let images = ImageMaker::new(&install_id);
        Ok(Self { address, tls, install_id, client: OnceCell::new(), images })
    }

    /// The client, with the API version that both sides know. Asked for until the engine answers once;
    /// after that each request opens a connection of its own, so a restart of the engine needs nothing.
    async fn client(&self) -> Result<&Docker, EngineError> {
        self.client.get_or_try_init(|| self.negotiated()).await
    }

    async fn negotiated(&self) -> Result<Docker, EngineError> {
        let docker = match (&self.address, &self.tls) {
            (_, Some(transport)) => {
                let url = transport.url();
                let transport = transport.clone();
                let call = move |request| transport.clone().call(request);
                Docker::connect_with_custom_transport(
                    call,
                    Some(url),
                    TRANSPORT_SECONDS,
                    API_DEFAULT_VERSION,
                )
            }
            (Address::Unix(path), None) => {
                Docker::connect_with_unix(path, TRANSPORT_SECONDS, API_DEFAULT_VERSION)
            }
            (Address::Loopback(address), None) => {
                let url = format!("tcp://{address}");
                Docker::connect_with_http(&url, TRANSPORT_SECONDS, API_DEFAULT_VERSION)
            }
            (Address::Tls { .. }, None) => return Err(address::needs_tls()),
        };
        let docker = docker.map_err(|error| errors::explain("the engine", error))?;
        errors::within(LOOK, "the engine's version", docker.negotiate_version()).await
    }

    /// Whether labels are of this installation.
    fn is_ours(&self, labels: &Labels) -> bool {
        labels.get(label::INSTALL) == Some(&self.install_id)
    }
}

/// Host of the address of an engine with TLS, without brackets; `None` for any other address.
pub fn host_of(address: &str) -> Option<String> {
    match Address::parse(address, true) {
        Ok(Address::Tls { host, .. }) => Some(host),
        _ => None,
    }
}

/// Whether an object that was found is the one that was wanted: same installation, server and member.
fn is_same(found: &Labels, wanted: &Labels) -> bool {
    let key = |labels: &Labels, key: &str| labels.get(key).cloned();
    [label::INSTALL, label::SERVER, label::MEMBER, label::NETWORK]
        .into_iter()
        .all(|name| key(found, name) == key(wanted, name))
}

fn labels_of(map: Option<std::collections::HashMap<String, String>>) -> Labels {
    map.unwrap_or_default().into_iter().collect()
}

fn to_map(labels: &Labels) -> std::collections::HashMap<String, String> {
    labels.clone().into_iter().collect()
}

#[async_trait]
impl Engine for DockerEngine {
    async fn facts(&self) -> Result<EngineFacts, EngineError> {
        self.read_facts().await
    }

    async fn ensure_image(&self, major: Major) -> Result<ImageProgress, EngineError> {
        self.images.ensure(self.client().await?, major, vec![]).await
    }

    async fn carry_image(
        &self,
        major: Major,
        sources: Vec<ImageSource>,
    ) -> Result<ImageProgress, EngineError> {
        self.images.ensure(self.client().await?, major, sources).await
    }

    async fn export_image(&self, tag: &str) -> Result<ImageStream, EngineError> {
        self.save_image(tag).await
    }

    async fn ensure_network(&self, spec: &NetworkSpec) -> Result<(), EngineError> {
        self.make_network(spec).await
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        self.drop_network(name).await
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkFacts>, EngineError> {
        self.look_at_network(name).await
    }

    async fn connect_network(
        &self,
        container: &str,
        join: &NetworkJoin,
    ) -> Result<(), EngineError> {
        self.join(container, join).await
    }

    async fn disconnect_network(&self, container: &str, network: &str) -> Result<(), EngineError> {
        self.leave(container, network).await
    }

    async fn ensure_volume(&self, spec: &VolumeSpec) -> Result<(), EngineError> {
        self.make_volume(spec).await
    }

    async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        self.is_volume(name).await
    }

    async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        self.drop_volume(name).await
    }

    async fn ensure_disk(&self, spec: &DiskSpec) -> Result<DiskAnswer, EngineError> {
        self.make_disk(spec).await
    }

    async fn grow_disk(&self, spec: &DiskSpec) -> Result<(), EngineError> {
        self.enlarge_disk(spec).await
    }

    async fn tend_disk(
        &self,
        spec: &DiskSpec,
        reserve: Reserve,
    ) -> Result<VolumeUsage, EngineError> {
        self.look_at_disk(spec, reserve).await
    }

    async fn volume_usage(
        &self,
        container: &str,
        is_sized: bool,
    ) -> Result<VolumeUsage, EngineError> {
        self.measure(container, is_sized).await
    }

    async fn ensure_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        self.make_container(spec).await
    }

    async fn remove_container(&self, name: &str) -> Result<(), EngineError> {
        self.drop_container(name).await
    }

    async fn put_files(&self, container: &str, files: &[FileSpec]) -> Result<(), EngineError> {
        self.upload(container, files).await
    }

    async fn get_file(&self, container: &str, path: &str) -> Result<Option<Vec<u8>>, EngineError> {
        self.download(container, path).await
    }

    async fn start_container(&self, name: &str) -> Result<(), EngineError> {
        self.start(name).await
    }

    async fn stop_container(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        self.stop(name, grace).await
    }

    async fn signal_container(&self, name: &str, signal: &str) -> Result<(), EngineError> {
        self.signal(name, signal).await
    }

    async fn wait_exit(&self, name: &str, patience: Duration) -> Result<Option<i64>, EngineError> {
        self.wait(name, patience).await
    }

    async fn tail(&self, name: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        self.last_lines(name, lines).await
    }

    async fn output(&self, name: &str) -> Result<String, EngineError> {
        self.read_output(name).await
    }

    async fn update_limits(&self, name: &str, limits: &Limits) -> Result<(), EngineError> {
        self.set_limits(name, limits).await
    }

    async fn set_restart(&self, name: &str, restarts: bool) -> Result<(), EngineError> {
        self.change_restart(name, restarts).await
    }

    async fn events(
        &self,
        to: tokio::sync::mpsc::Sender<crate::engine::EngineEvent>,
    ) -> Result<(), EngineError> {
        self.follow_events(&to).await
    }

    async fn cpu_nanos(&self, name: &str) -> Result<Option<u64>, EngineError> {
        self.read_cpu(name).await
    }

    async fn container(&self, name: &str) -> Result<Option<ContainerFacts>, EngineError> {
        self.look_at(name).await
    }

    async fn owned(&self) -> Result<Vec<OwnedObject>, EngineError> {
        self.list_owned().await
    }

    async fn installations(&self) -> Result<std::collections::BTreeSet<String>, EngineError> {
        self.list_installations().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_that_is_down_is_silent() {
        let engine = DockerEngine::connect("unix:///nowhere/docker.sock", "i").unwrap();
        assert!(engine.facts().await.unwrap_err().is_transient());
        let engine = DockerEngine::connect("tcp://127.0.0.1:9", "i").unwrap();
        assert!(engine.owned().await.unwrap_err().is_transient());
    }
}
