//! Stop: what ends, what stays, when it starts by itself, then the operation.

use super::nav::{self, Frame, Tab};
use crate::clock::new_uuid;
use crate::domain::operation::OperationKind;
use crate::domain::power;
use crate::operations::kinds;
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::{Stamp, duration_text};
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::Path;
use askama::Template;
use chrono::Duration;

#[derive(Template)]
#[template(path = "servers/stop.html")]
struct StopPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    costs: Costs,
    /// When it starts by itself if it is stopped now.
    starts_at: Stamp,
    /// How long it took before; `None` when it was not measured yet.
    usual: Option<String>,
    key: String,
}

/// What a month of it costs, by the price list.
pub struct Costs {
    pub compute: String,
    pub storage: String,
    pub is_example: bool,
}

impl Costs {
    pub fn of(visit: &Visit, frame: &Frame) -> Self {
        let (prices, spec) = (frame.prices(&visit.state.config), &frame.server.spec);
        Self {
            compute: prices.text(prices.compute_month(spec.sku())),
            storage: prices.text(prices.storage_month(spec.storage())),
            is_example: prices.is_example,
        }
    }
}

impl StopPage {
    async fn new(visit: &Visit, frame: Frame, f: FormState) -> Result<Self, PageError> {
        Ok(Self {
            layout: frame.layout(visit, "Stop"),
            costs: Costs::of(visit, &frame),
            starts_at: Stamp(power::starts_at(visit.now)),
            usual: usual(visit, OperationKind::Stop).await?,
            key: new_uuid(),
            frame,
            f,
        })
    }

    fn why_closed(&self) -> Option<String> {
        self.frame.why_closed(OperationKind::Stop)
    }

    fn action(&self) -> String {
        paths::server_stop(&self.frame.server.id)
    }

    fn back(&self) -> String {
        paths::server(&self.frame.server.id)
    }
}

/// `GET /servers/{id}/stop`
pub async fn get(visit: Signed<Contributor>, id: Path<String>) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    page::ok(&StopPage::new(&visit, frame, FormState::new()).await?)
}

/// `POST /servers/{id}/stop`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Action).await? else {
        return nav::gone(&visit, &id).await;
    };
    let change = Change::plain(OperationKind::Stop);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            let mut f = FormState::new();
            f.refuse(refusal);
            page::with_status(StatusCode::CONFLICT, &StopPage::new(&visit, frame, f).await?)
        }
    }
}

/// The sum of the medians of a kind's steps on this installation; `None` unless every step was measured.
///
/// # Errors
/// When the store does not answer.
pub async fn usual(visit: &Visit, kind: OperationKind) -> Result<Option<String>, PageError> {
    let seconds = visit.state.store.step_seconds(kind).await?;
    let all: Option<Vec<f64>> =
        kinds::steps(kind).iter().map(|step| seconds.get(step.name).copied()).collect();
    Ok(all.map(|all| {
        duration_text(Duration::milliseconds((all.iter().sum::<f64>() * 1000.0) as i64))
    }))
}
