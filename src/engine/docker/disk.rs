//! Disks of a fixed size: an image file, its loop device, and the volume that mounts it. What Docker itself
//! cannot do is done by a short-lived helper container: root inside, no network, a read-only root file system, and
//! of the host nothing but loop devices.

use super::disk_scripts::{ATTACH, DETACH, GROW, IMPOSSIBLE, LOST, NOT_OURS, RELEASE, RESTORE};
use super::errors::within;
use super::usage::{self, USAGE};
use super::{CHANGE, DockerEngine, LOOK, is_same, labels_of, to_map};
use crate::domain::storage::{RESERVE_BYTES, VolumeUsage};
use crate::engine::blueprint::VOLUME_PATH;
use crate::engine::{DiskAnswer, DiskSpec, EngineError, Labels, Reserve, label};
use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions,
    MountVolumeOptionsDriverConfig, Volume, VolumeCreateRequest,
};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use std::collections::HashMap;
use std::time::Duration;

/// A helper takes a quarter of a second; on a host whose disk hangs it must still end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where the volume with the image file is mounted in a helper.
const DISK_PATH: &str = "/disk";
/// Rules of the devices' control group: loop devices, and the device that makes them.
const DEVICES: [&str; 2] = ["b 7:* rmw", "c 10:237 rmw"];
/// Freed blocks go back to the host; reading a row writes no time of access.
const MOUNT_OPTIONS: &str = "noatime,discard";

/// What a helper may and sees.
struct Helper<'a> {
    name: String,
    image: &'a str,
    labels: &'a Labels,
    /// Volumes with the paths they are mounted at.
    volumes: Vec<(&'a str, &'a str)>,
    /// What a volume must be that is removed by hand between our look and the helper's begin: Docker makes it anew
    /// in passing, and without this it would be a plain one that stands in the way of the disk for good.
    remade: Option<(&'a str, MountVolumeOptions)>,
    /// Nothing at all when empty; then it is PostgreSQL's user.
    capabilities: &'a [&'a str],
    script: &'a str,
    arguments: Vec<String>,
}

impl DockerEngine {
    pub(super) async fn make_disk(&self, spec: &DiskSpec) -> Result<DiskAnswer, EngineError> {
        // A container that mounts a volume makes a missing one, without labels and empty.
        if !spec.is_new && !self.is_volume(&spec.holder.name).await? {
            return Ok(DiskAnswer::Lost(format!("there is no volume {}", spec.holder.name)));
        }
        self.make_volume(&spec.holder).await?;
        let helper = Helper {
            volumes: vec![(&spec.holder.name, DISK_PATH)],
            capabilities: &["MKNOD", "DAC_OVERRIDE"],
            script: ATTACH,
            arguments: vec![
                spec.minor.to_string(),
                spec.bytes.to_string(),
                spec.identity.clone(),
                if spec.is_new { "new" } else { "old" }.to_owned(),
            ],
            ..Helper::of(spec)
        };
        let (code, lines) = match self.run_helper(&helper).await {
            // What an engine that allows no such container says; it would say it again.
            Err(EngineError::Refused(why)) => return Ok(DiskAnswer::Impossible(why)),
            other => other?,
        };
        match code {
            0 => self.make_mounted(spec).await,
            IMPOSSIBLE => Ok(DiskAnswer::Impossible(last_line(&lines))),
            LOST => Ok(DiskAnswer::Lost(last_line(&lines))),
            NOT_OURS => Err(EngineError::Foreign(last_line(&lines))),
            code => Err(failed("attach", code, &lines)),
        }
    }

    /// The volume whose content is the file system on the device. Docker mounts it with the first container
    /// and unmounts it with the last; the device stays attached.
    async fn make_mounted(&self, spec: &DiskSpec) -> Result<DiskAnswer, EngineError> {
        let client = self.client().await?;
        let name = &spec.mounted.name;
        let holder =
            within(LOOK, &spec.holder.name, client.inspect_volume(&spec.holder.name)).await?;
        let device = format!("{}/device", holder.mountpoint);
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            driver: Some("local".into()),
            driver_opts: Some(mount_options(&device)),
            labels: Some(to_map(&spec.mounted.labels)),
            ..Default::default()
        };
        let volume = within(CHANGE, name, client.create_volume(request)).await?;
        let is_ours = is_same(&labels_of(Some(volume.labels.clone())), &spec.mounted.labels);
        if is_ours && device_of(&volume) == Some(&device) {
            Ok(DiskAnswer::Ready)
        } else {
            Err(EngineError::Foreign(format!("a volume named {name}")))
        }
    }

    pub(super) async fn enlarge_disk(&self, spec: &DiskSpec) -> Result<(), EngineError> {
        let helper = Helper {
            volumes: vec![(&spec.holder.name, DISK_PATH), (&spec.mounted.name, VOLUME_PATH)],
            remade: Some((&spec.mounted.name, self.as_mounted(spec).await?)),
            capabilities: &["SYS_ADMIN", "DAC_OVERRIDE"],
            script: GROW,
            arguments: vec![spec.bytes.to_string()],
            ..Helper::of(spec)
        };
        match self.run_helper(&helper).await? {
            (0, _) => Ok(()),
            (code, lines) => Err(failed("grow", code, &lines)),
        }
    }

    pub(super) async fn look_at_disk(
        &self,
        spec: &DiskSpec,
        reserve: Reserve,
    ) -> Result<VolumeUsage, EngineError> {
        // Docker would make a plain one of that name, and with it in the way the disk could not be mounted again.
        if !self.is_volume(&spec.mounted.name).await? {
            return Err(EngineError::Missing(spec.mounted.name.clone()));
        }
        // A look of the monitor and the work of an operation have names of their own, so that neither removes the
        // helper of the other.
        let (tend, purpose) = match reserve {
            Reserve::ReleaseWhenFull => (RELEASE, "tend"),
            Reserve::Restore => (RESTORE, "tend"),
            Reserve::Leave => ("", "look"),
        };
        let script = format!("{tend}\nset +e\nset sized\n{USAGE}");
        let helper = Helper {
            name: format!("{}-{purpose}", spec.holder.name),
            volumes: vec![(&spec.mounted.name, VOLUME_PATH)],
            remade: Some((&spec.mounted.name, self.as_mounted(spec).await?)),
            script: &script,
            arguments: vec![RESERVE_BYTES.to_string()],
            ..Helper::of(spec)
        };
        let (code, lines) = self.run_helper(&helper).await?;
        usage::read(lines.iter().map(String::as_str)).ok_or_else(|| failed("look", code, &lines))
    }

    /// Frees the loop device of a volume that holds a disk. The image that made it may be gone: any of ours does.
    pub(super) async fn detach(&self, volume: &Volume) -> Result<(), EngineError> {
        let labels = labels_of(Some(volume.labels.clone()));
        let Some(image) = labels.get(label::DISK).cloned() else { return Ok(()) };
        let mut helper = Helper {
            name: volume.name.clone(),
            image: &image,
            labels: &labels,
            volumes: vec![(&volume.name, DISK_PATH)],
            remade: None,
            capabilities: &["DAC_OVERRIDE"],
            script: DETACH,
            arguments: vec![],
        };
        let other;
        let ended = match self.run_helper(&helper).await {
            Err(EngineError::Missing(_)) => {
                let images = self.read_facts().await?.images;
                let missing = || EngineError::Missing("an image whose tools detach a disk".into());
                other = images.into_iter().next().ok_or_else(missing)?;
                helper.image = &other;
                self.run_helper(&helper).await?
            }
            ended => ended?,
        };
        match ended {
            (0, _) => Ok(()),
            (code, lines) => Err(failed("detach", code, &lines)),
        }
    }

    /// How Docker shall make the volume with the file system, should it have to.
    async fn as_mounted(&self, spec: &DiskSpec) -> Result<MountVolumeOptions, EngineError> {
        let client = self.client().await?;
        let holder =
            within(LOOK, &spec.holder.name, client.inspect_volume(&spec.holder.name)).await?;
        let device = format!("{}/device", holder.mountpoint);
        Ok(MountVolumeOptions {
            no_copy: Some(true),
            labels: Some(to_map(&spec.mounted.labels)),
            driver_config: Some(MountVolumeOptionsDriverConfig {
                name: Some("local".into()),
                options: Some(mount_options(&device)),
            }),
            ..Default::default()
        })
    }

    /// Runs a helper to its end and removes it: its exit code and what it wrote.
    async fn run_helper(&self, helper: &Helper<'_>) -> Result<(i64, Vec<String>), EngineError> {
        // One that was left by a runner that died is of no use: whether it ended is unknown.
        self.drop_container(&helper.name).await?;
        for (volume, _) in &helper.volumes {
            self.must_have_volume(volume).await?;
        }
        let options = CreateContainerOptionsBuilder::new().name(&helper.name).build();
        let client = self.client().await?;
        within(CHANGE, &helper.name, client.create_container(Some(options), body(helper))).await?;
        let ended = self.to_end(&helper.name).await;
        let removed = self.drop_container(&helper.name).await;
        let ended = ended?;
        removed.map(|()| ended)
    }

    async fn to_end(&self, name: &str) -> Result<(i64, Vec<String>), EngineError> {
        self.start(name).await?;
        let code = self.wait(name, PATIENCE).await?;
        let code = code.ok_or_else(|| super::errors::late(name, PATIENCE))?;
        Ok((code, self.last_lines(name, 20).await?))
    }
}

impl<'a> Helper<'a> {
    fn of(spec: &'a DiskSpec) -> Self {
        Self {
            name: spec.holder.name.clone(),
            image: &spec.image,
            labels: &spec.holder.labels,
            volumes: vec![],
            remade: None,
            capabilities: &[],
            script: "",
            arguments: vec![],
        }
    }
}

fn body(helper: &Helper<'_>) -> ContainerCreateBody {
    let is_root = !helper.capabilities.is_empty();
    let mut command: Vec<String> =
        ["sh", "-euc", helper.script, "disk"].map(str::to_owned).to_vec();
    command.extend(helper.arguments.iter().cloned());
    ContainerCreateBody {
        image: Some(helper.image.to_owned()),
        cmd: Some(command),
        user: Some(if is_root { "0:0".into() } else { "5432:5432".into() }),
        labels: Some(to_map(helper.labels)),
        stop_signal: Some("SIGKILL".into()),
        network_disabled: Some(true),
        host_config: Some(walls(helper)),
        ..Default::default()
    }
}

fn walls(helper: &Helper<'_>) -> HostConfig {
    let is_root = !helper.capabilities.is_empty();
    let mount = |(volume, path): &(&str, &str)| Mount {
        typ: Some(MountType::VOLUME),
        source: Some((*volume).to_owned()),
        target: Some((*path).to_owned()),
        volume_options: helper
            .remade
            .as_ref()
            .filter(|(name, _)| name == volume)
            .map(|(_, options)| options.clone()),
        ..Default::default()
    };
    let tmpfs = HashMap::from([("/tmp".to_owned(), "rw,noexec,nosuid,nodev,size=1m".to_owned())]);
    HostConfig {
        mounts: Some(helper.volumes.iter().map(mount).collect()),
        network_mode: Some("none".into()),
        memory: Some(512 << 20),
        memory_swap: Some(512 << 20),
        pids_limit: Some(64),
        cap_drop: Some(vec!["ALL".into()]),
        cap_add: Some(helper.capabilities.iter().map(|name| (*name).to_owned()).collect()),
        device_cgroup_rules: is_root.then(|| DEVICES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges:true".into()]),
        readonly_rootfs: Some(true),
        tmpfs: Some(tmpfs),
        ..Default::default()
    }
}

/// Options of the volume that mounts a device.
fn mount_options(device: &str) -> HashMap<String, String> {
    [("type", "xfs"), ("device", device), ("o", MOUNT_OPTIONS)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

fn device_of(volume: &Volume) -> Option<&String> {
    volume.options.get("device")
}

fn last_line(lines: &[String]) -> String {
    lines.last().cloned().unwrap_or_else(|| "it wrote nothing".into())
}

fn failed(what: &str, code: i64, lines: &[String]) -> EngineError {
    let last = last_line(lines);
    if super::errors::is_full(&last) {
        return EngineError::NoSpace(last);
    }
    EngineError::Refused(format!("the disk helper ({what}) ended with code {code}: {last}"))
}
