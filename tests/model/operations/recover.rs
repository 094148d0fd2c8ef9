//! The primary is started again in place, and clients wait behind the gate.

use super::{Run, Step};
use crate::mutants::Mutant;
use crate::world::{NO_ONE, alone, by_row, number};
use pgflex::domain::ha::{Move, ReplicationState as S};

impl Run<'_> {
    /// C1-C4.
    pub(super) fn recover(&mut self) -> Step {
        match self.op.step {
            0 => self.begin_restart(),
            1 => self.write_before_start(),
            2 => self.start_primary(),
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

    /// C2. By the row of now, and only of its primary.
    fn write_before_start(&mut self) -> Step {
        let Some(place) = self.world.place_of(self.op.member) else { return Step::Refused };
        if self.is_past_gate() || self.world.primary() != Some(place) {
            return Step::Refused;
        }
        if !self.world.is_reached[place] {
            return Step::Stuck;
        }
        self.world.nodes[place].names_in_file = match self.has(Mutant::StartsWithoutNames) {
            true => NO_ONE,
            false => by_row(&self.world.row),
        };
        Step::To(2)
    }

    /// Somebody else has brought it back and let clients in, or the gateway is still to let go of it: a start now would go
    /// past the gate.
    fn is_past_gate(&self) -> bool {
        matches!(self.world.row.state, S::Sync | S::Switching | S::Promoting)
    }

    /// As its file says, whoever wrote it last. Of the member that it was begun for, even if the row has gone on meanwhile:
    /// nothing makes looking at the row and starting a container one act.
    fn start_primary(&mut self) -> Step {
        let Some(place) = self.world.place_of(self.op.member) else { return Step::Refused };
        if self.is_past_gate() {
            return Step::Refused;
        }
        if !self.world.is_reached[place] {
            return Step::Stuck;
        }
        let beside = 1 - place;
        if self.world.is_reached[beside] && self.world.standby() == Some(beside) {
            if !self.world.nodes[beside].is_up {
                self.world.nodes[beside].names_in_file = alone(&self.world.row);
            }
            self.start(beside, None);
        }
        self.start(place, Some(self.op.epoch));
        Step::To(3)
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
        // What is in force is asked, not what was written: an order that was lost may have come between.
        let wanted = by_row(&self.world.row);
        if !self.world.nodes[place].runs_with(wanted) && !self.has(Mutant::StartsWithoutNames) {
            let node = &self.world.nodes[place];
            return match node.is_reloading && node.names_in_file == wanted {
                true => Step::Stuck,
                false => self.write_names(wanted, 3),
            };
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
}
