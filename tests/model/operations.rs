//! The operations of high availability as step machines: the order of their steps is that of `operations::ha`, every
//! change of the row goes through the real [`HighAvailability::after`].

mod build;
mod recover;
mod relax;

use super::mutants::Mutant;
use super::pair::CHOICE;
use super::properties::{I1, I7, P4};
use super::world::{Op, Place, World, bits, number};
use pgflex::domain::ha::{Durability, HighAvailability, Move, ReplicationState as S};
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
            CHOICE => self.choose(),
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
        let Ok(mut next) = from.after(change, chrono::DateTime::UNIX_EPOCH) else { return false };
        if next.epoch > from.epoch && self.has(Mutant::EpochStays) {
            next.epoch = from.epoch;
        }
        self.note_primary(&next);
        let (from, to) = (row.durability, next.durability);
        // Otherwise it is kept when the operation that chose it has seen it in force.
        self.world.is_kept = match (to, change) {
            (Durability::Preferred, _) => false,
            // On record in a pair in sync: the standby's file said so before.
            (_, Move::Chosen { .. }) if from != to => next.state == S::Sync,
            (_, Move::Armed { .. }) => true,
            _ => self.world.is_kept,
        };
        self.world.row = HighAvailability { version: row.version + 1, ..next };
        true
    }

    /// I1: what is said of an epoch is said once.
    fn note_primary(&mut self, next: &HighAvailability) {
        let (at, now) = (next.epoch as usize - 1, number(next.primary.as_ref()));
        match self.world.history.get(at) {
            Some(named) if *named != now => self.world.break_rule(I1),
            Some(_) => {}
            None => self.world.history.push(now),
        }
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
        let change = match self.op.is_forced {
            true => Move::PromotionForced { standby_zone },
            false => Move::PromotionBegins { standby_zone },
        };
        if !self.cas(&change) {
            return Step::Refused;
        }
        self.world.is_forced = self.op.is_forced;
        if self.op.is_forced {
            self.forgive(place);
        }
        Step::To(1)
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
        let opens = u8::from(!self.has(Mutant::NoNewTimeline));
        let node = &mut self.world.nodes[place];
        node.is_primary = true;
        node.timeline += opens;
        node.is_ghost = is_ghost;
        let (timeline, has) = (node.timeline, bits(&node.log));
        if self.world.timelines.contains(&timeline) {
            self.world.break_rule(I7);
        }
        self.world.timelines.push(timeline);
        let other = bits(&self.world.nodes[1 - place].log);
        if self.op.is_planned && other & !has != 0 {
            self.world.break_rule(P4);
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
        node.is_doubled = false;
        node.is_ghost = false;
        node.waiting = 0;
    }

    /// A start by order (with the epoch it was given for) or by somebody else. One that runs is left as it is.
    fn start(&mut self, place: Place, epoch: Option<i64>) {
        let node = &mut self.world.nodes[place];
        node.is_doubled |= node.is_up && self.mutant == Some(Mutant::NoVolumeLock);
        self.world.start(place, epoch);
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
            Some(place) if self.world.nodes[place].runs_with(names) => Step::To(next),
            _ => Step::Stuck,
        }
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
