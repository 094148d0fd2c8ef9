//! L1 in its strong form: from **every** state that can be reached there is a way to writes that takes no further fault, no
//! person and no write, only time: links heal, orders arrive, operations go on or give up. So nothing goes round in a
//! circle for ever either, which "nothing rests" alone would not see.

use super::pair::{Event, Pair};
use super::properties::takes_writes;
use super::world::World;
use stateright::Model;
use std::collections::VecDeque;
use std::collections::hash_map::{DefaultHasher, Entry, HashMap};
use std::hash::{Hash, Hasher};

/// What was reached, and how: number of the state before and the event. Numbers, because worlds are large.
#[derive(Default)]
pub struct Reached {
    known: HashMap<u64, u32>,
    from: Vec<Option<(u32, Event)>>,
    is_well: Vec<bool>,
    /// By itself from the first to the second.
    ways: Vec<(u32, u32)>,
}

impl Reached {
    /// Everything within the bounds.
    pub fn by(pair: &Pair) -> Self {
        let mut reached = Self::default();
        let mut todo = VecDeque::new();
        for world in pair.init_states() {
            if let (number, true) = reached.note(pair, &world, None) {
                todo.push_back((number, world));
            }
        }
        while let Some((number, world)) = todo.pop_front() {
            let mut events = vec![];
            pair.actions(&world, &mut events);
            for event in events {
                let Some(next) = pair.next_state(&world, event) else { continue };
                let (to, is_new) = reached.note(pair, &next, Some((number, event)));
                if happens_by_itself(event) {
                    reached.ways.push((number, to));
                }
                if is_new {
                    todo.push_back((to, next));
                }
            }
        }
        reached
    }

    fn note(&mut self, pair: &Pair, world: &World, from: Option<(u32, Event)>) -> (u32, bool) {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        let number = u32::try_from(self.from.len()).unwrap();
        match self.known.entry(hasher.finish()) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(free) => {
                free.insert(number);
                self.from.push(from);
                self.is_well.push(takes_writes(pair, world));
                (number, true)
            }
        }
    }

    pub fn len(&self) -> usize {
        self.from.len()
    }

    /// A shortest way to a state from which no way leads to writes; none when there is none.
    pub fn stranded(&self) -> Option<Vec<Event>> {
        let mut back: HashMap<u32, Vec<u32>> = HashMap::new();
        for (from, to) in &self.ways {
            back.entry(*to).or_default().push(*from);
        }
        let mut leads = self.is_well.clone();
        let mut todo: Vec<u32> =
            (0..).zip(&leads).filter(|(_, is)| **is).map(|(at, _)| at).collect();
        while let Some(at) = todo.pop() {
            for from in back.get(&at).into_iter().flatten() {
                if !std::mem::replace(&mut leads[*from as usize], true) {
                    todo.push(*from);
                }
            }
        }
        let mut at = leads.iter().position(|leads| !leads)?;
        let mut events = vec![];
        while let Some((before, event)) = self.from[at] {
            events.push(event);
            at = before as usize;
        }
        events.reverse();
        Some(events)
    }
}

fn happens_by_itself(event: Event) -> bool {
    matches!(
        event,
        Event::Ship(_)
            | Event::Reload(_)
            | Event::Decide
            | Event::Step(_)
            | Event::OrderArrives
            | Event::GiveUp(_)
            | Event::GateDisarms(_)
            | Event::HealLink
            | Event::Heal(_)
    )
}
