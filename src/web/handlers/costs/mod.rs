//! `GET /costs`: what all servers used in a month, with those that are gone.

pub mod csv;
pub mod month;
pub mod view;

use crate::domain::bill::Cents;
use crate::web::error::{PageError, PageResult};
use crate::web::form::{Choice, FormState};
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::query;
use crate::web::time::Stamp;
use crate::web::visit::{Reader, Signed};
use actix_web::HttpRequest;
use askama::Template;
use month::Asked;
use view::{GroupRow, ServerRow, Totals};

/// Servers on one page of the table.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "costs/costs.html")]
struct CostPage {
    layout: Layout,
    f: FormState,
    months: Vec<Choice>,
    groups: Vec<Choice>,
    /// `November 2026`.
    month: String,
    /// Whether the month still runs.
    is_open: bool,
    until: Stamp,
    since: Option<Stamp>,
    totals: Totals,
    by_group: Vec<GroupRow>,
    rows: Vec<ServerRow>,
    result: String,
    /// The dearest server, for the bars.
    most: i64,
    previous: String,
    next: String,
    csv: String,
    is_example: bool,
}

/// `GET /costs`
pub async fn get(visit: Signed<Reader>, request: HttpRequest) -> PageResult {
    let typed = query::of(&request);
    let asked = Asked::read(&typed, visit.now, visit.viewer()?);
    let world = view::World::load(&visit, &asked).await?;
    let since = visit.state.store.counted_since().await?;
    let servers = world.servers();
    let count = servers.len();
    let pages = count.div_ceil(ROWS).max(1);
    let at = typed.text("page").parse::<usize>().unwrap_or(1).clamp(1, pages);
    let most = servers.first().map_or(1, |server| server.sums.total().0.max(1));
    let link = |page: usize| asked.url(&paths::costs(), &page.to_string());
    page::ok(&CostPage {
        layout: visit.layout("Cost", Nav::Costs),
        f: asked.form(),
        months: month::choices(since, visit.now),
        groups: world.group_choices(),
        month: asked.month.label(),
        is_open: asked.is_open(visit.now),
        until: asked.filter.to.into(),
        since: since.map(Stamp),
        totals: totals(&visit, &world, &asked).await?,
        by_group: world.by_group(&servers),
        rows: servers.iter().skip((at - 1) * ROWS).take(ROWS).map(|one| world.row(one)).collect(),
        result: result_text(count, at),
        most,
        previous: if at > 1 { link(at - 1) } else { String::new() },
        next: if at < pages { link(at + 1) } else { String::new() },
        csv: asked.url(&paths::costs_csv(), ""),
        is_example: visit.state.config.prices.is_example,
    })
}

/// The sums of the month, and what it comes to if what runs goes on.
async fn totals(
    visit: &Signed<Reader>,
    world: &view::World<'_>,
    asked: &Asked,
) -> Result<Totals, PageError> {
    let totals = world.totals();
    if !asked.is_open(visit.now) {
        return Ok(totals);
    }
    let running = visit.state.store.running_meters(&asked.filter).await?;
    let prices = &visit.state.config.prices;
    let hourly: f64 = running
        .iter()
        .map(|(meter, quantity, count)| prices.hourly(*meter, quantity) * *count as f64)
        .sum();
    let left = (asked.month.next().start() - visit.now).num_seconds() as f64 / 3600.0;
    let whole = Cents(totals.sums.total().0 + Cents::of(hourly * left).0);
    Ok(Totals { hourly: prices.text(hourly), forecast: Some(prices.money(whole)), ..totals })
}

fn result_text(count: usize, page: usize) -> String {
    let noun = if count == 1 { "server" } else { "servers" };
    if count <= ROWS {
        return format!("{count} {noun}, the dearest first");
    }
    let first = (page - 1) * ROWS + 1;
    format!("{first} to {} of {count} {noun}, the dearest first", (first + ROWS - 1).min(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_says_which_part_is_shown() {
        assert_eq!(result_text(1, 1), "1 server, the dearest first");
        assert_eq!(result_text(120, 3), "101 to 120 of 120 servers, the dearest first");
    }
}
