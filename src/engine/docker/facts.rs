//! What an engine says of itself, and what on it is ours.

use super::errors::{explain, within};
use super::{Address, DockerEngine, LOOK, labels_of};
use crate::clock::{Clock, SystemClock};
use crate::domain::host::EngineFacts;
use crate::domain::virtual_network::TakenRange;
use crate::engine::{EngineError, ImageStream, OwnedObject, label};
use bollard::Docker;
use bollard::models::{IpamConfig, Network, SystemInfo};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptions,
    ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
};
use chrono::DateTime;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::{BTreeSet, HashMap};

/// Repository of our images.
const IMAGES: &str = "pgflex/postgres";

impl DockerEngine {
    pub(super) async fn read_facts(&self) -> Result<EngineFacts, EngineError> {
        let client = self.client().await?;
        let (version, (info, clock_ahead_ms), images, ranges) = tokio::try_join!(
            within(LOOK, "the engine's version", client.version()),
            info_and_clock(client),
            our_images(client),
            self.ranges(client),
        )?;
        let storage = self.storage(info.docker_root_dir.as_deref()).await;
        Ok(EngineFacts {
            engine_id: info.id.unwrap_or_default(),
            engine_version: version.version.unwrap_or_default(),
            operating_system: info.operating_system.unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            cpus: info.ncpu.and_then(|cpus| cpus.try_into().ok()).unwrap_or(0),
            memory_bytes: info.mem_total.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
            storage_total_bytes: storage.map(|(total, _)| total),
            storage_free_bytes: storage.map(|(_, free)| free),
            images,
            ranges,
            clock_ahead_ms,
        })
    }

    async fn ranges(&self, client: &Docker) -> Result<Vec<TakenRange>, EngineError> {
        let all = client.list_networks(None::<ListNetworksOptions>);
        let found = within(LOOK, "the networks", all).await?;
        let is_virtual = |network: &Network| {
            let labels = labels_of(network.labels.clone());
            self.is_ours(&labels) && labels.contains_key(label::NETWORK)
        };
        let mut ranges: Vec<TakenRange> =
            found.iter().filter(|network| !is_virtual(network)).flat_map(ranges_of).collect();
        ranges.sort_by(|a, b| (&a.owner, a.range).cmp(&(&b.owner, b.range)));
        Ok(ranges)
    }

    /// Size and free space of the file system that holds the volumes. The engine does not tell; a local one
    /// can be measured.
    async fn storage(&self, root: Option<&str>) -> Option<(u64, u64)> {
        let (Address::Unix(_), Some(root)) = (&self.address, root) else { return None };
        let root = root.to_owned();
        // A file system that hangs must not hold up the caller.
        let measured = tokio::task::spawn_blocking(move || rustix::fs::statvfs(root.as_str()));
        let facts = tokio::time::timeout(LOOK, measured).await.ok()?.ok()?.ok()?;
        Some((facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize))
    }

    /// The image as the engine saves it, under its one tag.
    pub(super) async fn save_image(&self, tag: &str) -> Result<ImageStream, EngineError> {
        let (client, name) = (self.client().await?.clone(), tag.to_owned());
        // Asked first: the stream alone would tell only in its middle that there is none.
        within(LOOK, tag, client.inspect_image(tag)).await?;
        let saved = client.export_image(tag);
        Ok(saved.map_err(move |error| explain(&name, error)).boxed())
    }

    pub(super) async fn list_owned(&self) -> Result<Vec<OwnedObject>, EngineError> {
        let client = self.client().await?;
        let filter = format!("{}={}", label::INSTALL, self.install_id);
        let filters = HashMap::from([("label", vec![filter.as_str()])]);
        let (containers, volumes, networks) = tokio::try_join!(
            our_containers(client, &filters),
            our_volumes(client, &filters),
            our_networks(client, &filters),
        )?;
        let mut all = [containers, volumes, networks].concat();
        all.sort();
        Ok(all)
    }

    pub(super) async fn list_installations(&self) -> Result<BTreeSet<String>, EngineError> {
        let client = self.client().await?;
        let filters = Filters::from([("label", vec![label::INSTALL])]);
        let (containers, volumes) =
            tokio::join!(our_containers(client, &filters), our_volumes(client, &filters));
        let all = containers?.into_iter().chain(volumes?);
        Ok(all.filter_map(|object| object.labels.get(label::INSTALL).cloned()).collect())
    }
}

/// What the engine says, and how far its clock is ahead of ours: it tells its time at some moment between our
/// question and its answer, taken as the middle.
async fn info_and_clock(client: &Docker) -> Result<(SystemInfo, Option<i64>), EngineError> {
    let asked = SystemClock.now();
    let info = within(LOOK, "the engine", client.info()).await?;
    let answered = SystemClock.now();
    let told = info.system_time.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let middle = asked + (answered - asked) / 2;
    let ahead = told.map(|told| (told.to_utc() - middle).num_milliseconds());
    Ok((info, ahead))
}

/// IPv4 alone: what is of another kind does not parse.
fn ranges_of(network: &Network) -> Vec<TakenRange> {
    let owner = network.name.clone().unwrap_or_default();
    let configs = network.ipam.as_ref().and_then(|ipam| ipam.config.clone()).unwrap_or_default();
    let range = |config: IpamConfig| config.subnet?.parse().ok();
    configs
        .into_iter()
        .filter_map(range)
        .map(|range| TakenRange { owner: owner.clone(), range })
        .collect()
}

type Filters<'a> = HashMap<&'a str, Vec<&'a str>>;

async fn our_images(client: &Docker) -> Result<Vec<String>, EngineError> {
    let filters = HashMap::from([("reference", vec![IMAGES])]);
    let options = ListImagesOptionsBuilder::new().filters(&filters).build();
    let found = within(LOOK, "the images", client.list_images(Some(options))).await?;
    let mut tags: Vec<String> = found
        .into_iter()
        .flat_map(|image| image.repo_tags)
        .filter(|tag| tag.starts_with("pgflex/postgres:"))
        .collect();
    tags.sort();
    Ok(tags)
}

async fn our_containers(
    client: &Docker,
    filters: &Filters<'_>,
) -> Result<Vec<OwnedObject>, EngineError> {
    let options = ListContainersOptionsBuilder::new().all(true).filters(filters).build();
    let found = within(LOOK, "the containers", client.list_containers(Some(options))).await?;
    let to_object = |container: bollard::models::ContainerSummary| OwnedObject {
        kind: "container",
        name: container
            .names
            .and_then(|names| names.into_iter().next())
            .map(|name| name.trim_start_matches('/').to_owned())
            .unwrap_or_else(|| container.id.unwrap_or_default()),
        labels: labels_of(container.labels),
    };
    Ok(found.into_iter().map(to_object).collect())
}

async fn our_volumes(
    client: &Docker,
    filters: &Filters<'_>,
) -> Result<Vec<OwnedObject>, EngineError> {
    let options = ListVolumesOptionsBuilder::new().filters(filters).build();
    let found = within(LOOK, "the volumes", client.list_volumes(Some(options))).await?;
    let to_object = |volume: bollard::models::Volume| OwnedObject {
        kind: "volume",
        name: volume.name,
        labels: labels_of(Some(volume.labels)),
    };
    Ok(found.volumes.unwrap_or_default().into_iter().map(to_object).collect())
}

async fn our_networks(
    client: &Docker,
    filters: &Filters<'_>,
) -> Result<Vec<OwnedObject>, EngineError> {
    let options = ListNetworksOptionsBuilder::new().filters(filters).build();
    let found = within(LOOK, "the networks", client.list_networks(Some(options))).await?;
    let to_object = |network: Network| OwnedObject {
        kind: "network",
        name: network.name.unwrap_or_default(),
        labels: labels_of(network.labels),
    };
    Ok(found.into_iter().map(to_object).collect())
}
