//! Restart: what it means for clients and how long it takes, then the operation.

use super::nav::{self, Frame, Tab};
use super::pair_words;
use crate::clock::new_uuid;
use crate::domain::operation::OperationKind;
use crate::operations::kinds;
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::duration_text;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use chrono::Duration;
use serde_json::Value;
use std::collections::HashMap;

/// Steps during which nobody can use the database.
const INTERRUPTION: [&str; 3] = ["stop_member", "start_member", "wait_accepting"];

#[derive(Template)]
#[template(path = "servers/restart.html")]
struct RestartPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    /// How long it took before; `None` when it was not measured yet.
    usual: Option<Usual>,
    /// What becomes of a pair; `None` without high availability.
    pair: Option<String>,
    key: String,
}

/// Medians of earlier restarts on this installation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Usual {
    whole: String,
    interruption: String,
}

impl RestartPage {
    async fn new(
        visit: &Visit,
        frame: Frame,
        f: FormState,
        key: String,
    ) -> Result<Self, PageError> {
        let seconds = visit.state.store.step_seconds(OperationKind::Restart).await?;
        let layout = frame.layout(visit, "Restart");
        let pair = pair_words::of(visit, &frame, OperationKind::Restart, &Value::Null).await?;
        Ok(Self { layout, frame, f, usual: usual(&seconds), pair, key })
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::Restart)
    }

    fn action(&self) -> String {
        paths::server_restart(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/restart`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&RestartPage::new(&visit, frame, FormState::new(), new_uuid()).await?)
}

/// `POST /servers/{id}/restart`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    match nav::submit(&visit, &frame.server.id, &posted, Change::plain(OperationKind::Restart))
        .await?
    {
        Ok(way) => Ok(way),
        Err(refusal) => {
            let mut f = FormState::new();
            f.refuse(refusal);
            let frame = frame.renewed(&visit).await?;
            let page = RestartPage::new(&visit, frame, f, new_uuid()).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}

/// Sums of the medians of each step; `None` unless every step of the interruption was measured.
fn usual(seconds: &HashMap<String, f64>) -> Option<Usual> {
    let interruption: Option<Vec<f64>> =
        INTERRUPTION.iter().map(|step| seconds.get(*step).copied()).collect();
    let text = |sum: f64| duration_text(Duration::milliseconds((sum * 1000.0) as i64));
    Some(Usual {
        // Restarts of pairs have other steps, which say nothing of this one.
        whole: text(
            kinds::steps(OperationKind::Restart)
                .iter()
                .filter_map(|step| seconds.get(step.name))
                .sum(),
        ),
        interruption: text(interruption?.iter().sum()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_promised_that_was_not_measured() {
        assert_eq!(usual(&HashMap::new()), None);
        let mut seconds =
            HashMap::from([("stop_member".to_owned(), 0.4), ("hold_route".into(), 0.1)]);
        assert_eq!(usual(&seconds), None);
        seconds.extend([("start_member".to_owned(), 0.5), ("wait_accepting".to_owned(), 1.1)]);
        let usual = usual(&seconds).unwrap();
        assert_eq!((&*usual.whole, &*usual.interruption), ("2.1 s", "2.0 s"));
    }
}
