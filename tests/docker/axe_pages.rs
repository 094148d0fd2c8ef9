//! Every page of the portal, found by the route table: a page that is added there is looked at, or this
//! walk fails until somebody says what its parameters are.

use crate::portal::Portal;
use pgflex::domain::ids::{GroupId, HostId, NetworkId, OperationId, ServerId};
use pgflex::web::{Access, ROUTES};

/// Routes that answer GET with something that is no page.
const NOT_PAGES: &[&str] = &[
    "/",
    "/healthz",
    "/readyz",
    "/ca.pem",
    "/static/{file}",
    "/activity.csv",
    "/costs.csv",
    "/operations/{id}/events",
    "/operations/{id}/fragment",
    "/servers/{id}/fragment",
    "/servers/{id}/networking/effect",
    "/servers/{id}/high-availability/fragment",
    "/servers/{id}/backups/fragment",
    // They lead to the form, to the list, or to the server's own page.
    "/servers/{id}/restore/review",
    "/servers/{id}/backups/delete",
    "/servers/deleted/{id}/restore",
    "/servers/deleted/{id}/restore/review",
];

/// A page to look at.
#[derive(Debug, Clone)]
pub struct Page {
    /// Names its pictures.
    pub name: String,
    pub path: String,
}

pub fn page(name: &str, path: impl Into<String>) -> Page {
    Page { name: name.into(), path: path.into() }
}

/// What stands in the patterns of the table.
pub struct World {
    pub server: ServerId,
    /// Stopped; all it can is start.
    pub stopped: ServerId,
    /// Gone; only what was written of it is left.
    pub deleted: ServerId,
    pub succeeded: OperationId,
    pub running: OperationId,
    pub failed: OperationId,
    /// Waits for a person.
    pub parked: OperationId,
    /// Of an invitation that is open.
    pub invitation: String,
    pub draft: String,
    pub network: NetworkId,
    pub host: HostId,
}

/// The pages that need no account.
pub fn anonymous(world: &World) -> Vec<Page> {
    let mut pages = pages_of(world, &|access| access == Access::Anonymous);
    pages.push(page("link-gone", "/invite/no-such-token"));
    pages.push(page("nothing-there", "/no/such/page"));
    pages
}

/// The pages of a signed-in owner, and their other states.
pub fn owners(world: &World) -> Vec<Page> {
    let mut pages = pages_of(world, &|access| access != Access::Anonymous);
    let server = format!("/servers/{}", world.server);
    pages.extend([
        page("servers-filtered-to-none", "/servers?name=nothing-has-this-name"),
        page("create-preset", "/servers/create?preset=production"),
        page("create-networking", format!("/servers/create?draft={}&tab=networking", world.draft)),
        page("create-tags", format!("/servers/create?draft={}&tab=tags", world.draft)),
        page("create-checked", "/servers/create?check=1"),
        page("connect-by-name", format!("{server}/connect?endpoint=name")),
        page("connect-bad-database", format!("{server}/connect?database={}", "x".repeat(64))),
        page("parameters-static", format!("{server}/parameters?tab=static")),
        page("parameters-none", format!("{server}/parameters?q=nothing-has-this-name")),
        page(
            "database-drop",
            format!("{server}/databases/drop?name={}", "sales/2027%20%3Cwest%3E"),
        ),
        page("operation-running", format!("/operations/{}", world.running)),
        page("operation-failed", format!("/operations/{}", world.failed)),
        page("operation-parked", format!("/operations/{}", world.parked)),
        page("operations-filtered-to-none", "/operations?kind=renew_certificate"),
        page("activity-filtered-to-none", "/activity?who=nobody"),
        page("server-deleted", format!("/servers/{}", world.deleted)),
        page("signed-in-nothing-there", "/no/such/page"),
    ]);
    let tabs = "connect high-availability backups restore compute compute/review?sku=Standard_B2s storage networking databases \
                parameters extensions pooling cost start";
    let stopped = format!("/servers/{}", world.stopped);
    pages.extend(tabs.split(' ').map(|tab| {
        let name = tab.split('?').next().unwrap_or(tab).replace('/', "-");
        page(&format!("stopped-{name}"), format!("{stopped}/{tab}"))
    }));
    pages.push(page("stopped", stopped));
    pages
}

fn pages_of(world: &World, wanted: &dyn Fn(Access) -> bool) -> Vec<Page> {
    ROUTES
        .iter()
        .filter(|route| route.method.as_str() == "GET" && wanted(route.access))
        .filter(|route| !NOT_PAGES.contains(&route.pattern))
        .map(|route| page(&name_of(route.pattern), filled(route.pattern, world)))
        .collect()
}

fn name_of(pattern: &str) -> String {
    let parts: Vec<&str> = pattern
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| part.trim_matches(['{', '}']))
        .collect();
    parts.join("-")
}

fn filled(pattern: &str, world: &World) -> String {
    let default = GroupId::default_group();
    let id = match pattern {
        _ if pattern.starts_with("/servers/") => world.server.as_str(),
        _ if pattern.starts_with("/groups/") => default.as_str(),
        _ if pattern.starts_with("/hosts/") => world.host.as_str(),
        _ if pattern.starts_with("/networks/") => world.network.as_str(),
        // The page to abandon one is only for one that is stuck.
        "/operations/{id}/abandon" => world.parked.as_str(),
        _ => world.succeeded.as_str(),
    };
    let path = pattern.replace("{id}", id).replace("{token}", &world.invitation);
    let path = if path == "/servers/create/review" {
        format!("{path}?draft={}", world.draft)
    } else if pattern.ends_with("/compute/review") {
        format!("{path}?sku=Standard_B2s")
    } else {
        path
    };
    assert!(!path.contains('{'), "say in the walk over the pages what stands in {pattern}");
    path
}

#[test]
fn what_is_left_out_is_in_the_table() {
    for pattern in NOT_PAGES {
        assert!(
            ROUTES.iter().any(|route| route.pattern == *pattern),
            "{pattern} is no route any more"
        );
    }
}

/// Leaves a mark in the log of a portal when a page answers with a fault of ours.
pub fn assert_no_faults(portal: &Portal) {
    let log = portal.log();
    let faults: Vec<&str> = log.lines().filter(|line| line.contains("a page failed")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
