//! The fake's disks of a fixed size.

use super::objects::{Objects, Outcome};
use crate::domain::storage::{RESERVE_BYTES, VolumeUsage};
use crate::engine::{DiskAnswer, DiskSpec, EngineError, Reserve};
use std::collections::{BTreeMap, BTreeSet};

const GIB: u64 = 1 << 30;

#[derive(Default)]
pub(super) struct Disks {
    /// Why there are none, when there are none.
    pub(super) refused: Option<String>,
    /// Volume with the image file, by number of the loop device.
    pub(super) attached: BTreeMap<u32, String>,
    /// Size, by volume with the image file.
    pub(super) bytes: BTreeMap<String, u64>,
    /// Number of the loop device, by mounted volume.
    mounted: BTreeMap<String, (u32, String)>,
    /// Disks whose space set aside is given up.
    pub(super) released: BTreeSet<String>,
    /// What volumes are said to hold.
    pub(super) usage: BTreeMap<String, VolumeUsage>,
}

impl Disks {
    /// A volume is gone, and with it what was in it or behind it.
    pub(super) fn forget(&mut self, volume: &str) {
        self.attached.retain(|_, holder| holder != volume);
        self.bytes.remove(volume);
        self.mounted.remove(volume);
        self.released.remove(volume);
        self.usage.remove(volume);
    }

    /// What Docker says when it cannot mount.
    pub(super) fn check_mount(&self, volume: &str) -> Outcome {
        let Some((minor, holder)) = self.mounted.get(volume) else { return Ok(()) };
        if self.attached.get(minor) == Some(holder) {
            return Ok(());
        }
        Err(EngineError::Refused(format!(
            "failed to mount local volume {volume}: invalid argument"
        )))
    }

    fn usage_of(&self, volume: &str, total: u64) -> VolumeUsage {
        let usual = VolumeUsage {
            total,
            used: GIB,
            free: total.saturating_sub(GIB),
            wal: 64 << 20,
            reserve: RESERVE_BYTES,
            ..Default::default()
        };
        self.usage.get(volume).copied().unwrap_or(usual)
    }
}

impl Objects {
    pub(super) fn ensure_disk(&mut self, spec: &DiskSpec) -> Outcome<DiskAnswer> {
        if !spec.is_new && !self.disks.bytes.contains_key(&spec.holder.name) {
            return Ok(DiskAnswer::Lost(format!("there is no volume {}", spec.holder.name)));
        }
        self.ensure("volume", &spec.holder.name, &spec.holder.labels)?;
        if let Some(why) = &self.disks.refused {
            return Ok(DiskAnswer::Impossible(why.clone()));
        }
        let holder = &spec.holder.name;
        let owner = self.disks.attached.entry(spec.minor).or_insert_with(|| holder.clone());
        if owner != holder {
            let what = format!("loop device {} is in use for another file", spec.minor);
            return Err(EngineError::Foreign(what));
        }
        self.disks.bytes.entry(holder.clone()).or_insert(spec.bytes);
        self.ensure("volume", &spec.mounted.name, &spec.mounted.labels)?;
        self.disks.mounted.insert(spec.mounted.name.clone(), (spec.minor, holder.clone()));
        Ok(DiskAnswer::Ready)
    }

    pub(super) fn grow_disk(&mut self, spec: &DiskSpec) -> Outcome {
        self.disks.check_mount(&spec.mounted.name)?;
        let missing = || EngineError::Missing(spec.holder.name.clone());
        let bytes = self.disks.bytes.get_mut(&spec.holder.name).ok_or_else(missing)?;
        *bytes = spec.bytes.max(*bytes);
        Ok(())
    }

    pub(super) fn tend_disk(&mut self, spec: &DiskSpec, reserve: Reserve) -> Outcome<VolumeUsage> {
        self.disks.check_mount(&spec.mounted.name)?;
        let holder = &spec.holder.name;
        let total = self.disks.bytes.get(holder).copied().unwrap_or(0);
        let usage = self.disks.usage_of(&spec.mounted.name, total);
        match reserve {
            Reserve::ReleaseWhenFull if usage.free < RESERVE_BYTES => {
                self.disks.released.insert(holder.clone());
            }
            Reserve::Restore if usage.free >= 2 * RESERVE_BYTES => {
                self.disks.released.remove(holder);
            }
            _ => {}
        }
        Ok(usage)
    }

    pub(super) fn usage(&self, container: &str, is_sized: bool) -> Outcome<VolumeUsage> {
        if !self.is_running(container)? {
            let what = format!("container {container} is not running");
            return Err(EngineError::Refused(what));
        }
        let volume = self.volume_of(container)?;
        let sized = self.disks.mounted.get(&volume).and_then(|(_, it)| self.disks.bytes.get(it));
        let total = if is_sized { sized.copied() } else { None };
        Ok(self.disks.usage_of(&volume, total.unwrap_or(1024 * GIB)))
    }
}
