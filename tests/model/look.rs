//! What the monitor would see of the world: fresh, and long enough for every time limit. Old looks need no more: what a
//! decision leads to happens later, step by step, in a world that has gone on.

use super::world::{LONG, NO_ONE, NOBODY, Place, World, id};
use pgflex::domain::ha::{HighAvailability, Seen, SeenMember, SeenSender, Sql};

pub fn look(world: &World) -> Seen {
    let followed = world.primary().is_some_and(|place| world.is_followed(place));
    let kind = |lane: usize| world.lanes[lane].as_ref().map(|op| op.kind);
    Seen {
        primary: world.primary().map(|place| member(world, place)).unwrap_or_default(),
        standby: world
            .row
            .standby
            .as_ref()
            .map(|_| world.standby().map(|place| member(world, place)).unwrap_or_default()),
        unfollowed_for: (!followed).then_some(LONG),
        is_held: !world.gateway.is_open,
        change: kind(0),
        is_building: kind(1).is_some(),
        is_rescuing: kind(2).is_some(),
        ..Seen::default()
    }
}

fn member(world: &World, place: Place) -> SeenMember {
    let node = &world.nodes[place];
    let reached = world.is_reached[place];
    let answers = world.answers(place);
    let container = if node.is_up { "running" } else { "exited" };
    SeenMember {
        sql: if answers { Sql::Answers } else { Sql::Silent },
        sql_for: LONG,
        engine_answers: Some(reached),
        container: reached.then(|| container.to_owned()),
        in_recovery: answers.then_some(!node.is_primary),
        timeline: answers.then_some(i64::from(node.timeline)),
        senders: if answers { senders(world, place) } else { vec![] },
        waits_for: (answers && node.is_primary).then(|| names(node.names)),
        ..SeenMember::default()
    }
}

fn senders(world: &World, place: Place) -> Vec<SeenSender> {
    if !world.is_followed(place) {
        return vec![];
    }
    vec![SeenSender {
        name: HighAvailability::standby_name(&id(world.nodes[1 - place].member)),
        state: "streaming".into(),
        sync_state: "sync".into(),
        flushed: None,
    }]
}

fn names(member: u8) -> String {
    match member {
        NO_ONE => String::new(),
        NOBODY => "FIRST 1 (\"pgflex_nobody\")".into(),
        member => format!("FIRST 1 (\"{}\")", HighAvailability::standby_name(&id(member))),
    }
}
