//! The operations of high availability as step machines: the order of their steps is that of `operations::ha`, every
//! change of the row goes through the real [`HighAvailability::after`].

use super::mutants::Mutant;
use super::world::{NO_ONE, Node, Op, Place, World, bits, id, number};
use pgflex::domain::ha::{HighAvailability, Lsn, Move, ReplicationState as S, WaitsFor};
use pgflex::domain::operation::OperationKind as K;

/// What a step came to.
pub enum Step {
    /// It is done: to this step next.
    To(u8),
    /// It cannot be done now.
    Stuck,
    /// The row forbids it: the operation ends badly.
    Refused,
    /// The operation is done.
    Done,
}

/// A lane while its step runs: the operation is taken out of the world.
pub struct Run<'a> {
    pub world: &'a mut World,
    pub op: &'a mut Op,
    pub mutant: Option<Mutant>,
}

impl Run<'_> {
    pub fn step(&mut self) -> Step {
        match self.op.kind {
            K::Failover => self.failover(),
            K::Disarm => self.disarm(),
            K::BuildStandby => self.build(),
            K::RecoverPrimary => self.recover(),
            _ => self.switchover(),
        }
    }

    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Compare and swap: the row as it is now, changed as it allows.
    fn cas(&mut self, change: &Move) -> bool {
        let row = self.world.row.clone();
        let from = match &self.op.cached {
            Some(cached) if matches!(change, Move::PromotionBegins { .. }) => (**cached).clone(),
            _ => row.clone(),
        };
        let Ok(next) = from.after(change, chrono::DateTime::UNIX_EPOCH) else { return false };
        if next.epoch == row.epoch && next.primary != row.primary {
            self.world.broken = Some("I1: the primary of an epoch was changed");
        }
        if next.epoch > row.epoch {
            self.world.history.push(number(next.primary.as_ref()));
        }
        self.world.row = HighAvailability { version: row.version + 1, ..next };
        true
    }

    fn then(&mut self, change: &Move, next: u8) -> Step {
        if self.cas(change) { Step::To(next) } else { Step::Refused }
    }

    /// F1-F12.
    fn failover(&mut self) -> Step {
        match self.op.step {
            0 => self.begin_promotion(),
            // Somebody else has finished it: to hold clients now would lock them out for good.
            1..=3 if self.world.row.state != S::Promoting => Step::Done,
            1 => self.hold(2),
            2 => self.promote(),
            3 => self.promoted(),
            _ => self.fence(),
        }
    }

    fn begin_promotion(&mut self) -> Step {
        if self.world.row.state == S::Promoting {
            return Step::To(1);
        }
        let row = self.op.cached.as_deref().unwrap_or(&self.world.row);
        let timeline = row.timeline;
        let Some(place) = self.world.place_of(number(row.standby.as_ref())) else {
            return Step::Refused;
        };
        if !self.world.is_reached[place] {
            return Step::Stuck;
        }
        // A7: complete as it lies there.
        self.start(place, None);
        let node = &self.world.nodes[place];
        if node.is_primary || i64::from(node.timeline) != timeline {
            return Step::Refused;
        }
        let standby_zone = String::new();
        match self.op.is_forced {
            true => {
                self.forgive(place);
                self.then(&Move::PromotionForced { standby_zone }, 1)
            }
            false => self.then(&Move::PromotionBegins { standby_zone }, 1),
        }
    }

    /// F4.
    fn hold(&mut self, next: u8) -> Step {
        let gateway = &mut self.world.gateway;
        if gateway.is_open && self.mutant == Some(Mutant::GatewayKeepsConnections) {
            gateway.kept |= 1 << gateway.target;
        }
        gateway.is_open = false;
        Step::To(next)
    }

    /// F6 and F8 in one: the receiver ends, what it received is replayed, a new timeline opens.
    fn promote(&mut self) -> Step {
        let Some(place) = self.world.primary() else { return Step::Refused };
        if !self.world.is_reached[place] {
            return Step::Stuck;
        }
        self.start(place, Some(self.world.row.epoch));
        if self.world.nodes[place].is_primary {
            return Step::To(3);
        }
        let is_ghost = self.has(Mutant::NoDataFence);
        let node = &mut self.world.nodes[place];
        node.is_primary = true;
        node.timeline += 1;
        node.is_ghost = is_ghost;
        let (timeline, has) = (node.timeline, bits(&node.log));
        if self.world.timelines.contains(&timeline) {
            self.world.broken = Some("I7: two promotions opened one timeline");
        }
        self.world.timelines.push(timeline);
        let other = bits(&self.world.nodes[1 - place].log);
        if self.op.is_planned && other & !has != 0 {
            self.world.broken = Some("P4: a planned change of primary lost what the old one had");
        }
        if self.op.is_forced {
            self.forgive(place);
        }
        Step::To(3)
    }

    /// F13: a person gave up what the standby at `place` lacks.
    fn forgive(&mut self, place: Place) {
        let has = bits(&self.world.nodes[place].log);
        self.world.forgiven |= bits(&self.world.nodes[1 - place].log) & !has;
    }

    /// F11: the row and the way in, in one transaction. One that died meanwhile is started again.
    fn promoted(&mut self) -> Step {
        let Some(place) = self.world.primary() else { return Step::Refused };
        if !self.world.is_reached[place] {
            return Step::Stuck;
        }
        self.start(place, Some(self.world.row.epoch));
        let timeline = i64::from(self.world.nodes[place].timeline);
        if !self.cas(&Move::Promoted { timeline }) {
            return Step::Refused;
        }
        self.open(place);
        Step::To(4)
    }

    fn open(&mut self, place: Place) {
        let epoch = self.world.row.epoch;
        let kept = self.world.gateway.kept;
        self.world.gateway = super::world::Gateway { is_open: true, target: place, epoch, kept };
    }

    /// F5, F12: best effort, after all that counts.
    fn fence(&mut self) -> Step {
        let Some(place) = self.world.primary() else { return Step::Done };
        if self.world.is_reached[1 - place] {
            self.kill(1 - place);
        }
        Step::Done
    }

    fn kill(&mut self, place: Place) {
        let node = &mut self.world.nodes[place];
        node.is_up = false;
        node.is_ghost = false;
        node.waiting = 0;
    }

    /// A start by order (with the epoch it was given for) or by somebody else.
    fn start(&mut self, place: Place, epoch: Option<i64>) {
        self.world.start(place, epoch);
    }

    /// D1-D2.
    fn disarm(&mut self) -> Step {
        let first = if self.has(Mutant::DisarmReversed) { 1 } else { 0 };
        match self.op.step {
            // Reversed: names, effect, and only then the row.
            0 if first == 1 => self.write_names(NO_ONE, 1),
            1 if first == 1 => self.in_force(NO_ONE, 2),
            2 if first == 1 => self.then(&Move::DisarmBegins, 3),
            0 => self.then(&Move::DisarmBegins, 1),
            1 if self.world.row.state != S::Disarming => Step::Refused,
            1 => self.write_names(NO_ONE, 2),
            2 => self.in_force(NO_ONE, 3),
            3 => self.then(&Move::Disarmed, 4),
            // C3: disarmed is one of the two keys of the gate.
            _ => self.let_in(),
        }
    }

    fn let_in(&mut self) -> Step {
        if let Some(place) = self.world.primary().filter(|place| self.world.answers(*place)) {
            let is_at_work =
                matches!(self.world.row.state, S::Promoting | S::Switching | S::Restarting);
            if !is_at_work && !self.world.gateway.is_open {
                self.open(place);
            }
        }
        Step::Done
    }

    fn write_names(&mut self, names: u8, next: u8) -> Step {
        let Some(place) = self.world.primary().filter(|place| self.world.answers(*place)) else {
            return Step::Stuck;
        };
        let node = &mut self.world.nodes[place];
        node.names_in_file = names;
        node.is_reloading = true;
        Step::To(next)
    }

    fn in_force(&mut self, names: u8, next: u8) -> Step {
        match self.world.primary().filter(|place| self.world.answers(*place)) {
            Some(place) if self.world.nodes[place].names == names => Step::To(next),
            _ => Step::Stuck,
        }
    }

    /// W1, then A1-A5.
    fn build(&mut self) -> Step {
        match self.op.step {
            0 => self.begin_build(),
            1 => self.copy(),
            2 if self.is_streaming() => {
                let timeline =
                    self.world.primary().map_or(0, |place| self.world.nodes[place].timeline);
                self.then(&Move::Follows { timeline: i64::from(timeline) }, 3)
            }
            3 => self.then(&Move::ArmBegins, 4),
            4 if self.world.row.state != S::Arming => Step::Refused,
            4 if self.has(Mutant::ArmWithoutBarrier) => {
                self.mark();
                let _ = self.write_names(self.op.member, 6);
                self.armed()
            }
            4 => self.write_names(self.op.member, 5),
            5 if self.is_streaming() && self.is_in_force() => {
                self.mark();
                Step::To(6)
            }
            6 if self.is_streaming() && self.has_mark() => self.armed(),
            _ => Step::Stuck,
        }
    }

    fn begin_build(&mut self) -> Step {
        let Some(primary) = self.world.primary().filter(|place| self.world.answers(*place)) else {
            return Step::Stuck;
        };
        let there = &self.world.nodes[1 - primary];
        let is_back = self.world.standby() == Some(1 - primary)
            && !there.is_primary
            && there.timeline == self.world.nodes[primary].timeline;
        let member = if is_back { there.member } else { self.world.next_member };
        self.op.member = member;
        self.then(&Move::BuildBegins { standby: id(member) }, 1)
    }

    /// A copy of the primary in a member of its own; one that is brought back keeps what it has.
    fn copy(&mut self) -> Step {
        let Some(primary) = self.world.primary().filter(|place| self.world.answers(*place)) else {
            return Step::Stuck;
        };
        let place = 1 - primary;
        if number(self.world.row.standby.as_ref()) != self.op.member {
            return Step::Refused;
        }
        if !self.world.is_reached[place] || !self.world.is_linked {
            return Step::Stuck;
        }
        if self.world.nodes[place].member == self.op.member {
            self.start(place, None);
            return Step::To(2);
        }
        let source = self.world.nodes[primary].clone();
        let log = match self.has(Mutant::RewindOnEqualTimeline) {
            // "No rewind required": what lies there is taken for a beginning of the primary's log.
            true => self.world.nodes[place].log.iter().copied().take(source.log.len()).collect(),
            false => source.log,
        };
        self.world.nodes[place] = Node {
            member: self.op.member,
            is_up: true,
            timeline: source.timeline,
            log,
            source: source.member,
            ..Node::default()
        };
        self.world.next_member = self.world.next_member.max(self.op.member + 1);
        Step::To(2)
    }

    fn is_streaming(&self) -> bool {
        let is_its = number(self.world.row.standby.as_ref()) == self.op.member;
        is_its
            && self.world.primary().is_some_and(|place| {
                self.world.answers(place)
                    && self.world.answers(1 - place)
                    && self.world.is_followed(place)
                    && self.world.nodes[1 - place].member == self.op.member
            })
    }

    fn is_in_force(&self) -> bool {
        self.world.primary().is_some_and(|place| self.world.nodes[place].names == self.op.member)
    }

    /// A4: what was acknowledged without the standby lies before this place.
    fn mark(&mut self) {
        let end = self.world.primary().map_or(0, |place| self.world.nodes[place].log.len());
        self.op.mark = end as u8;
        self.op.marked_at = self.world.row.version;
    }

    fn has_mark(&self) -> bool {
        self.world
            .primary()
            .is_some_and(|place| self.world.nodes[1 - place].log.len() >= usize::from(self.op.mark))
    }

    fn armed(&mut self) -> Step {
        let lsn = Lsn(u64::from(self.op.mark));
        let change = Move::Armed { lsn, marked_at: self.op.marked_at };
        if self.cas(&change) { Step::Done } else { Step::Refused }
    }

    /// C1-C4.
    fn recover(&mut self) -> Step {
        match self.op.step {
            0 => self.begin_restart(),
            1 => self.start_primary(),
            _ => self.gate(),
        }
    }

    /// The row and the way in, in one transaction. An arming is given up: its mark may be older than rows that the start
    /// will show, so it must not end well behind the back of the gate.
    fn begin_restart(&mut self) -> Step {
        self.op.member = number(self.world.row.primary.as_ref());
        self.op.epoch = self.world.row.epoch;
        let change = match self.world.row.state {
            S::Promoting => return Step::Refused,
            S::Sync | S::Switching => Some(Move::RestartBegins),
            S::Arming => Some(Move::ArmGaveUp),
            _ => None,
        };
        if change.is_some_and(|change| !self.cas(&change)) {
            return Step::Refused;
        }
        self.hold(1)
    }

    /// C2. Of the member that it was begun for, even if the row has gone on meanwhile: nothing makes looking at the row
    /// and starting a container one act.
    fn start_primary(&mut self) -> Step {
        let Some(place) = self.world.place_of(self.op.member) else { return Step::Refused };
        // Somebody else has brought it back and let clients in, or the gateway is still to let go of it: a start now would go
        // past the gate.
        if matches!(self.world.row.state, S::Sync | S::Switching | S::Promoting) {
            return Step::Refused;
        }
        if !self.world.is_reached[place] {
            return Step::Stuck;
        }
        if self.world.is_reached[1 - place] && self.world.standby() == Some(1 - place) {
            self.start(1 - place, None);
        }
        if !self.world.nodes[place].is_up {
            let names = match self.world.row.waits_for() {
                _ if self.has(Mutant::StartsWithoutNames) => NO_ONE,
                // The file was written for the epoch of the operation.
                _ if self.world.row.epoch != self.op.epoch => self.world.nodes[place].names_in_file,
                WaitsFor::Standby(_) => number(self.world.row.standby.as_ref()),
                _ => NO_ONE,
            };
            self.world.nodes[place].names_in_file = names;
            self.start(place, Some(self.op.epoch));
        }
        Step::To(2)
    }

    /// C3: the standby has all that clients could see, or it no longer counts.
    fn gate(&mut self) -> Step {
        let Some(place) = self.world.place_of(self.op.member) else { return Step::Refused };
        if self.world.primary() != Some(place) {
            return Step::Refused;
        }
        if !self.world.answers(place) {
            return Step::Stuck;
        }
        if matches!(self.world.row.state, S::Promoting | S::Switching | S::Disarming) {
            return Step::Refused;
        }
        if self.world.row.is_promotable {
            let nodes = &self.world.nodes;
            let has_all = self.world.is_followed(place)
                && nodes[1 - place].log.len() >= nodes[place].log.len();
            if !has_all && !self.has(Mutant::NoGate) {
                return Step::Stuck;
            }
        }
        if self.world.row.state == S::Restarting && !self.cas(&Move::Restarted) {
            return Step::Refused;
        }
        self.open(place);
        Step::Done
    }

    /// P3-P4; from step 4 on as a failover.
    fn switchover(&mut self) -> Step {
        let is_early = self.has(Mutant::TargetBeforeStop);
        match self.op.step {
            0 if is_early && self.op.mark == 0 => {
                self.op.mark = u8::from(self.is_equal());
                if self.is_equal() { Step::To(0) } else { Step::Stuck }
            }
            0 => {
                self.op.member = number(self.world.row.primary.as_ref());
                self.op.epoch = self.world.row.epoch;
                if !self.cas(&Move::SwitchBegins) {
                    return Step::Refused;
                }
                self.hold(1)
            }
            // Only while the row says that it is this change that goes on: somebody may have brought the primary back.
            _ if self.world.row.state != S::Switching => Step::Refused,
            1 => self.stop_in_order(),
            2 if is_early || self.is_equal() => {
                self.op.kind = K::Failover;
                self.op.is_planned = true;
                self.begin_promotion()
            }
            _ => {
                // P4: it goes on in the same epoch, behind the gate.
                self.op.kind = K::RecoverPrimary;
                Step::To(0)
            }
        }
    }

    fn is_equal(&self) -> bool {
        match (self.world.primary(), self.world.standby()) {
            (Some(primary), Some(standby)) => {
                let is_reached = self.world.is_reached[primary] && self.world.is_reached[standby];
                let nodes = &self.world.nodes;
                is_reached && nodes[primary].log.len() <= nodes[standby].log.len()
            }
            _ => false,
        }
    }

    /// PostgreSQL sends everything to a standby that is connected before it ends.
    fn stop_in_order(&mut self) -> Step {
        let Some(place) = self.world.primary().filter(|place| self.world.is_reached[*place]) else {
            return Step::Stuck;
        };
        if self.world.row.state != S::Switching {
            return Step::Refused;
        }
        if self.world.is_followed(place) {
            let log = self.world.nodes[place].log.clone();
            self.world.nodes[1 - place].log = log;
            self.world.settle();
        }
        self.kill(place);
        Step::To(2)
    }
}
