//! What must be true of a pair after an operation: the row, its members, their containers, files and slots, the
//! promotions and the way in all say the same.

use super::expect::assert_running_once;
use crate::world::World;
use pgflex::domain::ha::{
    Durability, HighAvailability, MemberRole, ReplicationState as S, WaitsFor,
};
use pgflex::domain::operation::{Operation, OperationKind, OperationStatus};
use pgflex::domain::route::RouteState;
use pgflex::domain::server::{Member, network_name};
use pgflex::engine::fake::FakeEngine;
use pgflex::operations::access;
use pgflex::operations::ha::files;
use pgflex::postgres::Target;
use pgflex::postgres::replication::{Replication, Standing};
use std::collections::BTreeSet;

/// A pair as it stands.
pub struct Pair<'a> {
    pub world: &'a World,
    pub row: HighAvailability,
    pub members: Vec<Member>,
}

impl<'a> Pair<'a> {
    pub async fn of(world: &'a World, operation: &Operation) -> Pair<'a> {
        let server = &operation.server_id;
        let row = world.services.store.ha(server).await.unwrap().expect("the row is there");
        Self { world, row, members: world.services.store.members(server).await.unwrap() }
    }

    pub fn engine(&self, member: &Member) -> FakeEngine {
        let hosts = [&self.world.engine, &self.world.far];
        let is_its = |engine: &&&FakeEngine| {
            engine.remaining().contains(&format!("volume {}", member.data_volume()))
        };
        (*hosts.iter().find(is_its).expect("its volume is on an engine")).clone()
    }

    pub fn role(&self, role: MemberRole) -> Option<&Member> {
        self.members.iter().find(|member| member.role == role)
    }

    pub fn file(&self, member: &Member, name: &str) -> String {
        let bytes = self.engine(member).file(&member.volume(), &format!("config/{name}")).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    async fn target(&self, member: &Member) -> Option<Target> {
        use pgflex::engine::Engine;
        let facts = self.engine(member).container(&member.container()).await.unwrap()?;
        let address = access::address_in(&facts)?;
        let server = self.world.services.store.server(&member.server_id).await.unwrap().unwrap();
        Some(access::target(&self.world.services, &server, address).await.unwrap())
    }

    pub async fn standing(&self, member: &Member) -> Option<Standing> {
        let target = self.target(member).await?;
        Some(self.world.postgres.standing(&target).await.unwrap())
    }

    async fn slots(&self) -> Vec<String> {
        let Some(target) = self.target(&self.members[0]).await else { return vec![] };
        self.world.postgres.slots(&target).await.unwrap()
    }

    /// True at every time at which no operation is at work.
    pub async fn assert_sound(&self, why: &str) {
        self.assert_objects(why);
        self.assert_one_primary(why).await;
        self.assert_epochs(why).await;
        let standby = self.row.standby.as_ref().map(HighAvailability::standby_name);
        let former = self.members.iter().filter(|member| member.role == MemberRole::Former);
        let known: BTreeSet<String> = standby
            .into_iter()
            .chain(former.map(|one| HighAvailability::standby_name(&one.id)))
            .collect();
        let slots = self.slots().await;
        assert!(slots.iter().all(|slot| known.contains(slot)), "{why}: {slots:?} of {known:?}");
        let named: Vec<_> = [&self.row.primary, &self.row.standby].into_iter().flatten().collect();
        let is_on_record =
            |id: &pgflex::domain::ids::MemberId| self.members.iter().any(|member| member.id == *id);
        assert!(named.into_iter().all(is_on_record), "{why}: the row names members that are there");
    }

    /// Every object on every engine is of a member on record, once; no helper is left.
    fn assert_objects(&self, why: &str) {
        let mut wanted = vec![];
        let mut hosts = BTreeSet::new();
        for member in &self.members {
            wanted.push(format!("container {}", member.container()));
            wanted.push(format!("volume {}", member.volume()));
            wanted.push(format!("volume {}", member.disk_volume()));
            if hosts.insert(member.host_id.to_string()) {
                wanted.push(format!("network {}", network_name(&member.server_id)));
            }
        }
        wanted.sort();
        let engines = self.world.engines();
        let mut there: Vec<_> = engines.iter().flat_map(|engine| engine.remaining()).collect();
        there.sort();
        assert_eq!(there, wanted, "{why}: exactly one of each");
        for member in &self.members {
            let spec = self.engine(member).spec(&member.container()).unwrap();
            let may_restart = member.role == MemberRole::Primary && self.row.standby.is_none();
            assert!(!spec.restart || may_restart, "{why}: it never starts by itself");
        }
    }

    async fn assert_one_primary(&self, why: &str) {
        let mut primaries = vec![];
        for member in &self.members {
            if self.standing(member).await.is_some_and(|standing| !standing.in_recovery) {
                primaries.push(member.id.clone());
            }
        }
        // A server that never had a standby may not have its primary on record yet.
        let first = self.row.primary.is_none().then(|| &self.members[0].id);
        let named: Vec<_> = self.row.primary.iter().chain(first).cloned().collect();
        assert!(primaries.is_empty() || primaries == named, "{why}: {primaries:?} of {named:?}");
    }

    /// Each epoch has one primary for ever.
    async fn assert_epochs(&self, why: &str) {
        let store = &self.world.services.store;
        let promotions = store.promotions(&self.row.server_id, 100).await.unwrap();
        let epochs: BTreeSet<i64> = promotions.iter().map(|promotion| promotion.epoch).collect();
        assert_eq!(epochs.len(), promotions.len(), "{why}");
        assert_eq!(self.row.epoch, 1 + promotions.len() as i64, "{why}");
        for promotion in promotions.iter().filter(|promotion| promotion.epoch == self.row.epoch) {
            assert_eq!(Some(&promotion.to_member), self.row.primary.as_ref(), "{why}");
        }
    }

    /// The primary runs, waits for whom the row says, and clients are let in to it.
    pub async fn assert_serves(&self, why: &str) {
        let primary = self.role(MemberRole::Primary).unwrap();
        let target = self.target(primary).await.unwrap_or_else(|| panic!("{why}: it runs"));
        let standing = self.world.postgres.standing(&target).await.unwrap();
        assert!(!standing.in_recovery, "{why}");
        let waits_for = files::commits(self.row.waits_for()).waits_for();
        assert_eq!(standing.waits_for, waits_for, "{why}: in force");
        let routes = self.world.services.store.route_snapshot("x").await.unwrap().routes;
        assert_eq!(routes[0].state, RouteState::Open, "{why}");
        assert_eq!(routes[0].target, Some(target.address), "{why}");
    }

    pub async fn assert_in_sync(&self, why: &str) {
        assert!(self.row.state == S::Sync && self.row.is_promotable, "{why}: {:?}", self.row);
        assert_eq!(self.members.len(), 2, "{why}");
        assert_ne!(self.members[0].host_id, self.members[1].host_id, "{why}: two hosts");
        self.assert_serves(why).await;
        let standby = self.role(MemberRole::Standby).unwrap();
        let name = HighAvailability::standby_name(&standby.id);
        assert_eq!(self.row.waits_for(), WaitsFor::Standby(name.clone()), "{why}");
        let primary = self.standing(&self.members[0]).await.unwrap();
        let sender = primary.senders.iter().find(|sender| sender.application_name == name);
        assert_eq!(sender.unwrap().sync_state, "sync", "{why}");
        assert_eq!(self.slots().await, [name], "{why}");
        let alone = files::commits(self.row.waits_for_alone()).waits_for();
        let file = self.file(standby, "postgresql.conf");
        assert!(file.contains(&format!("synchronous_standby_names = '{alone}'")), "{why}: F9");
        assert_eq!(self.standing(standby).await.unwrap().waits_for, alone, "{why}: F9, in force");
    }

    /// The standby of before is the primary, and clients are let in to it.
    pub async fn assert_changed(&self, why: &str) {
        assert_eq!((self.row.epoch, self.row.state), (2, S::Single), "{why}");
        assert_eq!(self.row.standby_zone, "1", "{why}: where the old primary is");
        assert_eq!(self.role(MemberRole::Primary).unwrap().zone, "2", "{why}");
        self.assert_serves(why).await;
        let old = self.role(MemberRole::Former).unwrap();
        assert!(self.standing(old).await.is_none(), "{why}: the old primary does not run");
        let store = &self.world.services.store;
        let promotion = store.promotions(&self.row.server_id, 1).await.unwrap().remove(0);
        assert!(promotion.opened_at.is_some() && promotion.timeline == Some(2), "{why}");
    }
}

pub async fn assert_succeeded(world: &World, operation: &Operation, why: &str) {
    if operation.kind == OperationKind::RemoveStandby {
        assert_eq!(world.services.store.ha(&operation.server_id).await.unwrap(), None, "{why}");
        assert_running_once(world, operation, why).await;
        let member = world.services.store.members(&operation.server_id).await.unwrap().remove(0);
        assert!(world.engine.spec(&member.container()).unwrap().restart, "{why}");
        assert!(world.far.remaining().is_empty(), "{why}");
        return;
    }
    let pair = Pair::of(world, operation).await;
    pair.assert_sound(why).await;
    match operation.kind {
        OperationKind::Switchover | OperationKind::Failover => pair.assert_changed(why).await,
        OperationKind::Disarm => {
            assert_eq!((pair.row.state, pair.row.is_promotable), (S::Single, false), "{why}");
            assert_eq!(pair.members.len(), 2, "{why}: it may come back");
            pair.assert_serves(why).await;
        }
        OperationKind::ChangeDurability => {
            assert_eq!(pair.row.durability, Durability::Required, "{why}");
            pair.assert_in_sync(why).await;
        }
        _ => pair.assert_in_sync(why).await,
    }
}

pub async fn assert_unwound(world: &World, operation: &Operation, why: &str) {
    assert_ne!(operation.status, OperationStatus::Succeeded, "{why}");
    let pair = Pair::of(world, operation).await;
    pair.assert_sound(why).await;
    match operation.kind {
        OperationKind::BuildStandby => {
            assert_eq!((pair.row.state, &pair.row.standby), (S::Single, &None), "{why}");
            assert_eq!(pair.members.len(), 1, "{why}");
            pair.assert_serves(why).await;
        }
        // An epoch that has begun is finished.
        OperationKind::Switchover | OperationKind::Failover if pair.row.epoch == 2 => {
            if operation.kind == OperationKind::Switchover {
                assert_ne!(pair.row.state, S::Promoting, "{why}");
                return pair.assert_serves(why).await;
            }
            pair.assert_changed(why).await;
        }
        OperationKind::Switchover => pair.assert_in_sync(why).await,
        OperationKind::ChangeDurability => {
            assert_eq!(pair.row.durability, Durability::Preferred, "{why}: as before");
            pair.assert_in_sync(why).await;
        }
        OperationKind::Failover => assert_eq!(pair.row.state, S::Sync, "{why}"),
        OperationKind::RecoverPrimary => {
            assert!(pair.row.is_promotable && pair.row.epoch == 1, "{why}: {:?}", pair.row);
        }
        _ => {
            let safe = [S::Sync, S::Disarming, S::Single].contains(&pair.row.state);
            assert!(safe && pair.members.len() == 2, "{why}: {:?}", pair.row);
        }
    }
}
