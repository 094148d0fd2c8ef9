//! `GET /costs.csv`: every line of a month, as a file for a spreadsheet.

use super::month::Asked;
use crate::domain::bill::{Line, Price};
use crate::store::costs::ServerUsage;
use crate::web::csv;
use crate::web::error::PageResult;
use crate::web::query;
use crate::web::visit::{Reader, Signed};
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::{HttpRequest, HttpResponse};
use chrono::SecondsFormat;

const HEAD: &str = "month,counted_until_utc,group,server,server_id,meter,quantity,seconds,price,price_unit,currency,amount,saved\r\n";

/// `GET /costs.csv`
pub async fn get(visit: Signed<Reader>, request: HttpRequest) -> PageResult {
    let asked = Asked::read(&query::of(&request), visit.now, visit.viewer()?);
    let store = &visit.state.store;
    let (usages, groups) =
        (store.usage(&asked.filter).await?, store.group_names(&asked.filter.viewer).await?);
    let prices = &visit.state.config.prices;
    let mut body = HEAD.to_owned();
    for row in &usages {
        let group = groups.get(row.group_id.as_str()).map_or("", String::as_str);
        let line = prices.line(row.usage.clone());
        body += &csv::line(cells(&asked, group, row, &line, &prices.currency));
    }
    let name = format!("attachment; filename=\"pgflex-cost-{}.csv\"", asked.month.key());
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((CONTENT_DISPOSITION, name))
        .body(body))
}

fn cells(
    asked: &Asked,
    group: &str,
    row: &ServerUsage,
    line: &Line,
    currency: &str,
) -> [String; 13] {
    let (price, unit) = match line.price {
        Some(Price::Hour(price)) => (price.to_string(), "hour"),
        Some(Price::GibMonth { price, .. }) => (price.to_string(), "GiB and month of 730 hours"),
        None => (String::new(), "no price in the list"),
    };
    [
        asked.month.key(),
        asked.filter.to.to_rfc3339_opts(SecondsFormat::Secs, true),
        group.to_owned(),
        row.server_name.clone(),
        row.server_id.to_string(),
        row.usage.meter.key().to_owned(),
        row.usage.quantity.clone(),
        row.usage.seconds.to_string(),
        price,
        unit.to_owned(),
        currency.to_owned(),
        line.amount.decimal(),
        line.saved.decimal(),
    ]
}
