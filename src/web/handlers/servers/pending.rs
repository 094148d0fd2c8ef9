//! What waits for a restart, for the banner of a server's pages.

use super::nav::Tab;
use crate::domain::parameters::PENDING;
use crate::domain::server::{Server, SettledState};
use crate::web::error::PageError;
use crate::web::paths;
use crate::web::state::AppState;

/// Names in the banner; the rest is a number.
const NAMES_MAX: usize = 4;

/// The banner that says that settings wait for a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub names: String,
    pub parameters: String,
    pub restart: String,
}

/// What waits, on the pages where it matters.
///
/// # Errors
/// When the store does not answer.
pub async fn of(state: &AppState, server: &Server, tab: Tab) -> Result<Option<Pending>, PageError> {
    let is_here = matches!(tab, Tab::Overview | Tab::Parameters | Tab::Action);
    if !is_here || server.settled != SettledState::Ready || server.active.is_some() {
        return Ok(None);
    }
    let seen = state.store.server_observation::<Vec<String>>(&server.id, PENDING).await?;
    let names = seen.map(|seen| seen.facts).unwrap_or_default();
    Ok((!names.is_empty()).then(|| Pending {
        names: in_words(&names),
        parameters: paths::server_parameters(&server.id),
        restart: paths::server_restart(&server.id),
    }))
}

fn in_words(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::in_words;

    #[test]
    fn many_names_become_a_number() {
        let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>();
        assert_eq!(in_words(&names(2)), "p0, p1");
        assert_eq!(in_words(&names(6)), "p0, p1, p2, p3 and 2 more");
    }
}
