//! Commits go on without the standby, and what becomes of them then is chosen anew.

use super::{Run, Step};
use crate::mutants::Mutant;
use crate::world::{NOBODY, Place, alone};
use pgflex::domain::ha::{Durability, Move, ReplicationState as S};

impl Run<'_> {
    /// D1-D2. Whom commits wait for then is what the row says: nobody, or with durability required for ever.
    pub(super) fn disarm(&mut self) -> Step {
        let names = alone(&self.world.row);
        let first = if self.has(Mutant::DisarmReversed) { 1 } else { 0 };
        match self.op.step {
            // Reversed: names, effect, and only then the row.
            0 if first == 1 => self.write_names(names, 1),
            1 if first == 1 => self.in_force(names, 2),
            2 if first == 1 => self.then(&Move::DisarmBegins, 3),
            0 => self.then(&Move::DisarmBegins, 1),
            1 if self.world.row.state != S::Disarming => Step::Refused,
            1 => self.write_names(names, 2),
            2 => self.in_force(names, 3),
            3 => self.then(&Move::Disarmed, 4),
            // C3: disarmed is one of the two keys of the gate.
            _ => self.let_in(),
        }
    }

    /// Durability chosen anew. In sync the standby's file goes before the row where the promise grows, and after it where
    /// it shrinks: whenever the standby takes over, its file keeps what is on record (F9). Without one that counts the
    /// row goes first, and what commits wait for is put right as by a disarm.
    pub(super) fn choose(&mut self) -> Step {
        let is_required = self.op.mark == NOBODY;
        let is_row_first = match is_required {
            true => self.has(Mutant::RequiredRowFirst),
            false => !self.has(Mutant::RelaxedFileFirst),
        };
        let state = self.world.row.state;
        match (self.op.step, state) {
            (0, S::Sync) if is_row_first => self.put_on_record(4),
            (0, S::Sync) => Step::To(1),
            (0, S::Single | S::Building | S::CatchUp) => self.put_on_record(7),
            (0, _) => Step::Stuck,
            // Somebody else changed the state: from the start.
            (1..=3, state) if state != S::Sync => Step::To(0),
            (1, _) => self.write_standby(2),
            (2, _) => self.standby_has_read(3),
            (3, _) => self.put_on_record(9),
            (4 | 5, state) if state != S::Sync => Step::Done,
            (4, _) => self.write_standby(5),
            (5, _) => self.standby_has_read(9),
            (7, _) => {
                self.op.kind = K::Disarm;
                self.op.step = 0;
                self.disarm()
            }
            _ => Step::Done,
        }
    }

    fn put_on_record(&mut self, next: u8) -> Step {
        let durability = match self.op.mark {
            NOBODY => Durability::Required,
            _ => Durability::Preferred,
        };
        let row = &self.world.row;
        let (mode, standby_zone) = (row.mode, row.standby_zone.clone());
        self.then(&Move::Chosen { mode, durability, standby_zone }, next)
    }

    /// The standby that counts, if its file can be written and read.
    fn counted(&self) -> Option<Place> {
        self.world.standby().filter(|place| self.world.answers(*place))
    }

    fn write_standby(&mut self, next: u8) -> Step {
        let Some(place) = self.counted() else { return Step::Stuck };
        let node = &mut self.world.nodes[place];
        self.op.member = node.member;
        node.names_in_file = self.op.mark;
        node.is_reloading = true;
        Step::To(next)
    }

    fn standby_has_read(&self, next: u8) -> Step {
        match self.counted().map(|place| &self.world.nodes[place]) {
            Some(node) if node.member == self.op.member && node.names == self.op.mark => {
                Step::To(next)
            }
            _ => Step::Stuck,
        }
    }

    pub(super) fn let_in(&mut self) -> Step {
        if let Some(place) = self.world.primary().filter(|place| self.world.answers(*place)) {
            let is_at_work =
                matches!(self.world.row.state, S::Promoting | S::Switching | S::Restarting);
            if !is_at_work && !self.world.gateway.is_open {
                self.open(place);
            }
        }
        Step::Done
    }
}
