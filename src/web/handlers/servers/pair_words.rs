//! What a change that restarts PostgreSQL does to a pair, said before it is asked for.

use super::nav::Frame;
use crate::domain::operation::OperationKind;
use crate::domain::parameters::{self, Catalogue};
use crate::operations::rolling_plan::Way;
use crate::web::error::PageError;
use crate::web::time::duration_text;
use crate::web::visit::Visit;
use chrono::Duration;
use serde_json::Value;
use std::collections::HashMap;

/// Steps of a planned failover during which nobody can write.
const INTERRUPTION: [&str; 4] = ["hold_route", "stop_primary", "decide", "promote"];

/// What becomes of the members, and for how long nobody can write; `None` without high availability.
///
/// # Errors
/// When the store does not answer.
pub async fn of(
    visit: &Visit,
    frame: &Frame,
    kind: OperationKind,
    input: &Value,
) -> Result<Option<String>, PageError> {
    let (store, server) = (&visit.state.store, &frame.server);
    let seen = store.server_observation::<Catalogue>(&server.id, parameters::OBSERVATION).await?;
    let seen = seen.map(|look| look.facts);
    let way = Way::of(kind, input, server, frame.ha.as_ref(), seen.as_ref());
    let seconds = match way {
        Way::Rolling => store.step_seconds(OperationKind::Switchover).await?,
        _ => HashMap::new(),
    };
    Ok(words(way, &seconds))
}

fn words(way: Way, seconds: &HashMap<String, f64>) -> Option<String> {
    Some(match way {
        Way::Alone => return None,
        Way::Rolling => format!(
            "The standby is restarted first, while clients go on. Then it takes over as in a planned failover, and the other member becomes the standby. {} From then until the new standby counts, commits are on one host.",
            measured(seconds)
        ),
        Way::NotInSync => "The pair is not in sync now, so the primary is restarted where it is: nobody can write until it is back. While the pair is in sync the standby goes first, which takes less.".into(),
        Way::Lowers => "A value becomes smaller that a standby must have at least as large as its primary, so the primary is restarted where it is, and nobody can write until it is back. Clients are let in when the standby has everything; it gets the smaller value after the primary.".into(),
    })
}

/// Nothing is promised that was not measured.
fn measured(seconds: &HashMap<String, f64>) -> String {
    let all: Option<f64> = INTERRUPTION.iter().map(|step| seconds.get(*step).copied()).sum();
    match all {
        Some(sum) => format!(
            "Nobody can write meanwhile: {} lately (medians of planned failovers here).",
            duration_text(Duration::milliseconds((sum * 1000.0) as i64))
        ),
        None => "How long nobody can write meanwhile is not measured here yet.".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_told_how_and_for_how_long() {
        let mut seconds: HashMap<String, f64> =
            INTERRUPTION[..3].iter().map(|step| ((*step).to_owned(), 0.2)).collect();
        assert_eq!(words(Way::Alone, &seconds), None);
        assert!(words(Way::Rolling, &seconds).unwrap().contains("is not measured here yet"));
        seconds.insert("promote".into(), 0.4);
        assert!(words(Way::Rolling, &seconds).unwrap().contains("1.0 s lately"));
        assert!(words(Way::Lowers, &seconds).unwrap().contains("becomes smaller"));
    }
}
