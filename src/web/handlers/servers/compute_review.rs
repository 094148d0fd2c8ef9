//! What another size changes, said before it is asked for: figures, price, availability, parameters.

use super::compute::{ComputePage, Host, difference};
use super::create_cards::{per_month, thousands, vcores};
use super::nav::{self, Frame, Tab};
use super::pair_words;
use crate::clock::new_uuid;
use crate::domain::catalog::Sku;
use crate::domain::credits::{Balance, burst_of};
use crate::domain::operation::OperationKind;
use crate::domain::refusal::Refusal;
use crate::operations::scale::ScaleInput;
use crate::operations::scale_plan::{self, ScalePlan};
use crate::operations::submit::Change;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{FormState, Posted};
use crate::web::page::{self, Layout};
use crate::web::paths;
use crate::web::time::duration_text;
use crate::web::visit::{Contributor, Signed, Visit};
use actix_web::http::StatusCode;
use actix_web::web::{Path, Query};
use askama::Template;
use chrono::Duration;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "servers/compute_review.html")]
struct ReviewPage {
    layout: Layout,
    frame: Frame,
    f: FormState,
    to: &'static Sku,
    figures: Vec<Figure>,
    is_example: bool,
    plan: ScalePlan,
    /// How long clients waited before, and in how many scalings; `None` when it was not measured yet.
    usual: Option<(String, usize)>,
    /// What becomes of CPU credits; empty when there are none on either side.
    credits: String,
    /// What becomes of a pair that is restarted; `None` without high availability.
    pair: Option<String>,
    /// Why it cannot be done.
    why_not: Option<String>,
    key: String,
}

/// One line of the comparison.
struct Figure {
    what: &'static str,
    from: String,
    to: String,
    /// Empty where there is none to tell.
    note: String,
}

#[derive(Deserialize)]
pub struct ReviewQuery {
    /// The name of the field of cards.
    #[serde(default, alias = "sku")]
    to: String,
}

impl ReviewPage {
    async fn new(
        visit: &Visit,
        frame: Frame,
        f: FormState,
        to: &'static Sku,
    ) -> Result<Self, PageError> {
        let (store, prices) = (&visit.state.store, &frame.prices(&visit.state.config));
        let waits = store.scale_interruptions().await?;
        let why_not = match frame.why_closed(OperationKind::Scale) {
            Some(why) => Some(why),
            None => Host::of(visit, &frame).await?.reason_against(&frame.server, to),
        };
        let kept = store.credits(&frame.server.id).await?.map(|row| row.balance);
        let from = frame.server.spec.sku();
        Ok(Self {
            layout: frame.layout(visit, "Review the new size"),
            figures: figures(&frame, to, prices),
            is_example: prices.is_example,
            plan: scale_plan::plan(&frame.server, to),
            usual: usual(waits),
            credits: credits_text(from, to, kept),
            pair: pair_words::of(visit, &frame, OperationKind::Scale, &scale(to)).await?,
            why_not,
            key: new_uuid(),
            to,
            frame,
            f,
        })
    }

    fn action(&self) -> String {
        paths::server_compute_review(&self.frame.server.id, "")
    }

    fn back(&self) -> String {
        paths::server_compute(&self.frame.server.id)
    }
}

/// What the operation would be told.
fn scale(to: &Sku) -> serde_json::Value {
    serde_json::to_value(ScaleInput { to: to.name.to_owned() }).unwrap_or_default()
}

fn figures(frame: &Frame, to: &Sku, prices: &crate::domain::cost::PriceList) -> Vec<Figure> {
    let (from, storage) = (frame.server.spec.sku(), frame.server.spec.storage());
    let figure = |what, text: &dyn Fn(&Sku) -> String| Figure {
        what,
        from: text(from),
        to: text(to),
        note: String::new(),
    };
    let price = figure("Compute", &|sku| per_month(&prices.text(prices.compute_month(sku))));
    vec![
        figure("Size", &|sku| format!("{}, {}", sku.tier.label(), sku.short_name())),
        figure("vCores", &|sku| vcores(sku.vcores)),
        figure("Memory", &|sku| format!("{} GiB", sku.memory_gib)),
        figure("IOPS with this storage", &|sku| {
            format!("up to {}", thousands(sku.effective_iops(storage)))
        }),
        Figure { note: difference(prices, from, to), ..price },
    ]
}

/// The median.
fn usual(mut waits: Vec<f64>) -> Option<(String, usize)> {
    waits.sort_by(f64::total_cmp);
    let middle = waits.get(waits.len() / 2)?;
    let text = duration_text(Duration::milliseconds((middle * 1000.0) as i64));
    Some((text, waits.len()))
}

fn credits_text(from: &Sku, to: &Sku, kept: Option<Balance>) -> String {
    match (burst_of(from), burst_of(to)) {
        (None, None) => String::new(),
        (_, Some(burst)) => {
            let has = kept.map_or(Balance::initial(to).credits, |kept| {
                kept.credits.min(burst.credits_max)
            });
            format!(
                "It has {has:.1} CPU credits then, earns {:.0} an hour and keeps at most {:.0}. Without credits it is held to {:.0} % of 1 vCore.",
                burst.credits_per_hour,
                burst.credits_max,
                burst.baseline_vcores * 100.0
            )
        }
        (Some(_), None) => {
            "This size has its full CPU always: CPU credits are neither earned nor spent. Those that are left are kept for a return to Burstable.".into()
        }
    }
}

/// The size that was chosen, if it is one that can be asked for.
fn check(frame: &Frame, name: &str) -> Result<&'static Sku, Refusal> {
    let at = |text: String| Refusal::at("sku", text);
    match Sku::by_name(name) {
        None if name.is_empty() => Err(at("Choose another size first.".into())),
        None => Err(at("There is no such size. Choose one of those below.".into())),
        Some(sku) if sku.name == frame.server.spec.sku => Err(at(format!(
            "The server has the size {} already. Choose another.",
            sku.short_name()
        ))),
        Some(sku) => Ok(sku),
    }
}

/// The page of sizes again, with what is wrong.
async fn back_to_sizes(visit: &Visit, frame: Frame, refusal: Refusal) -> PageResult {
    let mut f = FormState::new();
    f.refuse(refusal);
    page::invalid(&ComputePage::new(visit, frame, f).await?)
}

/// `GET /servers/{id}/compute/review?to=…`
pub async fn get(
    visit: Signed<Contributor>,
    id: Path<String>,
    query: Query<ReviewQuery>,
) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Compute).await? else {
        return nav::gone(&visit, &id).await;
    };
    match check(&frame, &query.to) {
        Ok(to) => page::ok(&ReviewPage::new(&visit, frame, FormState::new(), to).await?),
        Err(refusal) => back_to_sizes(&visit, frame, refusal).await,
    }
}

/// `POST /servers/{id}/compute/review`
pub async fn post(visit: Signed<Contributor>, id: Path<String>, posted: Posted) -> PageResult {
    let Some(frame) = nav::frame(&visit, &id, Tab::Compute).await? else {
        return nav::gone(&visit, &id).await;
    };
    let to = match check(&frame, posted.text("to")) {
        Ok(to) => to,
        Err(refusal) => return back_to_sizes(&visit, frame, refusal).await,
    };
    let about = format!("{} to {}", frame.server.spec.sku().short_name(), to.short_name());
    let input = ScaleInput { to: to.name.to_owned() };
    let change = Change::new(OperationKind::Scale, &about, &input);
    match nav::submit(&visit, &frame.server.id, &posted, change).await? {
        Ok(way) => Ok(way),
        Err(refusal) => {
            let mut f = FormState::new();
            f.refuse(refusal);
            let page = ReviewPage::new(&visit, frame, f, to).await?;
            page::with_status(StatusCode::CONFLICT, &page)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credits_are_told_where_there_are_some() {
        let sku = |name| Sku::by_name(name).unwrap();
        let (b1, b2, d2) = (sku("Standard_B1ms"), sku("Standard_B2s"), sku("Standard_D2ds_v5"));
        assert_eq!(credits_text(d2, sku("Standard_D4ds_v5"), None), "");
        assert!(credits_text(d2, b2, None).starts_with("It has 60.0 CPU credits then"));
        let kept = Balance { credits: 500.0, is_held: false };
        assert!(credits_text(b2, b1, Some(kept)).starts_with("It has 288.0"));
        assert!(credits_text(b1, d2, Some(kept)).contains("kept for a return"));
    }

    #[test]
    fn nothing_is_promised_that_was_not_measured() {
        assert_eq!(usual(vec![]), None);
        assert_eq!(usual(vec![3.0, 1.2, 2.0]), Some(("2.0 s".into(), 3)));
    }
}
