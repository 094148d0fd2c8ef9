//! What must hold in every state: the invariants of `reliability.md` b.2, each under its name.
//!
//! I1, I5, I7, I9 and P4 are about a step, not about a state: the step that breaks one says so ([`World::broken`]).

use super::pair::{Pair, decided, held, is_standby};
use super::world::{NO_ONE, NOBODY, World, bits};
use pgflex::domain::ha::{Action, Decision, Durability, ReplicationState as S};
use stateright::Property;

pub const I1: &str = "I1: one epoch, one primary";
pub const I2: &str = "I2: a standby that counts has all and is waited for";
pub const I3: &str = "I3: the primary has every acknowledged commit";
pub const I4: &str = "I4: the gateway leads to one primary, that of its epoch";
pub const I5: &str = "I5: no old primary acknowledges after the fence";
pub const I6: &str = "I6: one postmaster on a volume";
pub const I7: &str = "I7: a timeline belongs to one promotion";
pub const I8: &str = "I8: a read sees every acknowledged commit";
pub const I9: &str = "I9: only whom the store names starts as primary";
pub const I10: &str = "I10: nothing that was read vanishes";
pub const L1: &str = "L1: with whole links nothing rests until writes go on";
pub const L2: &str = "L2: every state has a next step, or says that a person must decide";
pub const P4: &str = "P4: a planned change of primary loses nothing, acknowledged or not";
pub const D5: &str = "D5: with durability required no commit is taken on one host";
pub const REASON: &str = "Reason: every answer is a whole sentence";

/// What must always hold.
pub const ALWAYS: [&str; 15] = [I1, I2, I3, I4, I5, I6, I7, I8, I9, I10, L1, L2, P4, D5, REASON];

/// Those of the reference that issue 4 asks for: each must be broken by a mutant.
pub const ASKED: [&str; 11] = [I1, I2, I3, I4, I5, I6, I7, I8, I9, L1, L2];

pub fn all() -> Vec<Property<Pair>> {
    let mut all = vec![
        Property::<Pair>::always(I1, |_, world| !world.broken.contains(&I1)),
        Property::<Pair>::always(I2, |_, world| !world.row.is_promotable || counts(world)),
        Property::<Pair>::always(I3, |_, world| {
            is_between(world) || world.acked & !world.forgiven & !held(world) == 0
        }),
        Property::<Pair>::always(I4, |_, world| leads(world)),
        Property::<Pair>::always(I5, |_, world| !world.broken.contains(&I5)),
        Property::<Pair>::always(I6, |_, world| !world.nodes.iter().any(|node| node.is_doubled)),
        Property::<Pair>::always(I7, |_, world| !world.broken.contains(&I7)),
        Property::<Pair>::always(I8, |_, world| {
            let promised = world.acked & !world.forgiven;
            (0..2).all(|place| {
                !world.has_clients(place) || promised & !bits(&world.nodes[place].log) == 0
            })
        }),
        Property::<Pair>::always(I9, |_, world| !world.broken.contains(&I9)),
        Property::<Pair>::always(I10, |_, world| {
            let promised = world.read & !world.forgiven & !world.exposed;
            is_between(world) || promised & !held(world) == 0
        }),
        Property::<Pair>::always(L1, |pair, world| {
            !pair.is_at_rest(world) || takes_writes(pair, world)
        }),
        Property::<Pair>::always(L2, has_a_way),
        Property::<Pair>::always(P4, |_, world| !world.broken.contains(&P4)),
        Property::<Pair>::always(D5, |_, world| !world.is_kept || waits_for_another(world)),
        Property::<Pair>::always(REASON, |_, world| is_told(&decided(world))),
    ];
    all.extend(sights());
    all
}

/// What must be reached: without these the rest would prove little.
pub fn sights() -> Vec<Property<Pair>> {
    vec![
        Property::<Pair>::sometimes("a failover completes", |_, world| {
            world.row.epoch == 2 && world.row.state == S::Single && world.gateway.is_open
        }),
        Property::<Pair>::sometimes("the pair is in sync again after a failover", |_, world| {
            world.row.epoch == 2 && world.row.state == S::Sync
        }),
        Property::<Pair>::sometimes("a second failover completes", |_, world| {
            world.row.epoch == 3 && world.row.state == S::Single
        }),
        Property::<Pair>::sometimes("commits go on without the standby", |_, world| {
            world.row.epoch == 1 && world.row.state == S::Single && world.acked != 0
        }),
        Property::<Pair>::sometimes(
            "a primary comes back in place and the standby still counts",
            |_, world| {
                world.row.epoch == 1 && world.row.state == S::Restarting && world.nodes[0].is_up
            },
        ),
        Property::<Pair>::sometimes("durability is chosen anew while in sync", |_, world| {
            world.row.state == S::Sync && world.row.epoch == 1 && world.row.durability != world.born
        }),
        Property::<Pair>::sometimes(
            "a file of an operation that is gone lies there",
            |_, world| {
                let is_stale = |place: usize| {
                    let node = &world.nodes[place];
                    node.names_in_file == NO_ONE && node.names != NO_ONE && !node.is_reloading
                };
                world.row.state == S::Sync && world.primary().is_some_and(is_stale)
            },
        ),
    ]
}

/// While a change of primary is under way the new one is still receiving; what counts is what it has in the end.
fn is_between(world: &World) -> bool {
    world.row.state == S::Promoting
}

/// A primary that was just started again waits behind the gate: what it waits for is put right before clients come.
fn counts(world: &World) -> bool {
    let (Some(primary), Some(standby)) = (world.primary(), world.standby()) else { return false };
    let (primary, standby) = (&world.nodes[primary], &world.nodes[standby]);
    let is_behind_gate = world.row.state == S::Restarting && !world.gateway.is_open;
    let has_all = world.acked & !world.forgiven & !bits(&standby.log) == 0;
    has_all && (!primary.is_up || is_behind_gate || primary.names == standby.member)
}

/// Between the commit point (F3) and the fence (F4) it still leads to the primary of before: acknowledgements by then are
/// on both.
fn leads(world: &World) -> bool {
    let gateway = &world.gateway;
    if !gateway.is_open {
        return true;
    }
    let named = world.history.get(gateway.epoch as usize - 1).copied();
    let is_right = named == Some(world.nodes[gateway.target].member)
        && gateway.kept & !(1 << gateway.target) == 0;
    let is_last = gateway.epoch == world.row.epoch || world.row.state == S::Promoting;
    is_right && is_last
}

/// Whether the primary acknowledges nothing that it alone has.
fn waits_for_another(world: &World) -> bool {
    let Some(place) = world.primary() else { return true };
    let node = &world.nodes[place];
    !(node.is_up && node.is_primary) || node.names != NO_ONE
}

/// What people may expect when all is whole: a primary that answers, clients let in, commits that end.
pub fn takes_writes(pair: &Pair, world: &World) -> bool {
    let Some(place) = world.primary() else { return false };
    let node = &world.nodes[place];
    let ends = node.names == NO_ONE || (world.is_followed(place) && is_standby(world, node.names));
    let is_waiting = node.names == NOBODY && world.row.durability == Durability::Required;
    let is_bounded = (world.row.epoch >= pair.bounds.epochs && !world.answers(place))
        || (is_waiting && !pair.may_build(world));
    is_bounded || (node.is_primary && world.has_clients(place) && ends)
}

/// L2. What rests has nothing to do, or waits for a person; nothing hangs in a lane.
fn has_a_way(pair: &Pair, world: &World) -> bool {
    if !pair.is_at_rest(world) {
        return true;
    }
    let is_idle = world.lanes.iter().all(Option::is_none);
    let action = decided(world).action;
    let is_end = matches!(action, Action::Nothing | Action::Blocked);
    is_idle && (is_end || pair.is_beyond(world, action))
}

/// A reason of one or more sentences; whoever is told to act is told how.
fn is_told(decision: &Decision) -> bool {
    let reason = decision.reason.trim();
    let sentences = reason.split_terminator(". ").count();
    let is_whole = reason.len() > 20 && reason.ends_with('.') && !reason.contains("..");
    is_whole && (sentences > 1 || decision.action != Action::Blocked)
}
