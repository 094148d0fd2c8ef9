//! Faults of the list in `reliability.md` c.1 that this kernel can make, each with its number there.

use crate::engines::Zones;
use crate::pair::{Pair, Place};
use pgflex::domain::ha::MemberRole;
use std::process::Command;
use std::time::Duration;

/// Something that breaks, until the world is whole again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// 1
    KillPostmaster,
    /// 2
    KillBackend,
    /// 3
    KillPrimary,
    /// 4
    StopPrimary,
    /// 5
    RemovePrimary,
    /// 6
    PausePrimary { seconds: u64 },
    /// 7
    PauseStandby,
    /// 8
    KillStandby,
    /// 9
    KillEngine,
    /// 10
    HangEngine,
    /// 11
    LoseZone,
    /// 11, of the standby
    LoseStandbyZone,
    /// 12
    CutMembers,
    /// 13
    CutPrimaryFromPortal,
    /// 14
    CutStandbyFromPortal,
    /// 15
    IsolatePrimary,
    /// 16
    IsolateStandby,
    /// 38
    Switchover,
    /// 46
    KillBoth,
}

/// What the pair must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The standby takes over.
    Failover,
    /// The primary stays.
    Same,
    /// Either is right: what is quicker depends on the machine.
    Either,
}

/// Faults that pass by themselves last as long.
const WHILE: Duration = Duration::from_secs(15);
/// After the standby took over the other side stays away for a while.
const LATER: Duration = Duration::from_secs(3);

impl Fault {
    pub const ALL: [Fault; 20] = [
        Fault::KillPostmaster,
        Fault::KillBackend,
        Fault::KillPrimary,
        Fault::StopPrimary,
        Fault::RemovePrimary,
        Fault::PausePrimary { seconds: 5 },
        Fault::PausePrimary { seconds: 30 },
        Fault::PauseStandby,
        Fault::KillStandby,
        Fault::KillEngine,
        Fault::HangEngine,
        Fault::LoseZone,
        Fault::LoseStandbyZone,
        Fault::CutMembers,
        Fault::CutPrimaryFromPortal,
        Fault::CutStandbyFromPortal,
        Fault::IsolatePrimary,
        Fault::IsolateStandby,
        Fault::Switchover,
        Fault::KillBoth,
    ];

    pub fn name(self) -> String {
        let (number, words) = match self {
            Fault::KillPostmaster => (1, "postmaster of the primary killed"),
            Fault::KillBackend => (2, "one session's process killed"),
            Fault::KillPrimary => (3, "container of the primary killed"),
            Fault::StopPrimary => (4, "container of the primary stopped"),
            Fault::RemovePrimary => (5, "container of the primary removed"),
            Fault::PausePrimary { seconds } => {
                return format!("6 primary frozen for {seconds} s");
            }
            Fault::PauseStandby => (7, "standby frozen for 15 s"),
            Fault::KillStandby => (8, "container of the standby killed"),
            Fault::KillEngine => (9, "engine of the primary killed"),
            Fault::HangEngine => (10, "engine of the primary hangs"),
            Fault::LoseZone => (11, "zone of the primary lost"),
            Fault::LoseStandbyZone => (11, "zone of the standby lost"),
            Fault::CutMembers => (12, "members cut off from each other"),
            Fault::CutPrimaryFromPortal => (13, "primary cut off from the portal"),
            Fault::CutStandbyFromPortal => (14, "standby cut off from the portal"),
            Fault::IsolatePrimary => (15, "zone of the primary cut off"),
            Fault::IsolateStandby => (16, "zone of the standby cut off"),
            Fault::Switchover => (38, "planned switchover under load"),
            Fault::KillBoth => (46, "both containers killed"),
        };
        format!("{number} {words}")
    }

    pub fn expected(self) -> Expected {
        match self {
            Fault::PausePrimary { seconds: 30 }
            | Fault::LoseZone
            | Fault::CutPrimaryFromPortal
            | Fault::IsolatePrimary
            | Fault::Switchover => Expected::Failover,
            Fault::PauseStandby
            | Fault::KillStandby
            | Fault::HangEngine
            | Fault::LoseStandbyZone
            | Fault::CutMembers
            | Fault::CutStandbyFromPortal
            | Fault::IsolateStandby => Expected::Same,
            _ => Expected::Either,
        }
    }

    /// Breaks it, and mends what does not mend itself.
    pub async fn strike(self, pair: &Pair) {
        let zones = pair.zones();
        let primary = pair.place(MemberRole::Primary).await;
        let standby = pair.place(MemberRole::Standby).await;
        let epoch = pair.row().await.epoch;
        let name = self.name();
        let changed = async || {
            pair.changes(epoch, &name).await;
            tokio::time::sleep(LATER).await;
        };
        match self {
            Fault::KillPostmaster => kill_postmaster(zones, &primary),
            Fault::KillBackend => kill_backend(zones, &primary),
            Fault::KillPrimary => zones.kill_container(primary.zone, &primary.container),
            Fault::StopPrimary => docker(zones, &primary, &["stop"]),
            Fault::RemovePrimary => docker(zones, &primary, &["rm", "--force"]),
            Fault::PausePrimary { seconds } => pause(zones, &primary, seconds).await,
            Fault::PauseStandby => pause(zones, &standby, WHILE.as_secs()).await,
            Fault::KillStandby => zones.kill_container(standby.zone, &standby.container),
            Fault::KillEngine => {
                signal(zones.engine_process(primary.zone), "KILL");
                tokio::time::sleep(WHILE).await;
                assert_eq!(pair.row().await.epoch, epoch, "{name}: a primary that answers stays");
                zones.restore(primary.zone);
            }
            Fault::HangEngine => hang(zones.engine_process(primary.zone)).await,
            Fault::LoseZone => {
                zones.lose(primary.zone);
                changed().await;
                zones.restore(primary.zone);
            }
            Fault::LoseStandbyZone => {
                zones.lose(standby.zone);
                tokio::time::sleep(WHILE).await;
                zones.restore(standby.zone);
            }
            Fault::CutMembers => {
                zones.block(primary.zone, &zones.ip(standby.zone));
                tokio::time::sleep(WHILE).await;
                zones.unblock(primary.zone, &zones.ip(standby.zone));
            }
            Fault::CutPrimaryFromPortal => {
                zones.block(primary.zone, &zones.machine());
                changed().await;
                zones.unblock(primary.zone, &zones.machine());
            }
            Fault::CutStandbyFromPortal => {
                zones.block(standby.zone, &zones.machine());
                tokio::time::sleep(WHILE).await;
                zones.unblock(standby.zone, &zones.machine());
            }
            Fault::IsolatePrimary => {
                zones.cut(primary.zone);
                changed().await;
                zones.heal(primary.zone);
            }
            Fault::IsolateStandby => {
                zones.cut(standby.zone);
                tokio::time::sleep(WHILE).await;
                zones.heal(standby.zone);
            }
            Fault::Switchover => pair.switch_over().await,
            Fault::KillBoth => {
                zones.kill_container(primary.zone, &primary.container);
                zones.kill_container(standby.zone, &standby.container);
            }
        }
    }
}

fn docker(zones: &Zones, place: &Place, command: &[&str]) {
    zones.docker(place.zone, &[command, &[&place.container]].concat());
}

/// The portal may have killed it meanwhile: then there is nothing to thaw.
async fn pause(zones: &Zones, place: &Place, seconds: u64) {
    docker(zones, place, &["pause"]);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    zones.try_docker(place.zone, &["unpause", &place.container]);
}

fn signal(process: u32, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(done.unwrap().success(), "no process {process}");
}

async fn hang(process: u32) {
    signal(process, "STOP");
    tokio::time::sleep(WHILE).await;
    signal(process, "CONT");
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// The first process holds the lock on the volume; its only child is the postmaster.
fn postmaster(zones: &Zones, place: &Place) -> u32 {
    let format = "--format={{.State.Pid}}";
    let first = zones.docker(place.zone, &["inspect", format, &place.container]);
    children(first.parse().unwrap())[0]
}

fn kill_postmaster(zones: &Zones, place: &Place) {
    signal(postmaster(zones, place), "KILL");
}

fn kill_backend(zones: &Zones, place: &Place) {
    let title = |process: &u32| std::fs::read_to_string(format!("/proc/{process}/cmdline"));
    let backend = children(postmaster(zones, place))
        .into_iter()
        .find(|process| title(process).is_ok_and(|title| title.contains(crate::portal::ADMIN)));
    if let Some(backend) = backend {
        // It may have ended by itself since.
        let _ = Command::new("kill").args(["-KILL", &backend.to_string()]).status();
    }
}
