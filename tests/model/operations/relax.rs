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
    /// row goes first, and is Disarming from then on until the primary runs with it.
    pub(super) fn choose(&mut self) -> Step {
        let is_row_first = match self.op.mark {
            NOBODY => self.has(Mutant::RequiredRowFirst),
            _ => !self.has(Mutant::RelaxedFileFirst),
        };
        let is_sync = self.world.row.state == S::Sync;
        match self.op.step {
            0 => self.begin_choice(is_row_first),
            1 => {
                self.op.marked_at = self.world.row.version;
                self.write_standby(2)
            }
            2 if !is_sync => Step::To(0),
            2 => self.standby_has_read(3),
            // By the row that was acted upon: the standby that was told is the one that counts.
            3 if !is_sync || self.op.marked_at != self.world.row.version => Step::To(0),
            3 => self.put_on_record(9),
            4 | 5 if !is_sync => Step::Done,
            4 => self.write_standby(5),
            5 => self.standby_has_read(9),
            6 => self.put_right(),
            7 | 8 if self.world.row.state != S::Disarming => Step::To(6),
            7 => self.in_force(alone(&self.world.row), 8),
            8 => self.end_choice(),
            _ => Step::Done,
        }
    }

    fn begin_choice(&mut self, is_row_first: bool) -> Step {
        match self.world.row.state {
            S::Sync if is_row_first => self.put_on_record(4),
            S::Sync => Step::To(1),
            // One transaction: no arming begins before the primary has said what it waits for now.
            S::Single | S::Building | S::CatchUp => match self.put_on_record(6) {
                Step::To(next) => self.then(&Move::DisarmBegins, next),
                refused => refused,
            },
            _ => Step::Stuck,
        }
    }

    fn put_right(&mut self) -> Step {
        let names = alone(&self.world.row);
        match self.world.row.state {
            _ if self.world.row.is_promotable => Step::Done,
            S::Disarming => self.write_names(names, 7),
            S::Single | S::Building | S::CatchUp => match self.in_force(names, 9) {
                Step::Stuck if self.primary_answers() => self.then(&Move::DisarmBegins, 6),
                in_force => {
                    self.keep(&in_force);
                    in_force
                }
            },
            _ => Step::Stuck,
        }
    }

    /// From now on it is a promise: the primary was seen to run with it.
    fn keep(&mut self, seen: &Step) {
        let is_required = self.world.row.durability == Durability::Required;
        self.world.is_kept |= is_required && !matches!(seen, Step::Stuck);
    }

    fn primary_answers(&self) -> bool {
        self.world.primary().is_some_and(|place| self.world.answers(place))
    }

    /// A build that is under way goes on where it was.
    fn end_choice(&mut self) -> Step {
        if !self.cas(&Move::Disarmed) {
            return Step::Refused;
        }
        self.keep(&Step::Done);
        let is_building = self.world.lanes[1].is_some();
        if let Some(standby) = self.world.row.standby.clone().filter(|_| is_building) {
            self.cas(&Move::BuildBegins { standby });
        }
        Step::Done
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
            Some(node) if node.member == self.op.member && node.runs_with(self.op.mark) => {
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
