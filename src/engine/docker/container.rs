//! Containers: made, looked at, removed.

use super::errors::within;
use super::{CHANGE, DockerEngine, LOOK, REMOVE_GRACE, is_same, labels_of, to_map};
use crate::engine::blueprint::{REPOSITORY_PATH, VOLUME_PATH};
use crate::engine::{ContainerFacts, ContainerSpec, EngineError};
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig,
    HostConfigLogConfig, Mount, MountType, NetworkingConfig, PortBinding, PortMap, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
};
use chrono::{DateTime, Utc};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// What is published of a member, where anything is.
const PUBLISHED: &str = "5432/tcp";
/// Output kept by the engine for one container: three files of ten megabytes.
const LOG_LIMITS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];
/// The only places besides the volume that can be written to; both live in memory and count as such.
const SCRATCH: [(&str, &str); 2] = [
    ("/tmp", "rw,noexec,nosuid,nodev,size=64m,mode=1777"),
    ("/run/postgresql", "rw,noexec,nosuid,nodev,size=1m,mode=0700,uid=5432,gid=5432"),
];

impl DockerEngine {
    pub(super) async fn make_container(&self, spec: &ContainerSpec) -> Result<(), EngineError> {
        self.must_have_volume(&spec.volume).await?;
        if let Some(repository) = &spec.repository {
            self.must_have_volume(&repository.volume).await?;
        }
        let client = self.client().await?;
        let options = CreateContainerOptionsBuilder::new().name(&spec.name).build();
        let made = client.create_container(Some(options), body(spec));
        match within(CHANGE, &spec.name, made).await {
            Err(EngineError::Refused(why)) => self.adopt_container(spec, why).await?,
            other => other.map(|_| ())?,
        }
        // Engines before API 1.44 take one network with a new container.
        for join in &spec.joins {
            self.join(&spec.name, join).await?;
        }
        Ok(())
    }

    /// The name may be taken: by our own earlier try, which is adopted, or by somebody else.
    async fn adopt_container(&self, spec: &ContainerSpec, why: String) -> Result<(), EngineError> {
        match self.look_at(&spec.name).await? {
            None => Err(EngineError::Refused(why)),
            Some(found) if is_same(&found.labels, &spec.labels) => Ok(()),
            Some(_) => Err(EngineError::Foreign(format!("a container named {}", spec.name))),
        }
    }

    pub(super) async fn look_at(&self, name: &str) -> Result<Option<ContainerFacts>, EngineError> {
        Ok(self.inspect(name).await?.map(|found| facts(name, found)))
    }

    pub(super) async fn inspect(
        &self,
        name: &str,
    ) -> Result<Option<ContainerInspectResponse>, EngineError> {
        let client = self.client().await?;
        let look = client.inspect_container(name, None::<InspectContainerOptions>);
        match within(LOOK, name, look).await {
            Err(EngineError::Missing(_)) => Ok(None),
            other => other.map(Some),
        }
    }

    pub(super) async fn drop_container(&self, name: &str) -> Result<(), EngineError> {
        let Some(found) = self.look_at(name).await? else { return Ok(()) };
        if !self.is_ours(&found.labels) {
            return Err(EngineError::Foreign(format!("a container named {name}")));
        }
        // By identity from here on: the name could pass to another container in between.
        if found.state == "running" || found.state == "restarting" {
            self.stop(&found.id, REMOVE_GRACE).await?;
        }
        // `v` would take unnamed volumes along; ours are named, and data are never removed in passing.
        let options = RemoveContainerOptionsBuilder::new().force(true).v(false).build();
        let removal = self.client().await?.remove_container(&found.id, Some(options));
        match within(CHANGE, name, removal).await {
            Ok(()) | Err(EngineError::Missing(_)) => Ok(()),
            Err(EngineError::Refused(why)) if why.contains("already in progress") => {
                self.until_gone(&found.id).await
            }
            Err(error) => Err(error),
        }
    }

    async fn until_gone(&self, id: &str) -> Result<(), EngineError> {
        let gone = async {
            while self.inspect(id).await?.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        tokio::time::timeout(CHANGE, gone)
            .await
            .unwrap_or_else(|_| Err(super::errors::late("a removal", CHANGE)))
    }
}

fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        cmd: Some(spec.command.clone()),
        user: Some("5432:5432".into()),
        labels: Some(to_map(&spec.labels)),
        stop_signal: Some("SIGINT".into()),
        stop_timeout: Some(spec.stop_seconds),
        // The engine binds only ports that are named here too.
        exposed_ports: spec.publish.map(|_| vec![PUBLISHED.to_owned()]),
        network_disabled: spec.network.is_none().then_some(true),
        networking_config: spec.network.as_ref().map(|(name, aliases)| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                name.clone(),
                EndpointSettings { aliases: Some(aliases.clone()), ..Default::default() },
            )])),
        }),
        host_config: Some(host_config(spec)),
        ..Default::default()
    }
}

/// The container's walls and limits.
fn host_config(spec: &ContainerSpec) -> HostConfig {
    let memory = i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX);
    let restart = if spec.restart {
        RestartPolicyNameEnum::UNLESS_STOPPED
    } else {
        RestartPolicyNameEnum::NO
    };
    HostConfig {
        mounts: Some(mounts(spec)),
        network_mode: Some(
            spec.network.as_ref().map_or_else(|| "none".into(), |(name, _)| name.clone()),
        ),
        nano_cpus: Some((spec.vcores * 1e9).round() as i64),
        memory: Some(memory),
        // Equal to memory means no swap: a database that swaps is slower than one that is refused memory.
        memory_swap: Some(memory),
        shm_size: Some(i64::try_from(spec.shm_bytes).unwrap_or(i64::MAX)),
        pids_limit: Some(spec.pids_max),
        cap_drop: Some(vec!["ALL".into()]),
        port_bindings: spec.publish.map(published_on),
        security_opt: Some(vec!["no-new-privileges:true".into()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(pairs(&SCRATCH)),
        restart_policy: Some(RestartPolicy { name: Some(restart), maximum_retry_count: None }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(pairs(&LOG_LIMITS)),
        }),
        ..Default::default()
    }
}

fn mounts(spec: &ContainerSpec) -> Vec<Mount> {
    let mount = |volume: &str, path: &str, read_only: bool| Mount {
        typ: Some(MountType::VOLUME),
        source: Some(volume.to_owned()),
        target: Some(path.into()),
        read_only: Some(read_only),
        ..Default::default()
    };
    let own = mount(&spec.volume, VOLUME_PATH, false);
    let repository =
        spec.repository.as_ref().map(|one| mount(&one.volume, REPOSITORY_PATH, one.read_only));
    std::iter::once(own).chain(repository).collect()
}

fn published_on(address: SocketAddr) -> PortMap {
    let binding = PortBinding {
        host_ip: Some(address.ip().to_string()),
        host_port: Some(address.port().to_string()),
    };
    HashMap::from([(PUBLISHED.to_owned(), Some(vec![binding]))])
}

/// Where the engine forwards from to PostgreSQL now; nothing while the container does not run.
fn published_in(ports: Option<PortMap>) -> Option<SocketAddr> {
    let bindings = ports?.remove(PUBLISHED)??;
    let address = |binding: PortBinding| {
        let ip = binding.host_ip?.parse().ok()?;
        Some(SocketAddr::new(ip, binding.host_port?.parse().ok()?))
    };
    bindings.into_iter().find_map(address)
}

fn pairs(list: &[(&str, &str)]) -> HashMap<String, String> {
    list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn facts(name: &str, found: ContainerInspectResponse) -> ContainerFacts {
    let (state, host) = (found.state.unwrap_or_default(), found.host_config.unwrap_or_default());
    let config = found.config.unwrap_or_default();
    let status = state.status.map(|status| status.to_string()).unwrap_or_default();
    let is_running = status == "running";
    let settings = found.network_settings.unwrap_or_default();
    let mut networks = settings.networks.unwrap_or_default();
    let mut network_names: Vec<String> = networks.keys().cloned().collect();
    network_names.sort();
    // It may be in more networks; only the one that it was made with is there for us.
    let own = host.network_mode.unwrap_or_default();
    let address = networks
        .remove(&own)
        .and_then(|endpoint| endpoint.ip_address)
        .filter(|address| !address.is_empty());
    let volume = found.mounts.into_iter().flatten();
    let volume = volume.filter(|mount| mount.destination.as_deref() == Some(VOLUME_PATH));
    let restart = host.restart_policy.and_then(|policy| policy.name);
    ContainerFacts {
        networks: network_names,
        volume: volume.filter_map(|mount| mount.name).next().unwrap_or_default(),
        restarts_by_itself: matches!(
            restart,
            Some(RestartPolicyNameEnum::UNLESS_STOPPED | RestartPolicyNameEnum::ALWAYS)
        ),
        id: found.id.unwrap_or_default(),
        name: found.name.map_or_else(|| name.to_owned(), |n| n.trim_start_matches('/').to_owned()),
        labels: labels_of(config.labels),
        image: config.image.unwrap_or_default(),
        started_at: state.started_at.as_deref().and_then(parse_time),
        exit_code: state.exit_code.filter(|_| status == "exited" || status == "dead"),
        restarts: found.restart_count.unwrap_or(0),
        address: address.filter(|_| is_running),
        memory_limit_bytes: host.memory.and_then(|bytes| bytes.try_into().ok()).unwrap_or(0),
        cpu_limit: host.nano_cpus.unwrap_or(0) as f64 / 1e9,
        published: published_in(settings.ports),
        state: status,
    }
}

/// A container that never started has the year 1.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    (time > DateTime::UNIX_EPOCH).then_some(time)
}
