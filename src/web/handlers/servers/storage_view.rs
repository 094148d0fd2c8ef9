//! What the storage page says: pure functions from what is stored and what was measured.

use super::create_cards::{per_month, thousands};
use crate::domain::catalog::{STORAGE_SIZES, StorageSize};
use crate::domain::cost::PriceList;
use crate::domain::placement::{HostLoad, storage_reason_members};
use crate::domain::server::{Member, Server};
use crate::domain::storage::{
    Disk, HOST_FREE_AGAIN, StorageLook, VolumeUsage, growth_mark, next_size, protection_mark,
    release_mark,
};
use crate::store::observations::Observed;
use crate::web::form::Choice;
use crate::web::time::{Stamp, ago_text};
use chrono::{DateTime, Duration, Utc};

/// A look older than this says little about now; the monitor looks every half minute.
const STALE_AFTER: Duration = Duration::minutes(3);
/// Width of the bar's drawing.
const BAR: u64 = 1000;

/// The bar with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageView {
    pub used: String,
    pub free: String,
    pub total: String,
    pub percent: u64,
    /// In the order of the bar.
    pub parts: Vec<Part>,
    /// Where on the bar the server becomes read-only.
    pub mark: u64,
    pub at: Stamp,
    /// "measured 40 s ago"
    pub seen: String,
    pub stale: bool,
}

/// One use of the space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub label: &'static str,
    pub size: String,
    /// CSS class of its colour.
    pub class: &'static str,
    pub from: u64,
    pub width: u64,
}

pub fn usage(look: &Observed<StorageLook>, now: DateTime<Utc>) -> UsageView {
    let usage = &look.facts.usage;
    UsageView {
        used: size_text(usage.used),
        free: size_text(usage.free),
        total: size_text(usage.total),
        percent: usage.percent(),
        parts: parts(usage),
        mark: share(usage.total.saturating_sub(protection_mark(usage.total)), usage.total),
        at: Stamp(look.at),
        seen: format!("measured {}", ago_text(look.at, now)),
        stale: now - look.at > STALE_AFTER,
    }
}

fn share(bytes: u64, total: u64) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(BAR) / u128::from(total.max(1))).unwrap_or(BAR)
}

fn parts(usage: &VolumeUsage) -> Vec<Part> {
    let uses = [
        ("Databases and the rest", usage.rest(), "use-data"),
        ("Write-ahead log", usage.wal, "use-wal"),
        ("Temporary files", usage.temporary, "use-temporary"),
        ("Set aside for emergencies", usage.reserve, "use-reserve"),
    ];
    let mut from = 0;
    uses.into_iter()
        .filter(|(_, bytes, _)| *bytes > 0)
        .map(|(label, bytes, class)| {
            // What is there is seen, and nothing leaves the bar.
            let width = share(bytes, usage.total).max(3).min(BAR - from);
            from += width;
            Part { label, size: size_text(bytes), class, from: from - width, width }
        })
        .collect()
}

/// Text such as "3.2 GiB"; bytes are never shown as less than they are by more than a tenth.
pub fn size_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = units.into_iter().find(|(shift, _)| bytes >= 1 << shift);
    let Some((shift, unit)) = fits else { return format!("{bytes} bytes") };
    let tenths = (u128::from(bytes) * 10) >> shift;
    match tenths {
        whole if whole >= 1000 || whole % 10 == 0 => format!("{} {unit}", whole / 10),
        _ => format!("{}.{} {unit}", tenths / 10, tenths % 10),
    }
}

/// What is free on the host's own disk, when it is so little that its servers are read-only.
pub fn full_host(look: &StorageLook) -> Option<String> {
    look.host_free.filter(|free| *free < HOST_FREE_AGAIN).map(size_text)
}

/// How the size is kept, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforced {
    pub title: &'static str,
    pub text: String,
}

pub fn enforced(server: &Server, member: Option<&Member>) -> Enforced {
    let size = server.spec.storage().label();
    match member.map(|member| &member.disk) {
        Some(Some(Disk::Image { .. })) => Enforced {
            title: "Enforced by a file system",
            text: format!(
                "The data lie on a file system of their own with exactly {size}. Databases, write-ahead log and temporary files together cannot take more, whatever happens, and no other server can take it from them."
            ),
        },
        Some(disk) => Enforced {
            title: "Measured, not enforced",
            text: format!(
                "The data lie on a plain volume of the host, which knows no sizes{}. What is used is measured every half minute and the server becomes read-only at the limit; between two looks it can take more than {size}, as long as the host has room.",
                why_measured(disk.as_ref())
            ),
        },
        None => Enforced {
            title: "Not placed",
            text: "The server is on no host, so it has no storage yet.".into(),
        },
    }
}

fn why_measured(disk: Option<&Disk>) -> String {
    match disk {
        Some(Disk::Measured { why }) => format!(" ({why})"),
        _ => " (the server was made before sizes were enforced)".into(),
    }
}

/// The rules in figures of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    pub protect: String,
    pub release: String,
    pub grow: String,
    /// The size it would grow to; `None` at the largest.
    pub next: Option<String>,
}

pub fn rules(server: &Server) -> Rules {
    let total = server.spec.storage().bytes();
    Rules {
        protect: size_text(protection_mark(total)),
        release: size_text(release_mark(total)),
        grow: size_text(growth_mark(total)),
        next: next_size(server.spec.storage_gib).map(StorageSize::label),
    }
}

/// The larger sizes: those that can be had, and those that cannot, with the reason.
pub struct Sizes {
    pub open: Vec<Choice>,
    pub closed: Vec<Choice>,
}

pub fn sizes(
    server: &Server,
    hosts: &[(HostLoad, usize)],
    prices: &PriceList,
    overcommit: &crate::domain::host::Overcommit,
) -> Sizes {
    let (now, sku) = (server.spec.storage(), server.spec.sku());
    let choice = |size: &StorageSize| {
        let more = prices.storage_month(size) - prices.storage_month(now);
        let mut choice = Choice::new(size.gib.to_string(), size.label())
            .fact(format!("up to {} IOPS", thousands(sku.effective_iops(size))))
            .fact(format!("{} provisioned", thousands(size.iops)))
            .price(format!("+ {}", per_month(&prices.text(more))));
        let of_host = |(load, members): &(HostLoad, usize)| {
            storage_reason_members(load, *members, now.gib, size, overcommit)
        };
        choice.closed = match hosts.is_empty() {
            false => hosts.iter().find_map(of_host).unwrap_or_default(),
            true => "The host of the server is not known here.".into(),
        };
        choice
    };
    let larger = STORAGE_SIZES.iter().filter(|size| size.gib > now.gib).map(choice);
    let (closed, open) = larger.partition(Choice::is_closed);
    Sizes { open, closed }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn sizes_read_well() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (64 << 20, "64 MiB"),
            (GIB, "1 GiB"),
            (GIB * 32 / 10, "3.1 GiB"),
            (u64::MAX, "16777215 TiB"),
            (2000 * GIB, "1.9 TiB"),
        ] {
            assert_eq!(size_text(bytes), text);
        }
    }

    #[test]
    fn the_bar_holds_every_part_and_no_more() {
        let usage = VolumeUsage {
            total: 32 * GIB,
            used: 40 * GIB,
            wal: 1,
            temporary: 39 * GIB,
            ..Default::default()
        };
        let parts = parts(&usage);
        assert!(parts.iter().all(|part| part.from + part.width <= BAR), "{parts:?}");
        assert_eq!(parts.len(), 3, "what is not there is not shown");
    }
}
