//! A standby is made or brought back, and commits are made to wait for it.

use super::{Run, Step};
use crate::mutants::Mutant;
use crate::pair::is_back;
use crate::world::{Node, Place, alone, id, number};
use pgflex::domain::ha::{Lsn, Move, ReplicationState as S};

impl Run<'_> {
    /// W1, then A1-A5.
    pub(super) fn build(&mut self) -> Step {
        match self.op.step {
            0 => self.begin_build(),
            1 => self.copy(),
            // By a change of durability, which gives the row back: what was copied is not thrown away for that.
            2 | 3 if self.world.row.state == S::Disarming => Step::Stuck,
            2 if self.is_streaming() => self.follows(3),
            3 if number(self.world.row.standby.as_ref()) != self.op.member => Step::Refused,
            3 => {
                if self.world.row.state == S::Building {
                    self.follows(3);
                }
                self.then(&Move::ArmBegins, 4)
            }
            4 if self.world.row.state != S::Arming => Step::Refused,
            4 if self.has(Mutant::ArmWithoutBarrier) => {
                self.mark();
                let _ = self.write_names(self.op.member, 6);
                self.armed()
            }
            4 if self.is_streaming() => {
                self.tell_standby();
                self.write_names(self.op.member, 5)
            }
            5 if self.is_streaming() && self.is_in_force() => {
                self.mark();
                Step::To(6)
            }
            6 if self.is_streaming() && self.has_mark() => self.armed(),
            _ => Step::Stuck,
        }
    }

    fn follows(&mut self, next: u8) -> Step {
        let timeline = self.world.primary().map_or(0, |place| self.world.nodes[place].timeline);
        self.then(&Move::Follows { timeline: i64::from(timeline) }, next)
    }

    /// F9: durability may have been chosen anew since its file was written; from Arming on it is not.
    fn tell_standby(&mut self) {
        let promoted = alone(&self.world.row);
        let Some(place) = self.world.standby() else { return };
        let node = &mut self.world.nodes[place];
        if self.mutant != Some(Mutant::ArmWithStaleFile) {
            node.names_in_file = promoted;
            node.is_reloading |= node.names != promoted;
        }
    }

    fn begin_build(&mut self) -> Step {
        let Some(primary) = self.world.primary().filter(|place| self.world.answers(*place)) else {
            return Step::Stuck;
        };
        let member = match is_back(self.world, primary) {
            true => self.world.nodes[1 - primary].member,
            false => self.world.next_member,
        };
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
        let promoted = alone(&self.world.row);
        if self.world.nodes[place].member == self.op.member {
            // Written and read, whether it runs or not.
            self.start(place, None);
            let node = &mut self.world.nodes[place];
            (node.names_in_file, node.names, node.is_reloading) = (promoted, promoted, false);
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
            names_in_file: promoted,
            names: promoted,
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

    /// On both: whom commits wait for, and what the standby has when it is promoted.
    fn is_in_force(&self) -> bool {
        let world = &self.world;
        let runs_with = |place: Option<Place>, names| {
            place.is_some_and(|place| world.nodes[place].runs_with(names))
        };
        let is_told =
            self.has(Mutant::ArmWithStaleFile) || runs_with(world.standby(), alone(&world.row));
        runs_with(world.primary(), self.op.member) && is_told
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
}
