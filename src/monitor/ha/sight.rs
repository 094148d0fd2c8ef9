//! What one member looks like, put together from answers and silences. Pure: the time comes with each fact.

use crate::domain::ha::{Lsn, SeenMember, SeenSender, Sql};
use crate::postgres::replication::Standing;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Looks without an answer, one after the other, that make a silence.
pub const MISSES_MAX: u32 = 3;
/// Between the begin of the first and of the last of them. A PostgreSQL that starts anew after the crash of a session
/// refuses at once: looks in quick succession prove no more than one.
const SILENCE_MIN: Duration = Duration::from_secs(1);
/// State of a container whose processes stand still.
const FROZEN: &str = "paused";
/// How far back places in the log are remembered, to tell the age of what a standby lacks.
const REMEMBERED: usize = 600;

/// One member, as last seen.
#[derive(Debug, Clone)]
pub struct Sight {
    sql: Sql,
    /// Since when it is as `sql` says.
    since: Instant,
    /// Looks without an answer since the last one with.
    misses: u32,
    first_miss: Option<Instant>,
    answered_at: Option<Instant>,
    /// The last answer, however old.
    standing: Option<Standing>,
    engine: EngineWord,
    /// Ends of the log at the times they were read, oldest first.
    ends: VecDeque<(Instant, Lsn)>,
}

/// What its engine said of its container.
#[derive(Debug, Clone, Default)]
struct EngineWord {
    /// When the last answer was asked for.
    asked_at: Option<Instant>,
    answers: Option<bool>,
    container: Option<String>,
}

impl Sight {
    pub fn new(now: Instant) -> Self {
        Self {
            sql: Sql::Unknown,
            since: now,
            misses: 0,
            first_miss: None,
            answered_at: None,
            standing: None,
            engine: EngineWord::default(),
            ends: VecDeque::new(),
        }
    }

    /// PostgreSQL answered.
    pub fn answered(&mut self, standing: Standing, now: Instant) {
        if self.sql != Sql::Answers {
            (self.sql, self.since) = (Sql::Answers, now);
        }
        (self.misses, self.first_miss, self.answered_at) = (0, None, Some(now));
        // The engine's word that it does not run is older than this.
        if self.is_ended() {
            self.engine.container = None;
        }
        if let Some(end) = standing.written
            && self.ends.back().is_none_or(|(_, last)| *last < end)
        {
            self.ends.push_back((now, end));
            if self.ends.len() > REMEMBERED {
                self.ends.pop_front();
            }
        }
        self.standing = Some(standing);
    }

    /// A look that began at `begun` had no answer.
    pub fn missed(&mut self, begun: Instant) {
        self.misses = self.misses.saturating_add(1);
        let first = *self.first_miss.get_or_insert(begun);
        if self.misses >= MISSES_MAX && begun.saturating_duration_since(first) >= SILENCE_MIN {
            self.fall_silent();
        } else if self.sql == Sql::Answers {
            // The last answer is old: neither there nor gone.
            (self.sql, self.since) = (Sql::Unknown, begun);
        }
    }

    /// PostgreSQL answered with a no: it is there, and says nothing of how it stands.
    pub fn refused(&mut self, now: Instant) {
        (self.misses, self.first_miss) = (0, None);
        if self.sql != Sql::Unknown {
            (self.sql, self.since) = (Sql::Unknown, now);
        }
    }

    /// The engine described the container (`None` when there is none); it was asked at `asked_at`.
    pub fn engine_said(&mut self, asked_at: Instant, container: Option<&str>) {
        let word = container.unwrap_or("missing").to_owned();
        self.engine.answers = Some(true);
        // An answer of PostgreSQL that came after the question is the newer truth.
        if self.answered_at.is_some_and(|at| at > asked_at) && is_ended(&word) {
            return;
        }
        let was_frozen = self.container() == FROZEN;
        (self.engine.asked_at, self.engine.container) = (Some(asked_at), Some(word));
        if was_frozen && self.container() != FROZEN && self.sql != Sql::Answers {
            // That it was silent while it was frozen says nothing of it now: it is asked anew.
            (self.misses, self.first_miss) = (0, None);
            (self.sql, self.since) = (Sql::Unknown, asked_at);
        }
        if self.is_ended() {
            self.first_miss.get_or_insert(asked_at);
            // Its engine knows: there is nobody who could answer.
            self.fall_silent();
        }
    }

    /// The engine did not answer.
    pub fn engine_silent(&mut self) {
        (self.engine.answers, self.engine.container) = (Some(false), None);
    }

    fn fall_silent(&mut self) {
        if self.sql != Sql::Silent {
            self.sql = Sql::Silent;
            self.since = self.first_miss.unwrap_or(self.since);
        }
    }

    /// Whether its engine says that its container does not run.
    pub fn is_ended(&self) -> bool {
        self.engine.container.as_deref().is_some_and(is_ended)
    }

    pub fn sql(&self) -> Sql {
        self.sql
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn misses(&self) -> u32 {
        self.misses
    }

    /// As its engine last described the container; empty while it does not answer.
    pub fn container(&self) -> &str {
        self.engine.container.as_deref().unwrap_or_default()
    }

    /// In the shape that the decision takes. What an old answer said is left out while there is none.
    pub fn seen(&self, now: Instant) -> SeenMember {
        let fresh = self.standing.as_ref().filter(|_| self.sql == Sql::Answers);
        let sender = |sender: &crate::postgres::replication::Sender| SeenSender {
            name: sender.application_name.clone(),
            state: sender.state.clone(),
            sync_state: sender.sync_state.clone(),
            flushed: sender.flushed,
        };
        SeenMember {
            sql: self.sql,
            sql_for: now.saturating_duration_since(self.since),
            engine_answers: self.engine.answers,
            container: self.engine.container.clone(),
            in_recovery: fresh.map(|it| it.in_recovery),
            timeline: fresh.map(|it| it.timeline),
            written: fresh.and_then(|it| it.written),
            replayed: fresh.and_then(|it| it.replayed),
            receives: fresh
                .filter(|it| it.in_recovery)
                .map(|it| it.receiver.as_deref() == Some("streaming")),
            senders: fresh.map(|it| it.senders.iter().map(sender).collect()).unwrap_or_default(),
            waits_for: fresh.map(|it| it.waits_for.clone()),
        }
    }

    /// The age of the oldest end of this member's log that is not yet before `place`, in steps of one look: how
    /// far behind in time a reader is that stands there. Zero when it has everything.
    pub fn age_behind(&self, place: Lsn, now: Instant) -> Option<Duration> {
        let (_, end) = self.ends.back()?;
        if *end <= place {
            return Some(Duration::ZERO);
        }
        let first = self.ends.iter().find(|(_, end)| *end > place)?;
        Some(now.saturating_duration_since(first.0))
    }
}

/// States of a container in which no program of it runs: the same as [`SeenMember::is_gone`] takes them.
fn is_ended(state: &str) -> bool {
    !matches!(state, "running" | "paused" | "restarting")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(written: u64) -> Standing {
        Standing { written: Some(Lsn(written)), ..Standing::default() }
    }

    #[test]
    fn three_misses_in_a_row_are_a_silence_that_began_with_the_first() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut sight = Sight::new(begin);
        sight.answered(standing(1), begin);
        sight.missed(at(500));
        sight.missed(at(1000));
        assert_eq!(sight.sql(), Sql::Unknown, "two prove nothing");
        sight.answered(standing(1), at(1100));
        sight.missed(at(1500));
        sight.missed(at(2000));
        sight.missed(at(2500));
        assert_eq!(sight.sql(), Sql::Silent);
        let seen = sight.seen(at(3000));
        assert_eq!(seen.sql_for, Duration::from_millis(1500));
        assert_eq!((seen.written, seen.in_recovery), (None, None), "an old answer says nothing");
    }

    #[test]
    fn looks_in_quick_succession_are_no_silence() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut sight = Sight::new(begin);
        sight.answered(standing(1), begin);
        [500, 520, 540, 1000].iter().for_each(|millis| sight.missed(at(*millis)));
        assert_eq!(sight.sql(), Sql::Unknown);
        sight.missed(at(1500));
        assert_eq!((sight.sql(), sight.since()), (Sql::Silent, at(500)));
    }

    #[test]
    fn what_was_frozen_is_asked_anew_when_it_is_thawed() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut sight = Sight::new(begin);
        sight.answered(standing(1), begin);
        [500, 1500, 2500].iter().for_each(|millis| sight.missed(at(*millis)));
        sight.engine_said(at(2600), Some("paused"));
        assert_eq!(sight.sql(), Sql::Silent);
        sight.engine_said(at(5000), Some("running"));
        assert_eq!(sight.sql(), Sql::Unknown, "it may answer the next look");
        [5100, 6100].iter().for_each(|millis| sight.missed(at(*millis)));
        assert_eq!(sight.sql(), Sql::Unknown);
        sight.missed(at(7100));
        assert_eq!((sight.sql(), sight.since()), (Sql::Silent, at(5100)));
        sight.engine_said(at(8000), Some("paused"));
        sight.engine_said(at(9000), Some("exited"));
        assert_eq!(sight.sql(), Sql::Silent, "its engine says that it ended");
    }

    #[test]
    fn the_engines_word_counts_at_once_unless_an_answer_is_newer() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut sight = Sight::new(begin);
        sight.answered(standing(1), at(10));
        sight.engine_said(at(5), Some("exited"));
        assert_eq!(sight.sql(), Sql::Answers, "it was asked before the answer");
        sight.engine_said(at(20), Some("paused"));
        assert_eq!(sight.sql(), Sql::Answers, "a paused one may go on");
        sight.engine_said(at(30), None);
        assert_eq!((sight.sql(), sight.container()), (Sql::Silent, "missing"));
        sight.answered(standing(1), at(40));
        assert_eq!((sight.sql(), sight.container()), (Sql::Answers, ""));
        sight.engine_silent();
        assert_eq!(sight.sql(), Sql::Answers, "an engine alone decides nothing");
        assert_eq!(sight.seen(at(50)).engine_answers, Some(false));
    }

    #[test]
    fn a_refusal_is_neither_an_answer_nor_a_silence() {
        let begin = Instant::now();
        let mut sight = Sight::new(begin);
        sight.answered(standing(1), begin);
        (0..9).for_each(|_| sight.refused(begin));
        assert_eq!(sight.sql(), Sql::Unknown);
    }

    #[test]
    fn the_age_of_what_a_reader_lacks_is_that_of_the_first_end_behind_it() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut sight = Sight::new(begin);
        assert_eq!(sight.age_behind(Lsn(0), begin), None, "nothing was read");
        for (second, end) in [(1, 100), (2, 200), (3, 200), (4, 300)] {
            sight.answered(standing(end), at(second));
        }
        assert_eq!(sight.age_behind(Lsn(300), at(9)), Some(Duration::ZERO));
        assert_eq!(sight.age_behind(Lsn(200), at(9)), Some(Duration::from_secs(5)));
        assert_eq!(sight.age_behind(Lsn(150), at(9)), Some(Duration::from_secs(7)));
        assert_eq!(sight.age_behind(Lsn(1), at(9)), Some(Duration::from_secs(8)));
    }
}
