//! Storage of a server: how its size is kept, and what is done as it fills. Pure: from what was measured to
//! what shall happen.
//!
//! The rules are the original's (inventory 2.5): read-only from 95 % used or below 5 GiB free, undone by itself;
//! growth to the next size below a fifth free (a tenth from 1 TiB on), 64 GiB at most.

use super::catalog::{STORAGE_SIZES, StorageSize};
use super::ids::MemberId;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::ops::RangeInclusive;

const GIB: u64 = 1 << 30;
/// Below this much free a server is read-only, whatever its size.
pub const FREE_BYTES_MIN: u64 = 5 * GIB;
/// From this much free on the host's disk on its servers may write again.
pub const HOST_FREE_AGAIN: u64 = 6 * GIB;
/// From this share used on a server is read-only.
pub const USED_PERCENT_MAX: u64 = 95;
/// Growth by itself happens below this much free at the latest.
const GROW_BYTES_MAX: u64 = 64 * GIB;
const TIB: u64 = 1024 * GIB;
/// Space set aside in a sized file system. It is given up when everything else is full, so that PostgreSQL
/// can start and people can delete.
pub const RESERVE_BYTES: u64 = 256 << 20;

/// Numbers of loop devices that members get: above those that people and other programs use.
pub const LOOP_MINORS: RangeInclusive<u32> = 4096..=1_000_000;

/// How the size of a member's storage is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disk {
    /// A file system of that very size, in an image file behind the loop device of this number. The number is the
    /// member's own for good, so that after a restart of the host no other image is ever found behind it.
    Image { minor: u32 },
    /// A plain volume: what is used is measured, and acted on.
    Measured { why: String },
}

impl Disk {
    /// Number of the loop device; `None` for a plain volume.
    pub fn minor(&self) -> Option<u32> {
        match self {
            Disk::Image { minor } => Some(*minor),
            Disk::Measured { .. } => None,
        }
    }
}

/// A number for a member's loop device that no other member of the host has. The same member gets the same one
/// as long as nobody has it; two installations on one host hardly ever meet among a million.
pub fn choose_minor(member: &MemberId, taken: &HashSet<u32>) -> Option<u32> {
    let digits = member.as_str().rsplit('-').next().unwrap_or_default();
    let seed = u64::from_str_radix(digits, 16).unwrap_or(0);
    let (first, count) = (u64::from(*LOOP_MINORS.start()), LOOP_MINORS.count() as u64);
    let nth = |at: u64| u32::try_from(first + (seed + at) % count).ok();
    (0..count).find_map(|at| nth(at).filter(|minor| !taken.contains(minor)))
}

/// What the operator wants for new servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoragePolicy {
    /// A sized file system where the host can, else a measured volume.
    #[default]
    Auto,
    /// A sized file system, or no server.
    Image,
    /// A plain volume, always.
    Measured,
}

/// What a look at a volume found. Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VolumeUsage {
    /// What databases, write-ahead log, temporary files and all else may take together.
    pub total: u64,
    pub used: u64,
    pub free: u64,
    /// Write-ahead log, counted in `used`.
    pub wal: u64,
    /// Temporary files of queries, counted in `used`.
    pub temporary: u64,
    /// What is set aside for the emergency, counted in `used`.
    pub reserve: u64,
}

impl VolumeUsage {
    /// A look at a plain volume of a server of `size`: it may use its size, as long as the host has room.
    pub fn measured(self, size: &StorageSize, host_free: u64) -> Self {
        let free = size.bytes().saturating_sub(self.used).min(host_free);
        Self { total: size.bytes(), free, ..self }
    }

    /// Share used, rounded down: 94.9 % is not 95 %.
    pub fn percent(&self) -> u64 {
        (self.total - self.free.min(self.total)) * 100 / self.total.max(1)
    }

    /// What is neither write-ahead log nor temporary nor set aside.
    pub fn rest(&self) -> u64 {
        self.used.saturating_sub(self.wal + self.temporary + self.reserve)
    }
}

/// Kind of the observation that a [`StorageLook`] is kept as.
pub const OBSERVATION: &str = "storage";

/// What is kept of a look at a server's storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageLook {
    pub usage: VolumeUsage,
    /// Why it does not grow by itself though it should; `None` when nothing is in its way.
    pub why_not_grown: Option<String>,
    /// What is free on the host's own disk, where that is known.
    #[serde(default)]
    pub host_free: Option<u64>,
}

/// What a growth is asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growth {
    pub to_gib: u32,
}

/// What a change of the protection is asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// Whether new transactions become read-only.
    pub on: bool,
}

/// What to do about a server's storage now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Nothing,
    /// New transactions become read-only.
    Protect,
    /// They may write again.
    Unprotect,
    /// The storage grows to this size.
    Grow(u32),
}

/// What a decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    pub usage: VolumeUsage,
    /// Size on record.
    pub size_gib: u32,
    pub is_protected: bool,
    pub autogrow: bool,
    /// Whether the next size can be had: the host holds it, and it did not fail a moment ago.
    pub may_grow: bool,
    /// Whether PostgreSQL does not run though it should.
    pub is_down: bool,
    /// What is free on the host's own disk. Image files take their space from it as they are written to.
    pub host_free: Option<u64>,
}

/// Decides. Growth comes first where it can be had, because it needs nobody to stop writing.
pub fn decide(now: &Situation) -> Decision {
    if now.usage.total == 0 {
        return Decision::Nothing;
    }
    let next = next_size(now.size_gib).filter(|_| now.autogrow && now.may_grow);
    if let Some(size) = next.filter(|_| wants_growth(&now.usage)) {
        return Decision::Grow(size.gib);
    }
    // Everything is full, the space set aside alone is left: protecting once more gives it up and starts again.
    let is_stuck = now.is_down && now.usage.free < RESERVE_BYTES && now.usage.reserve > 0;
    match now.is_protected {
        true if is_stuck => Decision::Protect,
        false if is_nearly_full(&now.usage) || is_host_below(now, FREE_BYTES_MIN) => {
            Decision::Protect
        }
        true if has_room(&now.usage) && !is_host_below(now, HOST_FREE_AGAIN) => Decision::Unprotect,
        _ => Decision::Nothing,
    }
}

/// The size after this one.
pub fn next_size(gib: u32) -> Option<&'static StorageSize> {
    STORAGE_SIZES.iter().find(|size| size.gib > gib)
}

/// Whether so little is free that the storage would grow by itself.
pub fn wants_growth(usage: &VolumeUsage) -> bool {
    usage.free < growth_mark(usage.total)
}

/// Free bytes below which storage of this size grows by itself.
pub fn growth_mark(total: u64) -> u64 {
    // A file system of 1 TiB has a little less than that.
    let share = if total < TIB / 100 * 99 { total / 5 } else { total / 10 };
    share.min(GROW_BYTES_MAX)
}

/// Free bytes below which a storage of this size is read-only.
pub fn protection_mark(total: u64) -> u64 {
    FREE_BYTES_MIN.max(total / 100 * (100 - USED_PERCENT_MAX))
}

/// A host whose disk is full fails the writes of every server on it at once.
fn is_host_below(now: &Situation, bytes: u64) -> bool {
    now.host_free.is_some_and(|free| free < bytes)
}

fn is_nearly_full(usage: &VolumeUsage) -> bool {
    usage.free < protection_mark(usage.total)
}

/// A little more must be free than what protects it, or it would swing to and fro.
fn has_room(usage: &VolumeUsage) -> bool {
    usage.free >= release_mark(usage.total)
}

/// Free bytes from which a read-only server is writable again.
pub fn release_mark(total: u64) -> u64 {
    protection_mark(total) + GIB.max(total / 100)
}

/// Whether a server is so full that it is looked at more often.
pub fn needs_watching(usage: &VolumeUsage) -> bool {
    usage.free < usage.total / 4
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
