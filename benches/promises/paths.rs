//! The addresses of the pages: every GET route of the table, its names filled with what was seeded.

use crate::seed::Seeded;
use pgflex::domain::ids::GroupId;
use pgflex::web::ROUTES;

/// Pages that belong to somebody who is not signed in, or that never end.
const LEFT_OUT: [&str; 6] = [
    REVIEW,
    "/sign-in",
    "/setup/{token}",
    "/invite/{token}",
    "/static/{file}",
    "/operations/{id}/events",
];

/// The last page of the create form; its address is got by filling in the form.
pub const REVIEW: &str = "/servers/create/review";

/// Files of everything there is: measured, and not counted as a page.
pub const EXPORTS: [&str; 2] = ["/activity.csv", "/costs.csv"];

/// The cheapest page there is: what connection, client and framework cost.
pub const ANCHOR: &str = "/healthz";

/// Searches that people do, besides the bare pages.
const SEARCHES: [&str; 6] = [
    "/servers?name=db-05",
    "/servers?name=nothing-like-this",
    "/servers?state=Failed",
    "/servers?tag=env%3Dprod",
    "/operations?status=failed",
    "/activity?subject=db-05",
];

/// Addresses to measure, and patterns that nobody here knows how to fill.
pub fn all(seeded: &Seeded) -> (Vec<String>, Vec<&'static str>) {
    let patterns =
        ROUTES.iter().filter(|route| route.method.as_str() == "GET").map(|route| route.pattern);
    let (mut paths, mut unknown) = (vec![], vec![]);
    for pattern in patterns.filter(|pattern| !LEFT_OUT.contains(pattern)) {
        match filled(pattern, seeded) {
            Some(path) => paths.push(path),
            None => unknown.push(pattern),
        }
    }
    let there: Vec<String> = paths.clone();
    let is_there = |search: &str| there.iter().any(|path| search.split('?').next() == Some(path));
    let searches = SEARCHES.iter().filter(|search| is_there(search));
    paths.extend(searches.map(|search| (*search).to_owned()));
    (paths, unknown)
}

fn filled(pattern: &str, seeded: &Seeded) -> Option<String> {
    let group = GroupId::default_group();
    let id = match pattern.split('/').nth(1)? {
        "servers" => seeded.server.as_str(),
        "operations" => seeded.operation.as_str(),
        "groups" => group.as_str(),
        "networks" => seeded.network.as_str(),
        _ => "{id}",
    };
    let path = pattern
        .replace("{id}", id)
        .replace("{server}", seeded.server.as_str())
        .replace("{operation}", seeded.operation.as_str())
        .replace("{rule}", seeded.rule.as_str());
    (!path.contains('{')).then_some(path)
}
