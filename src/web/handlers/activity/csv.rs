//! `GET /activity.csv`: the lines that the filters find, as a file for a spreadsheet or an auditor.

use super::{list, words};
use crate::domain::activity::Activity;
use crate::web::csv;
use crate::web::error::PageResult;
use crate::web::query;
use crate::web::visit::{Reader, Signed};
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, SecondsFormat, Utc};

/// Lines of one file, at most; the newest.
pub const ROWS_MAX: i64 = 10_000;

const HEAD: &str = "time_utc,who,from,action,action_in_words,subject,server_id,operation_id,outcome,ended_utc,seconds,detail\r\n";

/// `GET /activity.csv`
pub async fn get(who: Signed<Reader>, request: HttpRequest) -> PageResult {
    let filter = list::filter(&query::of(&request), None, who.viewer()?);
    let lines = who.state.store.activities_up_to(&filter, ROWS_MAX).await?;
    let body = lines.iter().fold(HEAD.to_owned(), |text, line| text + &row(line));
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"pgflex-activity.csv\""))
        .body(body))
}

fn row(line: &Activity) -> String {
    let id = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let seconds = line.ended_at.map(|ended| (ended - line.at).num_milliseconds() as f64 / 1000.0);
    let cells = [
        time(line.at),
        line.actor_name.clone(),
        line.address.clone(),
        line.action.clone(),
        words::words(&line.action).to_owned(),
        line.subject.clone(),
        id(line.server_id.as_ref().map(|id| id.as_str())),
        id(line.operation_id.as_ref().map(|id| id.as_str())),
        if line.needs_attention { "NeedsAttention" } else { line.outcome.key() }.to_owned(),
        line.ended_at.map(time).unwrap_or_default(),
        seconds.map(|seconds| format!("{seconds:.3}")).unwrap_or_default(),
        line.detail.clone(),
    ];
    csv::line(cells)
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
