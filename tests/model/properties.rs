//! What must hold in every state: the invariants of `reliability.md` b.2.
//!
//! I5 (no commit of an old epoch is acknowledged once the standby's receiver has ended) and I6 (one postmaster on a
//! volume) have no property of their own: a broken I5 is an acknowledged record that the new primary lacks, which
//! is I3, and a member's PostgreSQL is one bit here. I1, I7 and I9 are noticed by the step that breaks them.

use super::pair::{Pair, held, is_standby};
use super::world::{World, bits};
use pgflex::domain::ha::ReplicationState as S;
use stateright::Property;

pub fn all() -> Vec<Property<Pair>> {
    vec![
        Property::<Pair>::always("I1, I7, I9, P4: no step breaks its rule", |_, world| {
            world.broken.is_none()
        }),
        Property::<Pair>::always(
            "I2: a standby that counts has all and is waited for",
            |_, world| !world.row.is_promotable || counts(world),
        ),
        Property::<Pair>::always("I3: the primary has every acknowledged commit", |_, world| {
            is_between(world) || world.acked & !world.forgiven & !held(world) == 0
        }),
        Property::<Pair>::always(
            "I4: the gateway leads to one primary, that of its epoch",
            |_, world| leads(world),
        ),
        Property::<Pair>::always("I8: a read sees every acknowledged commit", |_, world| {
            let promised = world.acked & !world.forgiven;
            (0..2).all(|place| {
                !world.has_clients(place) || promised & !bits(&world.nodes[place].log) == 0
            })
        }),
        Property::<Pair>::always("I10: nothing that was read vanishes", |_, world| {
            let promised = world.read & !world.forgiven & !world.exposed;
            is_between(world) || promised & !held(world) == 0
        }),
        Property::<Pair>::always(
            "L1: with whole links nothing rests until writes go on",
            |pair, world| !pair.is_at_rest(world) || takes_writes(pair, world),
        ),
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
    ]
}

/// While a change of primary is under way the new one is still receiving; what counts is what it has in the end.
fn is_between(world: &World) -> bool {
    world.row.state == S::Promoting
}

fn counts(world: &World) -> bool {
    let (Some(primary), Some(standby)) = (world.primary(), world.standby()) else { return false };
    let (primary, standby) = (&world.nodes[primary], &world.nodes[standby]);
    let names = if primary.is_up { primary.names } else { standby.member };
    let has_all = world.acked & !world.forgiven & !bits(&standby.log) == 0;
    has_all && names == standby.member
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

/// What people may expect when all is whole: a primary that answers, clients let in, commits that end.
fn takes_writes(pair: &Pair, world: &World) -> bool {
    let Some(place) = world.primary() else { return false };
    let node = &world.nodes[place];
    let ends = node.names == 0 || (world.is_followed(place) && is_standby(world, node.names));
    let is_bounded = world.row.epoch >= pair.bounds.epochs && !world.answers(place);
    is_bounded || (node.is_primary && world.has_clients(place) && ends)
}
