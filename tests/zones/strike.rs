//! How each [`Fault`] is made, and mended where it does not mend itself.

use super::engines::Zones;
use super::fault::Fault;
use super::pair::{Pair, Place};
use super::tricks::{
    exec, fill, hang, kill_backend, kill_postmaster, pause, remove_with_volume, signal, source,
};
use pgflex::domain::ha::{MemberRole, ReplicationState};
use pgflex::domain::operation::OperationKind;
use std::time::Duration;

/// Faults that pass by themselves last as long.
const WHILE: Duration = Duration::from_secs(15);
/// After the standby took over the other side stays away for a while.
const LATER: Duration = Duration::from_secs(3);

/// Ends [`fill`].
const EMPTY: &str = "rm -f /var/lib/pgflex/filler /var/lib/pgflex/filler-2";

/// Where everything is before a strike.
struct Scene<'a> {
    pair: &'a Pair,
    zones: &'a Zones,
    primary: Place,
    standby: Place,
    epoch: i64,
    name: &'static str,
}

impl Fault {
    /// Breaks it, and mends what does not mend itself.
    pub async fn strike(self, pair: &Pair) {
        let scene = Scene {
            pair,
            zones: pair.zones(),
            primary: pair.place(MemberRole::Primary).await,
            standby: pair.place(MemberRole::Standby).await,
            epoch: pair.row().await.epoch,
            name: self.name(),
        };
        match self {
            Fault::Switchover => pair.switch_over().await,
            Fault::KillEngine
            | Fault::HangEngine
            | Fault::LoseZone
            | Fault::LoseStandbyZone
            | Fault::LoseBothStandbyReturns
            | Fault::LoseBothPrimaryReturns
            | Fault::Reboot => scene.hosts(self).await,
            Fault::CutMembers
            | Fault::CutPrimaryFromPortal
            | Fault::CutStandbyFromPortal
            | Fault::IsolatePrimary
            | Fault::IsolateStandby
            | Fault::CutOneWay
            | Fault::LoseSomePackets
            | Fault::LoseManyPackets
            | Fault::NarrowLink
            | Fault::LoseAnswers => scene.networks(self).await,
            Fault::FillPrimary
            | Fault::FillStandby
            | Fault::PromoteFull
            | Fault::FreezePrimaryDisk
            | Fault::LosePrimaryVolume
            | Fault::LoseStandbyVolume
            | Fault::InvalidateSlot => scene.disks(self).await,
            _ => scene.processes(self).await,
        }
    }
}

impl Scene<'_> {
    async fn changed(&self) {
        self.pair.changes(self.epoch, self.name).await;
        tokio::time::sleep(LATER).await;
    }

    async fn processes(&self, fault: Fault) {
        let (zones, primary, standby) = (self.zones, &self.primary, &self.standby);
        let docker = |place: &Place, command: &[&str]| {
            zones.docker(place.zone, &[command, &[&place.container]].concat());
        };
        match fault {
            Fault::KillPostmaster => kill_postmaster(zones, primary),
            Fault::KillBackend => kill_backend(zones, primary),
            Fault::KillPrimary => docker(primary, &["kill"]),
            Fault::StopPrimary => docker(primary, &["stop"]),
            Fault::RemovePrimary => docker(primary, &["rm", "--force"]),
            Fault::PausePrimaryShortly => pause(zones, primary, 5).await,
            Fault::PausePrimary => pause(zones, primary, 30).await,
            Fault::PauseStandby => pause(zones, standby, WHILE.as_secs()).await,
            Fault::KillStandby => docker(standby, &["kill"]),
            Fault::ExhaustMemory => self.exhaust_memory().await,
            Fault::KillInRestart => {
                let id = self.pair.submit(OperationKind::Restart).await;
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                let primary = self.pair.place(MemberRole::Primary).await;
                // It may just be between two containers.
                zones.try_docker(primary.zone, &["kill", &primary.container]);
                self.pair.portal.wait_settled(&id).await;
            }
            Fault::KillWhileBuilding => {
                remove_with_volume(zones, standby);
                self.pair.reaches(ReplicationState::Building, self.name).await;
                docker(primary, &["kill"]);
            }
            Fault::KillBoth => {
                docker(primary, &["kill"]);
                docker(standby, &["kill"]);
            }
            other => unreachable!("{other:?}"),
        }
    }

    async fn hosts(&self, fault: Fault) {
        let (zones, primary, standby) = (self.zones, self.primary.zone, self.standby.zone);
        match fault {
            Fault::KillEngine => {
                signal(zones.engine_process(primary), "KILL");
                tokio::time::sleep(WHILE).await;
                let epoch = self.pair.row().await.epoch;
                assert_eq!(epoch, self.epoch, "{}: a primary that answers stays", self.name);
                zones.restore(primary);
            }
            Fault::HangEngine => hang(zones.engine_process(primary), WHILE).await,
            Fault::LoseZone => {
                zones.lose(primary);
                self.changed().await;
                zones.restore(primary);
            }
            Fault::LoseStandbyZone => {
                zones.lose(standby);
                tokio::time::sleep(WHILE).await;
                zones.restore(standby);
            }
            Fault::LoseBothStandbyReturns => {
                zones.lose(primary);
                zones.lose(standby);
                tokio::time::sleep(LATER).await;
                zones.restore(standby);
                self.changed().await;
                zones.restore(primary);
            }
            Fault::LoseBothPrimaryReturns => {
                zones.lose(standby);
                zones.lose(primary);
                tokio::time::sleep(LATER).await;
                zones.restore(primary);
                self.pair.serves(self.name).await;
                zones.restore(standby);
            }
            Fault::Reboot => {
                zones.lose(primary);
                zones.lose(standby);
                zones.restore(primary);
                zones.restore(standby);
            }
            other => unreachable!("{other:?}"),
        }
    }

    async fn networks(&self, fault: Fault) {
        let (zones, primary, standby) = (self.zones, self.primary.zone, self.standby.zone);
        match fault {
            Fault::CutMembers => zones.block(primary, &zones.ip(standby)),
            Fault::CutPrimaryFromPortal => zones.block(primary, &zones.machine()),
            Fault::CutStandbyFromPortal => zones.block(standby, &zones.machine()),
            Fault::IsolatePrimary => zones.cut(primary),
            Fault::IsolateStandby => zones.cut(standby),
            Fault::CutOneWay => zones.block_incoming(primary, &zones.ip(standby)),
            Fault::LoseSomePackets => zones.lose_packets(primary, 10),
            Fault::LoseManyPackets => zones.lose_packets(primary, 30),
            Fault::NarrowLink => zones.narrow(standby, 1_000),
            Fault::LoseAnswers => {
                remove_with_volume(zones, &self.standby);
                self.pair.reaches(ReplicationState::Building, self.name).await;
                zones.lose_answers(standby);
            }
            other => unreachable!("{other:?}"),
        }
        match fault {
            Fault::CutPrimaryFromPortal | Fault::IsolatePrimary => self.changed().await,
            _ => tokio::time::sleep(WHILE).await,
        }
        zones.undo_all();
        match fault {
            Fault::IsolatePrimary => zones.heal(primary),
            Fault::IsolateStandby => zones.heal(standby),
            _ => {}
        }
    }

    async fn disks(&self, fault: Fault) {
        let (zones, primary, standby) = (self.zones, &self.primary, &self.standby);
        match fault {
            Fault::FillPrimary => {
                // Below what protects it, above what stops it.
                fill(zones, primary, 2 << 30);
                self.pair.refuses_writes(self.name).await;
                exec(zones, primary, EMPTY);
            }
            Fault::FillStandby => {
                fill(zones, standby, 0);
                self.pair.refuses_writes_or_leaves_sync(self.name).await;
                tokio::time::sleep(WHILE).await;
                // One that ended is made anew by then.
                zones.try_docker(standby.zone, &["exec", &standby.container, "sh", "-c", EMPTY]);
            }
            Fault::PromoteFull => {
                fill(zones, standby, 0);
                zones.docker(primary.zone, &["kill", &primary.container]);
                self.pair.leaves(ReplicationState::Sync, self.name).await;
                self.pair.leaves(ReplicationState::Promoting, self.name).await;
                tokio::time::sleep(LATER).await;
                zones.try_docker(standby.zone, &["exec", &standby.container, "sh", "-c", EMPTY]);
            }
            Fault::FreezePrimaryDisk => {
                zones.freeze(&source(zones, primary));
                self.pair.changes(self.epoch, self.name).await;
                tokio::time::sleep(WHILE * 2).await;
                zones.undo_all();
            }
            Fault::LosePrimaryVolume => remove_with_volume(zones, primary),
            Fault::LoseStandbyVolume => remove_with_volume(zones, standby),
            Fault::InvalidateSlot => self.invalidate_slot().await,
            other => unreachable!("{other:?}"),
        }
    }

    /// The members do not see each other until what the standby lacks is gone from the primary.
    async fn invalidate_slot(&self) {
        let (zones, primary, pair) = (self.zones, &self.primary, self.pair);
        zones.block(primary.zone, &zones.ip(self.standby.zone));
        pair.leaves(ReplicationState::Sync, self.name).await;
        let slots = "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'";
        for _ in 0..20 {
            // The portal writes the file anew now and then.
            let small =
                "echo \"max_slot_wal_keep_size = '1MB'\" >> /var/lib/pgflex/config/postgresql.conf";
            exec(zones, primary, small);
            signal(super::tricks::postmaster(zones, primary), "HUP");
            let log = "SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000000)) FROM generate_series(1, 60)";
            for sql in [log, "CHECKPOINT"] {
                let _ = pair.portal.psql(&pair.server, sql).await;
            }
            if pair.portal.psql(&pair.server, slots).await.is_ok_and(|count| count != "0") {
                zones.undo_all();
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        panic!("{}: the slot is still good\n{}", self.name, pair.story().await);
    }

    /// A session wants more than the container has left.
    async fn exhaust_memory(&self) {
        let (zones, primary, pair) = (self.zones, &self.primary, self.pair);
        let limit = "--format={{.HostConfig.Memory}}";
        let before = zones.docker(primary.zone, &["inspect", limit, &primary.container]);
        let update = |bytes: &str| {
            let (memory, swap) = (format!("--memory={bytes}"), format!("--memory-swap={bytes}"));
            zones.try_docker(primary.zone, &["update", &memory, &swap, &primary.container]);
        };
        update("402653184");
        let greedy = "SELECT length(string_agg(repeat(md5(n::text), 1000), '')) FROM generate_series(1, 30000) n";
        let answer = pair.portal.psql(&pair.server, greedy).await;
        update(&before);
        assert!(answer.is_err(), "{}: there was memory enough", self.name);
    }
}
