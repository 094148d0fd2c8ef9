//! What the model knows of the world: two places, each with a member of PostgreSQL, the row, the gateway, operations
//! under way, and what clients were told.
//!
//! A record of the log is one bit: record `n` is bit `n`. A log is a list of records in order, compared by its length as
//! PostgreSQL compares places, so that a diverged log of the same length looks right until somebody reads it.

use super::pair::Bounds;
use super::properties::{I5, I9};
use pgflex::domain::ha::{Durability, HaMode, HighAvailability, ReplicationState, WaitsFor};
use pgflex::domain::ids::{MemberId, ServerId};
use pgflex::domain::operation::OperationKind;
use std::time::Duration;

pub type Bits = u8;
pub type Place = usize;

/// No standby: commits do not wait.
pub const NO_ONE: u8 = 0;
/// A name that no standby has: commits wait until one is armed (durability required).
pub const NOBODY: u8 = 99;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub row: HighAvailability,
    pub nodes: [Node; 2],
    pub gateway: Gateway,
    /// Change, standby, rescue: one operation in each.
    pub lanes: [Option<Op>; 3],
    /// An order to write `synchronous_standby_names` into a file that was sent and whose answer was lost. It arrives at
    /// any time, also long after its operation has ended, lost its lease or was done again by another.
    pub late: Option<Order>,
    pub is_linked: bool,
    /// From the portal (and the gateway, which stands beside it) to each place.
    pub is_reached: [bool; 2],
    pub acked: Bits,
    /// What clients have read through the gateway.
    pub read: Bits,
    /// What a person gave up by a forced failover, and what a crash in place showed too early.
    pub forgiven: Bits,
    pub exposed: Bits,
    pub written: u8,
    /// Which member is the primary of each epoch, from the first one on.
    pub history: Vec<u8>,
    /// Timelines that promotions opened.
    pub timelines: Vec<u8>,
    pub next_member: u8,
    pub faults_left: u8,
    pub wishes_left: u8,
    pub choices_left: u8,
    /// Orders that may still be lost on the way.
    pub orders_left: u8,
    /// The durability that this story began with.
    pub born: Durability,
    /// Whether durability required is a promise by now: it is on record, and in force wherever it must be.
    pub is_kept: bool,
    /// Whether the primary of this epoch was made one by force (F13).
    pub is_forced: bool,
    /// Rules that were broken on the way, told by the step that broke them: names of [`super::properties`].
    pub broken: Vec<&'static str>,
}

/// A member: container, volume and PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Node {
    /// 0: nothing is there.
    pub member: u8,
    pub is_up: bool,
    /// N2 broken: two postmasters on its volume.
    pub is_doubled: bool,
    pub is_primary: bool,
    pub timeline: u8,
    pub log: Vec<u8>,
    /// Member whose log it follows.
    pub source: u8,
    /// F6 broken: its receiver goes on after its promotion, into nothing.
    pub is_ghost: bool,
    pub names_in_file: u8,
    pub names: u8,
    /// A reload was asked for and has not taken effect.
    pub is_reloading: bool,
    /// Records whose sessions wait for the standby, in memory only.
    pub waiting: Bits,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Gateway {
    pub is_open: bool,
    pub target: Place,
    pub epoch: i64,
    /// Places to which connections of former epochs are still there; none in a gateway that is right.
    pub kept: Bits,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Op {
    pub kind: OperationKind,
    pub step: u8,
    /// The member and the epoch that it was begun for.
    pub member: u8,
    pub epoch: i64,
    pub is_forced: bool,
    pub is_planned: bool,
    pub mark: u8,
    pub marked_at: i64,
    /// F1 broken: the row as it was when the operation was submitted.
    pub cached: Option<Box<HighAvailability>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    pub place: Place,
    pub member: u8,
    pub names: u8,
}

impl Node {
    /// Whether commits wait for these, and no reading of the file is under way that could say otherwise: it takes
    /// PostgreSQL milliseconds, and what is asked of it takes a checkpoint (A3).
    pub fn runs_with(&self, names: u8) -> bool {
        self.names == names && !self.is_reloading
    }
}

impl World {
    /// In sync, with clients at work.
    pub fn begin(durability: Durability, bounds: Bounds) -> Self {
        let server = ServerId::parse("00000000-0000-7000-8000-00000000000f").unwrap();
        let asked = HighAvailability::asked(
            server,
            HaMode::ZoneRedundant,
            durability,
            String::new(),
            chrono::DateTime::UNIX_EPOCH,
        );
        let row = HighAvailability {
            primary: Some(id(1)),
            standby: Some(id(2)),
            state: ReplicationState::Sync,
            is_promotable: true,
            armed_lsn: Some(pgflex::domain::ha::Lsn(0)),
            timeline: 1,
            ..asked
        };
        let primary = Node {
            member: 1,
            is_up: true,
            is_primary: true,
            timeline: 1,
            names_in_file: 2,
            names: 2,
            ..Node::default()
        };
        let promoted = alone(&row);
        let standby = Node {
            member: 2,
            is_up: true,
            timeline: 1,
            source: 1,
            names_in_file: promoted,
            names: promoted,
            ..Node::default()
        };
        Self {
            row,
            nodes: [primary, standby],
            gateway: Gateway { is_open: true, target: 0, epoch: 1, kept: 0 },
            lanes: [None, None, None],
            late: None,
            is_linked: true,
            is_reached: [true, true],
            acked: 0,
            read: 0,
            forgiven: 0,
            exposed: 0,
            written: 0,
            history: vec![1],
            timelines: vec![1],
            next_member: 3,
            faults_left: bounds.faults,
            wishes_left: bounds.wishes,
            choices_left: bounds.choices,
            orders_left: bounds.orders,
            born: durability,
            is_kept: durability == Durability::Required,
            is_forced: false,
            broken: vec![],
        }
    }

    pub fn place_of(&self, member: u8) -> Option<Place> {
        (0..2).find(|place| member != 0 && self.nodes[*place].member == member)
    }

    /// Where the row's primary is.
    pub fn primary(&self) -> Option<Place> {
        self.place_of(number(self.row.primary.as_ref()))
    }

    pub fn standby(&self) -> Option<Place> {
        self.place_of(number(self.row.standby.as_ref()))
    }

    /// Whether the member at `place` runs and the portal can ask it.
    pub fn answers(&self, place: Place) -> bool {
        self.is_reached[place] && self.nodes[place].is_up
    }

    /// Whether the other place streams the log of the primary at `place`.
    pub fn is_followed(&self, place: Place) -> bool {
        let (node, other) = (&self.nodes[place], &self.nodes[1 - place]);
        let receives = !other.is_primary && other.source == node.member || other.is_ghost;
        node.is_up && node.is_primary && other.is_up && self.is_linked && receives
    }

    /// What follows at once: answers to clients, and what readers see. Eager, because the more clients were told and have
    /// seen, the more there is to lose.
    pub fn settle(&mut self) {
        for place in 0..2 {
            self.release(place);
        }
        for place in 0..2 {
            if self.has_clients(place) {
                let node = &self.nodes[place];
                self.read |= bits(&node.log) & !node.waiting;
            }
        }
    }

    fn release(&mut self, place: Place) {
        let other = &self.nodes[1 - place];
        let (there, has, ghost) = (other.member, other.log.len(), other.is_ghost);
        let is_followed = self.is_followed(place);
        let is_fenced = self.is_fenced(place);
        let node = &mut self.nodes[place];
        if !(node.is_up && node.is_primary) {
            return;
        }
        let waited = node.waiting;
        for (at, record) in node.log.clone().into_iter().enumerate() {
            let is_there = node.names == there && is_followed && (ghost || has > at);
            if node.waiting & bit(record) != 0 && (node.names == NO_ONE || is_there) {
                node.waiting &= !bit(record);
                self.acked |= bit(record);
            }
        }
        if is_fenced && node.waiting != waited {
            self.break_rule(I5);
        }
    }

    /// Whether the member at `place` was primary of an epoch before, and its successor has ended its receiver (F6). A person
    /// who forced that gave up what it acknowledges meanwhile.
    fn is_fenced(&self, place: Place) -> bool {
        let now = self.primary();
        !self.is_forced && now.is_some_and(|now| now != place && self.nodes[now].is_primary)
    }

    pub fn break_rule(&mut self, rule: &'static str) {
        if !self.broken.contains(&rule) {
            self.broken.push(rule);
        }
    }

    /// Whether clients are connected to `place` through the gateway.
    pub fn has_clients(&self, place: Place) -> bool {
        let is_current = self.gateway.is_open && self.gateway.target == place;
        self.answers(place) && (is_current || self.gateway.kept & (1 << place) != 0)
    }

    /// Starts the member at `place`: by an order with the epoch it was given for, as a follower, or by an engine.
    pub fn start(&mut self, place: Place, epoch: Option<i64>) {
        let node = &mut self.nodes[place];
        if node.is_up {
            return;
        }
        node.is_up = true;
        node.names = node.names_in_file;
        node.is_reloading = false;
        let (member, is_primary) = (node.member, node.is_primary);
        let named = match epoch {
            Some(epoch) => self.history.get(epoch as usize - 1).copied(),
            None => Some(number(self.row.primary.as_ref())),
        };
        if is_primary && named != Some(member) {
            self.break_rule(I9);
        }
    }

    /// Versions only matter relative to one another: without this every path would be a state of its own.
    pub fn normalise(&mut self) {
        for op in self.lanes.iter_mut().flatten() {
            op.marked_at = i64::from(op.marked_at == self.row.version);
        }
        self.row.version = 1;
    }
}

pub fn bit(record: u8) -> Bits {
    1 << record
}

pub fn bits(log: &[u8]) -> Bits {
    log.iter().fold(0, |all, record| all | bit(*record))
}

/// The id of a member by its number.
pub fn id(number: u8) -> MemberId {
    MemberId::parse(&format!("00000000-0000-7000-8000-{number:012}")).unwrap()
}

pub fn number(id: Option<&MemberId>) -> u8 {
    id.map_or(0, |id| id.short().parse().unwrap())
}

/// Whom the commits of a primary wait for by a row.
pub fn by_row(row: &HighAvailability) -> u8 {
    match row.waits_for() {
        WaitsFor::NoOne => NO_ONE,
        WaitsFor::Standby(_) => number(row.standby.as_ref()),
        WaitsFor::Never => NOBODY,
    }
}

/// What a standby's file must say (F9).
pub fn alone(row: &HighAvailability) -> u8 {
    match row.waits_for_alone() {
        WaitsFor::Never => NOBODY,
        _ => NO_ONE,
    }
}

pub const LONG: Duration = Duration::from_secs(300);
