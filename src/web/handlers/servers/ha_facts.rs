//! What the pages of a pair are made of, read once for a request; and which of its actions are open.

use super::ha_zones::{self, Truth};
use super::nav::Frame;
use crate::domain::ha::{
    HaLook, HaState, HighAvailability, MemberRole, OBSERVATION, ReplicationState, reason_against,
};
use crate::domain::operation::OperationKind;
use crate::domain::placement::HostLoad;
use crate::domain::server::{Member, MemberObservation, Server};
use crate::store::observations::Observed;
use crate::web::error::PageError;
use crate::web::visit::Visit;

/// Row, members and looks of one server.
pub struct HaFacts {
    /// `None` without high availability.
    pub row: Option<HighAvailability>,
    pub members: Vec<Member>,
    pub seen: Vec<MemberObservation>,
    pub look: Option<Observed<HaLook>>,
    pub loads: Vec<HostLoad>,
    /// Kinds under way, of every lane.
    pub under_way: Vec<OperationKind>,
}

impl HaFacts {
    /// Reads them.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(visit: &Visit, server: &Server) -> Result<Self, PageError> {
        let store = &visit.state.store;
        let row = store.ha(&server.id).await?;
        let look = store.server_observation::<HaLook>(&server.id, OBSERVATION).await?;
        let epoch = row.as_ref().map(|row| row.epoch);
        Ok(Self {
            // A look of another epoch says nothing about now.
            look: look.filter(|look| Some(look.facts.epoch) == epoch),
            row,
            members: store.members(&server.id).await?,
            seen: store.member_observations(&server.id).await?,
            loads: store.host_loads_all().await?,
            under_way: store.kinds_under_way(&server.id).await?,
        })
    }

    /// The state that people see.
    pub fn state(&self) -> HaState {
        let is_removing = self.under_way.contains(&OperationKind::RemoveStandby);
        HaState::shown(self.row.as_ref(), is_removing)
    }

    pub fn in_role(&self, role: MemberRole) -> Option<&Member> {
        self.members.iter().find(|member| member.role == role)
    }

    /// Whether the members that are there are on one engine; without a standby, the zones that they would be in.
    pub fn truth(&self, server: &Server) -> Option<Truth> {
        let row = self.row.as_ref()?;
        let primary = self.in_role(MemberRole::Primary)?;
        match self.in_role(MemberRole::Standby) {
            Some(standby) => {
                Some(ha_zones::of_hosts(&self.loads, &primary.host_id, &standby.host_id))
            }
            None => {
                let (region, zone) = (&server.spec.region, zone_of(primary, server));
                Some(ha_zones::of_zones(&self.loads, region, zone, &row.standby_zone))
            }
        }
    }

    pub fn host_name(&self, member: &Member) -> Option<&str> {
        let load = self.loads.iter().find(|load| load.host.id == member.host_id)?;
        Some(&load.host.name)
    }

    pub fn seen_of(&self, member: &Member) -> Option<&MemberObservation> {
        self.seen.iter().find(|look| look.member_id == member.id)
    }

    /// Whether the standby is provably complete: then a failover loses nothing.
    pub fn is_complete(&self) -> bool {
        self.row.as_ref().is_some_and(|row| row.is_promotable && row.standby.is_some())
    }

    /// Why an operation cannot be asked for now; `None` when it can.
    pub fn why_closed(&self, frame: &Frame, kind: OperationKind) -> Option<String> {
        let beside = || kind.check_beside(&self.under_way).err().map(|refusal| refusal.text);
        frame.why_closed(kind).or_else(|| self.why_not(frame, kind)).or_else(beside)
    }

    fn why_not(&self, frame: &Frame, kind: OperationKind) -> Option<String> {
        match (kind, &self.row) {
            (OperationKind::BuildStandby, Some(_)) => {
                Some("The server has high availability already.".into())
            }
            (OperationKind::BuildStandby, None) => {
                let server = &frame.server;
                let has_pooler = server.configuration.pooler.enabled;
                reason_against(server.spec.sku().tier, server.spec.access, has_pooler)
                    .map(str::to_owned)
            }
            (_, None) => Some("High availability is not enabled.".into()),
            (OperationKind::Switchover, Some(row)) => self.why_no_switch(row),
            (OperationKind::Failover, Some(row)) => why_no_failover(row),
            (OperationKind::ChangeDurability, Some(row)) => why_no_choice(row),
            _ => None,
        }
    }

    fn why_no_switch(&self, row: &HighAvailability) -> Option<String> {
        if row.state == ReplicationState::Sync && row.is_promotable {
            return None;
        }
        let state = self.state().label();
        Some(format!(
            "The pair is “{state}”. This needs a standby that has every commit: wait until it is Healthy."
        ))
    }
}

fn why_no_failover(row: &HighAvailability) -> Option<String> {
    if row.state == ReplicationState::Promoting {
        return Some("A failover is under way.".into());
    }
    row.standby.is_none().then(|| "There is no standby that could take over.".into())
}

/// States that pass by themselves are waited for by the operation.
fn why_no_choice(row: &HighAvailability) -> Option<String> {
    let is_blocked = row.state == ReplicationState::Blocked;
    is_blocked.then(|| {
        "No member of the pair is provably complete. Decide first which member goes on.".into()
    })
}

/// The zone of a member; that of its server for one from before zones were kept.
pub fn zone_of<'a>(member: &'a Member, server: &'a Server) -> &'a str {
    if member.zone.is_empty() { &server.spec.zone } else { &member.zone }
}
