//! The pair as a `stateright` model: what may happen next, and what must hold.

use super::look::look;
use super::mutants::Mutant;
use super::operations::{Run, Step};
use super::world::{NO_ONE, NOBODY, Op, Order, Place, World, alone, bit, bits, number};
use pgflex::domain::ha::{Action, Decision, Durability, ReplicationState as S, decide};
use pgflex::domain::operation::{Lane, OperationKind as K};
use stateright::{Model, Property};

/// How far is looked.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub writes: u8,
    pub epochs: i64,
    /// Members that are ever made, the first two included.
    pub members: u8,
    /// Crashes, cuts and steps that run twice, together.
    pub faults: u8,
    /// What people ask for: a planned failover, a forced one.
    pub wishes: u8,
    /// How often they choose durability anew; then a story also begins with durability required.
    pub choices: u8,
    /// File writes that are lost on the way and arrive when nobody expects them any more.
    pub orders: u8,
}

/// The operation by which a person chooses durability anew: of the lane of changes, and one that a build runs beside.
pub const CHOICE: K = K::ChangeDurability;

pub struct Pair {
    pub bounds: Bounds,
    pub mutant: Option<Mutant>,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A client writes and waits for the answer.
    Write(Place),
    /// A standby receives and flushes one record.
    Ship(Place),
    /// A reload takes effect.
    Reload(Place),
    /// The monitor looks, decides and submits.
    Decide,
    /// The operation of a lane goes one step.
    Step(usize),
    /// It does the step, and the portal dies before that is written down: it will run again.
    StepForgotten(usize),
    /// It sends the file of its step and hears nothing of it; perhaps it does so again, or another does.
    OrderLost(usize),
    /// That file is written now, whatever has become of the operation.
    OrderArrives,
    /// Its step cannot be done, and it ends.
    GiveUp(usize),
    /// The gate of a start was closed for too long: the standby is disarmed (C4).
    GateDisarms(usize),
    Crash(Place),
    CrashInPlace(Place),
    CutLink,
    Cut(Place),
    HealLink,
    Heal(Place),
    PlannedFailover,
    ForcedFailover,
    Choose,
    EngineRestart(Place),
    Cancel(Place),
}

impl Pair {
    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// What goes on without a fault and without a person.
    fn ordinary(&self, world: &World, events: &mut Vec<Event>) {
        for place in 0..2 {
            if world.is_followed(place)
                && !world.nodes[1 - place].is_ghost
                && world.nodes[1 - place].log.len() < world.nodes[place].log.len()
            {
                events.push(Event::Ship(1 - place));
            }
            if world.nodes[place].is_up && world.nodes[place].is_reloading {
                events.push(Event::Reload(place));
            }
        }
        if self.submits(world).is_some() {
            events.push(Event::Decide);
        }
        self.steps(world, events);
    }

    fn steps(&self, world: &World, events: &mut Vec<Event>) {
        for lane in 0..3 {
            if world.lanes[lane].is_none() {
                continue;
            }
            match self.run(world, lane, true) {
                Some(_) => events.push(Event::Step(lane)),
                None if self.is_at_gate(world, lane) => events.push(Event::GateDisarms(lane)),
                None if !is_past_return(world, lane) => events.push(Event::GiveUp(lane)),
                None => {}
            }
        }
    }

    /// C4: with durability required the gate stays closed.
    fn is_at_gate(&self, world: &World, lane: usize) -> bool {
        world.row.state == S::Restarting
            && world.row.durability == Durability::Preferred
            && world.primary().is_some_and(|place| world.answers(place))
            && world.lanes[lane]
                .as_ref()
                .is_some_and(|op| op.kind == K::RecoverPrimary && op.step == 3)
    }

    /// The operation that the real decision leads to now, if its lane and those beside it let it begin.
    fn submits(&self, world: &World) -> Option<K> {
        let action = decided(world).action;
        let kind = match action {
            Action::Failover => K::Failover,
            Action::RecoverPrimary => K::RecoverPrimary,
            Action::Disarm => K::Disarm,
            Action::BuildStandby => K::BuildStandby,
            Action::Nothing | Action::Wait(_) | Action::Blocked => return None,
        };
        let is_left_over = matches!(world.row.state, S::Restarting | S::Switching);
        let is_forgotten = (self.has(Mutant::NeverDisarms) && kind == K::Disarm)
            || (self.has(Mutant::NobodyResumes) && kind == K::RecoverPrimary && is_left_over);
        let begins = !is_forgotten && !self.is_beyond(world, action) && may_begin(world, kind);
        begins.then_some(kind)
    }

    /// Whether an action leads out of what is looked at.
    pub fn is_beyond(&self, world: &World, action: Action) -> bool {
        match action {
            Action::BuildStandby => !self.may_build(world),
            Action::Failover => {
                world.row.epoch >= self.bounds.epochs && world.row.state != S::Promoting
            }
            _ => false,
        }
    }

    /// Whether a standby can be had: a new member, or the one that is there.
    pub fn may_build(&self, world: &World) -> bool {
        world.next_member <= self.bounds.members
            || world.primary().is_some_and(|primary| is_back(world, primary))
    }

    fn faults(&self, world: &World, events: &mut Vec<Event>) {
        for place in 0..2 {
            if world.nodes[place].is_up {
                events.push(Event::Crash(place));
                if world.nodes[place].is_primary && world.nodes[place].waiting != 0 {
                    events.push(Event::CrashInPlace(place));
                }
            }
            if world.is_reached[place] {
                events.push(Event::Cut(place));
            }
        }
        if world.is_linked {
            events.push(Event::CutLink);
        }
        for lane in 0..3 {
            if self.run(world, lane, true).is_some() {
                events.push(Event::StepForgotten(lane));
            }
        }
    }

    fn wishes(&self, world: &World, events: &mut Vec<Event>) {
        if world.row.epoch >= self.bounds.epochs {
            return;
        }
        if world.row.state == S::Sync && may_begin(world, K::Switchover) {
            events.push(Event::PlannedFailover);
        }
        let is_dead = world.primary().is_some_and(|place| !world.answers(place));
        let stands_by = world
            .standby()
            .is_some_and(|place| world.answers(place) && !world.nodes[place].is_primary);
        if is_dead && stands_by && !world.row.is_promotable && may_begin(world, K::Failover) {
            events.push(Event::ForcedFailover);
        }
    }

    /// The world after the next step of a lane; none when the step is stuck. `keeps`: whether it is written down.
    fn run(&self, world: &World, lane: usize, keeps: bool) -> Option<World> {
        let mut next = world.clone();
        let mut op = next.lanes[lane].take()?;
        let before = op.clone();
        let step = Run { world: &mut next, op: &mut op, mutant: self.mutant }.step();
        next.lanes[lane] = match step {
            Step::Stuck => return None,
            Step::Refused | Step::Done => keeps.then_some(()).map_or(Some(before), |()| None),
            Step::To(_) if !keeps => Some(before),
            Step::To(to) => {
                op.step = to;
                Some(op)
            }
        };
        Some(next)
    }

    fn begin(&self, world: &mut World, kind: K, is_forced: bool) {
        let cached = (self.has(Mutant::PromoteFromCache) && kind == K::Failover && !is_forced)
            .then(|| Box::new(world.row.clone()));
        world.lanes[lane_of(kind)] = Some(Op {
            kind,
            step: 0,
            member: 0,
            epoch: world.row.epoch,
            is_forced,
            is_planned: false,
            mark: 0,
            marked_at: 0,
            cached,
        });
    }

    /// The file that the step of a lane would write now; none where it writes none.
    fn order(&self, world: &World, lane: usize) -> Option<Order> {
        let op = world.lanes[lane].as_ref()?;
        let (place, names) = match (op.kind, op.step) {
            (K::Disarm, 1) => (world.primary()?, alone(&world.row)),
            (K::BuildStandby, 4) => (world.primary()?, op.member),
            (CHOICE, 1 | 4) if world.row.is_promotable => (world.standby()?, op.mark),
            _ => return None,
        };
        let member = world.nodes[place].member;
        world.answers(place).then_some(Order { place, member, names })
    }

    /// The file is written, and that is all: whoever is to read it writes it first, by the row of that time. N3 broken, it
    /// is also read.
    fn arrives(&self, world: &mut World) -> Option<()> {
        let order = world.late.take()?;
        let node = &mut world.nodes[order.place];
        if node.member == order.member {
            node.names_in_file = order.names;
            node.is_reloading |= node.is_up && self.has(Mutant::LateOrders);
        }
        Some(())
    }

    fn happen(&self, world: &World, event: Event) -> Option<World> {
        let mut next = world.clone();
        match event {
            Event::Step(lane) => next = self.run(world, lane, true)?,
            Event::StepForgotten(lane) => next = self.run(world, lane, false)?,
            Event::GiveUp(lane) => next.lanes[lane] = None,
            Event::GateDisarms(lane) => {
                let op = next.lanes[lane].as_mut()?;
                op.kind = K::Disarm;
                op.step = 0;
            }
            Event::Decide => {
                let kind = self.submits(world)?;
                self.begin(&mut next, kind, false);
            }
            Event::PlannedFailover => self.begin(&mut next, K::Switchover, false),
            Event::ForcedFailover => self.begin(&mut next, K::Failover, true),
            Event::Choose => {
                self.begin(&mut next, CHOICE, false);
                let to = match world.row.durability {
                    Durability::Preferred => NOBODY,
                    Durability::Required => NO_ONE,
                };
                next.lanes[lane_of(CHOICE)].as_mut()?.mark = to;
            }
            Event::OrderLost(lane) => {
                next.late = Some(self.order(world, lane)?);
                next.orders_left -= 1;
            }
            Event::OrderArrives => self.arrives(&mut next)?,
            _ => nature(&mut next, event),
        }
        match event {
            Event::Crash(_)
            | Event::CrashInPlace(_)
            | Event::CutLink
            | Event::Cut(_)
            | Event::StepForgotten(_) => next.faults_left -= 1,
            Event::PlannedFailover | Event::ForcedFailover => next.wishes_left -= 1,
            Event::Choose => next.choices_left -= 1,
            _ => {}
        }
        next.settle();
        next.normalise();
        Some(next)
    }
}

fn nature(world: &mut World, event: Event) {
    match event {
        Event::Write(place) => {
            let record = world.written;
            world.written += 1;
            world.nodes[place].log.push(record);
            world.nodes[place].waiting |= bit(record);
        }
        Event::Ship(place) => {
            let at = world.nodes[place].log.len();
            let record = world.nodes[1 - place].log[at];
            world.nodes[place].log.push(record);
        }
        Event::Reload(place) => {
            let node = &mut world.nodes[place];
            node.names = node.names_in_file;
            node.is_reloading = false;
        }
        Event::Crash(place) => {
            let node = &mut world.nodes[place];
            node.is_up = false;
            node.is_doubled = false;
            node.is_ghost = false;
            node.waiting = 0;
        }
        // Its postmaster lives and keeps what it has read: no file is read by this.
        Event::CrashInPlace(place) => {
            let node = &mut world.nodes[place];
            world.exposed |= node.waiting;
            node.waiting = 0;
        }
        Event::CutLink => world.is_linked = false,
        Event::HealLink => world.is_linked = true,
        Event::Cut(place) => world.is_reached[place] = false,
        Event::Heal(place) => world.is_reached[place] = true,
        Event::EngineRestart(place) => world.start(place, None),
        Event::Cancel(place) => {
            world.acked |= world.nodes[place].waiting;
            world.nodes[place].waiting = 0;
        }
        _ => {}
    }
}

fn lane_of(kind: K) -> usize {
    match kind.lane() {
        Lane::Standby => 1,
        Lane::Rescue => 2,
        Lane::Change | Lane::Backup => 0,
    }
}

/// One in each lane, and beside one another only as the product lets them.
fn may_begin(world: &World, kind: K) -> bool {
    let others: Vec<K> = world.lanes.iter().flatten().map(|op| op.kind).collect();
    world.lanes[lane_of(kind)].is_none() && kind.check_beside(&others).is_ok()
}

/// F3: from here there is only forward.
fn is_past_return(world: &World, lane: usize) -> bool {
    world.lanes[lane].as_ref().is_some_and(|op| op.kind == K::Failover && op.step > 0)
}

impl Model for Pair {
    type State = World;
    type Action = Event;

    fn init_states(&self) -> Vec<World> {
        let is_asked = |it: &Durability| *it == Durability::Preferred || self.bounds.choices > 0;
        let asked = Durability::ALL.into_iter().filter(is_asked);
        asked.map(|durability| World::begin(durability, self.bounds)).collect()
    }

    fn actions(&self, world: &World, events: &mut Vec<Event>) {
        self.ordinary(world, events);
        for place in 0..2 {
            let node = &world.nodes[place];
            if world.has_clients(place) && node.is_primary && world.written < self.bounds.writes {
                events.push(Event::Write(place));
            }
            if !world.is_reached[place] {
                events.push(Event::Heal(place));
            }
            if self.has(Mutant::EngineRestarts) && node.member != 0 && !node.is_up {
                events.push(Event::EngineRestart(place));
            }
            if self.has(Mutant::CancelForwarded) && node.waiting != 0 && world.has_clients(place) {
                events.push(Event::Cancel(place));
            }
        }
        if !world.is_linked {
            events.push(Event::HealLink);
        }
        if world.late.is_some() {
            events.push(Event::OrderArrives);
        }
        if world.late.is_none() && world.orders_left > 0 {
            let sends = (0..3).filter(|lane| self.order(world, *lane).is_some());
            events.extend(sends.map(Event::OrderLost));
        }
        if world.faults_left > 0 {
            self.faults(world, events);
        }
        if world.wishes_left > 0 {
            self.wishes(world, events);
        }
        if world.choices_left > 0 && may_begin(world, CHOICE) {
            events.push(Event::Choose);
        }
    }

    fn next_state(&self, world: &World, event: Event) -> Option<World> {
        self.happen(world, event)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::properties::all()
    }
}

impl Pair {
    /// Whether nothing goes on by itself any more, although every link is whole.
    pub fn is_at_rest(&self, world: &World) -> bool {
        let is_whole = world.late.is_none() && world.is_linked && world.is_reached == [true, true];
        let mut events = vec![];
        if is_whole {
            self.ordinary(world, &mut events);
        }
        is_whole && events.is_empty()
    }
}

/// What the real decision says of what can be seen of a world.
pub fn decided(world: &World) -> Decision {
    let now = chrono::DateTime::UNIX_EPOCH + chrono::Duration::hours(1);
    decide(&world.row, &look(world), now)
}

/// Whether the member beside the primary is the row's standby and can follow it as it lies there.
pub fn is_back(world: &World, primary: Place) -> bool {
    let there = &world.nodes[1 - primary];
    world.standby() == Some(1 - primary)
        && !there.is_primary
        && there.timeline == world.nodes[primary].timeline
}

/// What the primary of the row has in its log.
pub fn held(world: &World) -> u8 {
    world.primary().map_or(0, |place| bits(&world.nodes[place].log))
}

/// Whether the row's standby has this number.
pub fn is_standby(world: &World, member: u8) -> bool {
    number(world.row.standby.as_ref()) == member
}
