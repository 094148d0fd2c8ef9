//! The gateways: which process lets clients in, and whether it knows the newest routes and rules.

use super::is_stale;
use crate::store::routes::GatewaySeen;
use crate::web::label::{Chip, Icon, Tone};
use crate::web::time::{Stamp, ago_text};
use chrono::{DateTime, Utc};

/// One gateway as a row.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayRow {
    pub id: String,
    pub chip: Chip,
    pub seen_at: Stamp,
    pub ago: String,
    pub is_stale: bool,
    /// "12, the newest" or "11 of 12".
    pub generation: String,
    pub notes: String,
}

/// The row of a gateway; `newest` is the counter of routes and rules.
pub fn row(seen: &GatewaySeen, newest: i64, now: DateTime<Utc>) -> GatewayRow {
    let is_stale = is_stale(seen.seen_at, now);
    let is_current = seen.generation >= newest;
    GatewayRow {
        id: seen.id.clone(),
        chip: chip(is_stale, is_current, !seen.notes.is_empty()),
        seen_at: Stamp(seen.seen_at),
        ago: ago_text(seen.seen_at, now),
        is_stale,
        generation: if is_current {
            format!("{}, the newest", seen.generation)
        } else {
            format!("{} of {newest}", seen.generation)
        },
        notes: seen.notes.clone(),
    }
}

fn chip(is_stale: bool, is_current: bool, has_notes: bool) -> Chip {
    match (is_stale, is_current, has_notes) {
        (true, _, _) => Chip::new("Silent", Icon::Warning, Tone::Warn),
        (false, false, _) => Chip::new("Catching up", Icon::Spinner, Tone::Busy),
        (false, true, true) => Chip::new("Works, with a note", Icon::Warning, Tone::Warn),
        (false, true, false) => Chip::new("Works", Icon::Check, Tone::Ok),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Duration;

    #[test]
    fn a_gateway_says_whether_it_knows_the_newest_rules() {
        let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
        let seen =
            GatewaySeen { id: "a".into(), seen_at: now, generation: 11, notes: String::new() };
        assert_eq!(
            (row(&seen, 11, now).chip.text, row(&seen, 12, now).chip.text),
            ("Works", "Catching up")
        );
        assert_eq!(row(&seen, 12, now).generation, "11 of 12");
        assert_eq!(row(&seen, 11, now + Duration::minutes(2)).chip.text, "Silent");
        let noted = GatewaySeen { notes: "port 5432 is taken".into(), ..seen };
        assert_eq!(row(&noted, 11, now).chip.text, "Works, with a note");
    }
}
