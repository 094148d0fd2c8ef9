//! Faults to order.

use crate::engine::EngineError;
use std::collections::HashMap;
use std::collections::VecDeque;

/// What happens to a call.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Nothing is done and the error is given.
    Fail(EngineError),
    /// It is done, and the reply is lost.
    LoseReply,
    /// Nothing is done and no answer ever comes: for tests that cancel.
    Hang,
}

#[derive(Default)]
pub(super) struct Faults {
    ordered: HashMap<&'static str, VecDeque<Fault>>,
    /// Meets every call until it is taken away.
    every: Option<Fault>,
}

impl Faults {
    pub(super) fn add(&mut self, method: &'static str, times: u32, fault: Fault) {
        let queue = self.ordered.entry(method).or_default();
        queue.extend(std::iter::repeat_n(fault, times as usize));
    }

    pub(super) fn meet_every(&mut self, fault: Fault) {
        self.every = Some(fault);
    }

    pub(super) fn take(&mut self, method: &str) -> Option<Fault> {
        let ordered = self.ordered.get_mut(method).and_then(VecDeque::pop_front);
        ordered.or_else(|| self.every.clone())
    }
}
