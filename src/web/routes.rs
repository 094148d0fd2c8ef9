//! Every route of the portal, in one table. Registration is made from the table, the gate admits by
//! the table, and the sweeps walk over the table: a route that is not here does not exist.

use crate::web::assets;
use crate::web::error::PageError;
use crate::web::handlers::account::{
    confirm, half_open, join, own, second_factor, sign_in, users, users_factor,
};
use crate::web::handlers::health;
use crate::web::handlers::servers::{
    backups, backups_ask, backups_delete, backups_retention, deleted, restore, restore_review,
};
use crate::web::handlers::servers::{
    compute, compute_review, connect, cost, database_drop, databases, delete, escrow, extensions,
    extensions_drop, group, ha, ha_ask, ha_durability, ha_enable, locks, networking,
    networking_access, networking_everyone, overview, parameters, pooling, repair, reset_password,
    restart, start, stop, storage, tags,
};
use crate::web::handlers::servers::{create, list, review};
use crate::web::handlers::{
    activity, costs, groups, hosts, networks, operation_events, operations, recovery,
};
use actix_web::http::Method;
use actix_web::web::{self, ServiceConfig};
use actix_web::{Route, guard};

/// The least that a visitor must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Anonymous,
    Reader,
    Contributor,
    Owner,
}

/// One line of the table.
pub struct RouteInfo {
    pub method: Method,
    /// Path with `{names}`, as in actix.
    pub pattern: &'static str,
    pub access: Access,
    /// Makes the route with its handler; the method is added at registration.
    handler: fn() -> Route,
}

const fn get(access: Access, pattern: &'static str, handler: fn() -> Route) -> RouteInfo {
    RouteInfo { method: Method::GET, pattern, access, handler }
}

const fn post(access: Access, pattern: &'static str, handler: fn() -> Route) -> RouteInfo {
    RouteInfo { method: Method::POST, pattern, access, handler }
}

use Access::{Anonymous, Contributor, Owner, Reader};

/// The table. Order matters only between a fixed path and a pattern that also fits it: fixed first.
#[rustfmt::skip]
pub static ROUTES: &[RouteInfo] = &[
    get(Anonymous, "/healthz", || web::to(health::healthz)),
    get(Anonymous, "/readyz", || web::to(health::readyz)),
    get(Anonymous, "/ca.pem", || web::to(health::ca_pem)),
    get(Anonymous, "/static/{file}", || web::to(assets::get)),
    get(Anonymous, "/", || web::to(health::home)),
    // Operations, hosts, activity log.
    get(Reader, "/operations", || web::to(operations::list::get)),
    get(Reader, "/operations/{id}", || web::to(operations::show::get)),
    get(Reader, "/operations/{id}/events", || web::to(operation_events::get)),
    get(Reader, "/operations/{id}/fragment", || web::to(operations::show::fragment)),
    post(Contributor, "/operations/{id}/retry", || web::to(operations::actions::retry)),
    post(Contributor, "/operations/{id}/cancel", || web::to(operations::actions::cancel)),
    get(Contributor, "/operations/{id}/abandon", || web::to(operations::actions::ask_abandon)),
    post(Contributor, "/operations/{id}/abandon", || web::to(operations::actions::abandon)),
    get(Reader, "/networks", || web::to(networks::list::get)),
    post(Contributor, "/networks", || web::to(networks::list::post)),
    get(Reader, "/networks/{id}", || web::to(networks::show::get)),
    post(Contributor, "/networks/{id}/delete", || web::to(networks::show::delete)),
    get(Reader, "/hosts", || web::to(hosts::get)),
    get(Owner, "/hosts/new", || web::to(hosts::edit::new)),
    post(Owner, "/hosts/new", || web::to(hosts::edit::add)),
    get(Owner, "/hosts/{id}/edit", || web::to(hosts::edit::edit)),
    post(Owner, "/hosts/{id}/edit", || web::to(hosts::edit::save)),
    post(Owner, "/hosts/{id}/remove", || web::to(hosts::edit::remove)),
    get(Owner, "/settings/recovery", || web::to(recovery::get)),
    get(Reader, "/costs", || web::to(costs::get)),
    get(Reader, "/costs.csv", || web::to(costs::csv::get)),
    // Servers: the list, create and review.
    get(Reader, "/servers", || web::to(list::get)),
    get(Contributor, "/servers/create", || web::to(create::get)),
    post(Contributor, "/servers/create", || web::to(create::post)),
    post(Contributor, "/servers/create/estimate", || web::to(create::estimate)),
    get(Contributor, "/servers/create/review", || web::to(review::get)),
    post(Contributor, "/servers/create/review", || web::to(review::post)),
    // Servers that were deleted and can still be restored.
    get(Reader, "/servers/deleted", || web::to(deleted::get)),
    get(Contributor, "/servers/deleted/{id}/restore", || web::to(restore::get_deleted)),
    post(Contributor, "/servers/deleted/{id}/restore", || web::to(restore::post_deleted)),
    get(Contributor, "/servers/deleted/{id}/restore/review", || web::to(restore_review::get_deleted)),
    post(Contributor, "/servers/deleted/{id}/restore/review", || web::to(restore_review::post_deleted)),
    get(Reader, "/activity", || web::to(activity::get)),
    get(Reader, "/activity.csv", || web::to(activity::csv::get)),
    get(Reader, "/servers/{id}/activity", || web::to(activity::server)),

    // Fixed paths below /servers/ come before these patterns.
    get(Reader, "/servers/{id}", || web::to(overview::get)),
    get(Reader, "/servers/{id}/fragment", || web::to(overview::fragment)),
    get(Reader, "/servers/{id}/cost", || web::to(cost::get)),
    get(Reader, "/servers/{id}/connect", || web::to(connect::get)),
    get(Reader, "/servers/{id}/networking", || web::to(networking::get)),
    post(Contributor, "/servers/{id}/networking", || web::to(networking::add)),
    get(Reader, "/servers/{id}/networking/effect", || web::to(networking::effect)),
    get(Contributor, "/servers/{id}/networking/access", || web::to(networking_access::get)),
    post(Contributor, "/servers/{id}/networking/access", || web::to(networking_access::post)),
    post(Contributor, "/servers/{id}/networking/mine", || web::to(networking::add_mine)),
    get(Contributor, "/servers/{id}/networking/everyone", || web::to(networking_everyone::get)),
    post(Contributor, "/servers/{id}/networking/everyone", || web::to(networking_everyone::post)),
    post(Contributor, "/servers/{id}/networking/{rule}", || web::to(networking::edit)),
    post(Contributor, "/servers/{id}/networking/{rule}/delete", || web::to(networking::delete)),
    get(Contributor, "/servers/{id}/stop", || web::to(stop::get)),
    post(Contributor, "/servers/{id}/stop", || web::to(stop::post)),
    get(Contributor, "/servers/{id}/start", || web::to(start::get)),
    post(Contributor, "/servers/{id}/start", || web::to(start::post)),
    get(Reader, "/servers/{id}/compute", || web::to(compute::get)),
    get(Contributor, "/servers/{id}/compute/review", || web::to(compute_review::get)),
    post(Contributor, "/servers/{id}/compute/review", || web::to(compute_review::post)),
    get(Reader, "/servers/{id}/parameters", || web::to(parameters::get)),
    post(Contributor, "/servers/{id}/parameters", || web::to(parameters::review)),
    post(Contributor, "/servers/{id}/parameters/save", || web::to(parameters::save)),
    get(Reader, "/servers/{id}/extensions", || web::to(extensions::get)),
    post(Contributor, "/servers/{id}/extensions/allowed", || web::to(extensions::allow)),
    post(Contributor, "/servers/{id}/extensions/create", || web::to(extensions::create)),
    post(Contributor, "/servers/{id}/extensions/update", || web::to(extensions::update)),
    get(Contributor, "/servers/{id}/extensions/drop", || web::to(extensions_drop::get)),
    post(Contributor, "/servers/{id}/extensions/drop", || web::to(extensions_drop::post)),
    get(Reader, "/servers/{id}/databases", || web::to(databases::get)),
    post(Contributor, "/servers/{id}/databases", || web::to(databases::post)),
    get(Contributor, "/servers/{id}/databases/drop", || web::to(database_drop::get)),
    post(Contributor, "/servers/{id}/databases/drop", || web::to(database_drop::post)),
    get(Reader, "/servers/{id}/pooling", || web::to(pooling::get)),
    post(Contributor, "/servers/{id}/pooling", || web::to(pooling::post)),
    get(Contributor, "/servers/{id}/reset-password", || web::to(reset_password::get)),
    post(Contributor, "/servers/{id}/reset-password", || web::to(reset_password::post)),
    get(Reader, "/servers/{id}/storage", || web::to(storage::get)),
    post(Contributor, "/servers/{id}/storage", || web::to(storage::post)),
    post(Contributor, "/servers/{id}/storage/autogrow", || web::to(storage::autogrow)),
    get(Contributor, "/servers/{id}/restart", || web::to(restart::get)),
    post(Contributor, "/servers/{id}/restart", || web::to(restart::post)),
    get(Contributor, "/servers/{id}/repair", || web::to(repair::get)),
    post(Contributor, "/servers/{id}/repair", || web::to(repair::post)),
    get(Contributor, "/servers/{id}/delete", || web::to(delete::get)),
    post(Contributor, "/servers/{id}/delete", || web::to(delete::post)),
    // High availability of one server.
    get(Reader, "/servers/{id}/high-availability", || web::to(ha::get)),
    get(Reader, "/servers/{id}/high-availability/fragment", || web::to(ha::fragment)),
    get(Contributor, "/servers/{id}/high-availability/enable", || web::to(ha_enable::get)),
    post(Contributor, "/servers/{id}/high-availability/enable", || web::to(ha_enable::post)),
    get(Contributor, "/servers/{id}/high-availability/disable", || web::to(ha_ask::disable)),
    post(Contributor, "/servers/{id}/high-availability/disable", || web::to(ha_ask::post_disable)),
    get(Contributor, "/servers/{id}/high-availability/durability", || web::to(ha_durability::get)),
    post(Contributor, "/servers/{id}/high-availability/durability", || web::to(ha_durability::post)),
    get(Contributor, "/servers/{id}/high-availability/planned-failover", || web::to(ha_ask::planned)),
    post(Contributor, "/servers/{id}/high-availability/planned-failover", || web::to(ha_ask::post_planned)),
    get(Contributor, "/servers/{id}/high-availability/forced-failover", || web::to(ha_ask::forced)),
    post(Contributor, "/servers/{id}/high-availability/forced-failover", || web::to(ha_ask::post_forced)),
    get(Contributor, "/servers/{id}/high-availability/drill", || web::to(ha_ask::drill)),
    post(Contributor, "/servers/{id}/high-availability/drill", || web::to(ha_ask::post_drill)),
    // Backups of one server, and the way back.
    get(Reader, "/servers/{id}/backups", || web::to(backups::get)),
    get(Reader, "/servers/{id}/backups/fragment", || web::to(backups::fragment)),
    get(Contributor, "/servers/{id}/backups/new", || web::to(backups_ask::new)),
    post(Contributor, "/servers/{id}/backups/new", || web::to(backups_ask::post_new)),
    get(Contributor, "/servers/{id}/backups/drill", || web::to(backups_ask::drill)),
    post(Contributor, "/servers/{id}/backups/drill", || web::to(backups_ask::post_drill)),
    get(Contributor, "/servers/{id}/backups/delete", || web::to(backups_delete::get)),
    post(Contributor, "/servers/{id}/backups/delete", || web::to(backups_delete::post)),
    get(Contributor, "/servers/{id}/backups/retention", || web::to(backups_retention::get)),
    post(Contributor, "/servers/{id}/backups/retention", || web::to(backups_retention::post)),
    get(Contributor, "/servers/{id}/restore", || web::to(restore::get)),
    post(Contributor, "/servers/{id}/restore", || web::to(restore::post_live)),
    get(Contributor, "/servers/{id}/restore/review", || web::to(restore_review::get)),
    post(Contributor, "/servers/{id}/restore/review", || web::to(restore_review::post)),
    // Governance of one server.
    get(Reader, "/servers/{id}/tags", || web::to(tags::get)),
    post(Contributor, "/servers/{id}/tags", || web::to(tags::post)),
    get(Reader, "/servers/{id}/locks", || web::to(locks::get)),
    get(Owner, "/servers/{id}/escrow", || web::to(escrow::get)),
    post(Owner, "/servers/{id}/escrow", || web::to(escrow::post)),
    post(Owner, "/servers/{id}/locks", || web::to(locks::add)),
    post(Owner, "/servers/{id}/locks/{lock}/remove", || web::to(locks::remove)),
    get(Contributor, "/servers/{id}/group", || web::to(group::get)),
    post(Contributor, "/servers/{id}/group", || web::to(group::post)),
    // Resource groups.
    get(Reader, "/groups", || web::to(groups::list::get)),
    post(Contributor, "/groups", || web::to(groups::list::create)),
    get(Reader, "/groups/{id}", || web::to(groups::show::get)),
    post(Contributor, "/groups/{id}/rename", || web::to(groups::show::rename)),
    post(Contributor, "/groups/{id}/delete", || web::to(groups::show::delete)),
    post(Owner, "/groups/{id}/assignments", || web::to(groups::access::assign)),
    post(Owner, "/groups/{id}/assignments/{user}/remove", || web::to(groups::access::remove)),
    post(Owner, "/groups/{id}/locks", || web::to(groups::access::add_lock)),
    post(Owner, "/groups/{id}/locks/{lock}/remove", || web::to(groups::access::remove_lock)),
    get(Anonymous, "/sign-in", || web::to(sign_in::get)),
    post(Anonymous, "/sign-in", || web::to(sign_in::post)),
    get(Anonymous, "/sign-in/code", || web::to(half_open::get)),
    post(Anonymous, "/sign-in/code", || web::to(half_open::post)),
    post(Reader, "/sign-out", || web::to(sign_in::sign_out)),
    get(Anonymous, "/setup/{token}", || web::to(join::get)),
    post(Anonymous, "/setup/{token}", || web::to(join::post)),
    get(Anonymous, "/invite/{token}", || web::to(join::get)),
    post(Anonymous, "/invite/{token}", || web::to(join::post)),
    get(Reader, "/confirm-password", || web::to(confirm::get)),
    post(Reader, "/confirm-password", || web::to(confirm::post)),
    get(Reader, "/account", || web::to(own::get)),
    post(Reader, "/account/password", || web::to(own::change_password)),
    get(Reader, "/account/second-factor", || web::to(second_factor::get)),
    post(Reader, "/account/second-factor", || web::to(second_factor::begin)),
    post(Reader, "/account/second-factor/confirm", || web::to(second_factor::confirm)),
    post(Reader, "/account/second-factor/recovery-codes", || web::to(second_factor::new_codes)),
    post(Reader, "/account/second-factor/off", || web::to(second_factor::off)),
    post(Reader, "/account/sessions/end-others", || web::to(own::end_other_sessions)),
    post(Reader, "/account/sessions/{session}/end", || web::to(own::end_session)),
    get(Owner, "/users", || web::to(users::get)),
    post(Owner, "/users/invites", || web::to(users::invite)),
    post(Owner, "/users/invites/{invite}/revoke", || web::to(users::revoke)),
    post(Owner, "/users/second-factor", || web::to(users_factor::require)),
    post(Owner, "/users/{user}/second-factor/reset", || web::to(users_factor::reset)),
    post(Owner, "/users/{user}/role", || web::to(users::change_role)),
    post(Owner, "/users/{user}/disable", || web::to(users::disable)),
    post(Owner, "/users/{user}/enable", || web::to(users::enable)),
];

/// The line of a method and pattern. HEAD goes where GET goes.
pub fn find(method: &Method, pattern: &str) -> Option<&'static RouteInfo> {
    let method = if method == Method::HEAD { &Method::GET } else { method };
    ROUTES.iter().find(|route| route.method == *method && route.pattern == pattern)
}

/// Registers the whole table: one resource for each pattern, with a route for each of its methods.
pub fn register(config: &mut ServiceConfig) {
    let mut done: Vec<&str> = vec![];
    for first in ROUTES {
        if done.contains(&first.pattern) {
            continue;
        }
        done.push(first.pattern);
        let same = ROUTES.iter().filter(|route| route.pattern == first.pattern);
        let resource = same.fold(web::resource(first.pattern), |resource, route| {
            resource.route(with_method((route.handler)(), &route.method))
        });
        config.service(resource.default_service(web::to(wrong_method)));
    }
}

fn with_method(route: Route, method: &Method) -> Route {
    if method == Method::GET {
        route.guard(guard::Any(guard::Get()).or(guard::Head()))
    } else {
        route.method(method.clone())
    }
}

async fn wrong_method() -> Result<web::Bytes, PageError> {
    Err(PageError::Method)
}

/// What answers where no pattern fits.
pub async fn not_found() -> Result<web::Bytes, PageError> {
    Err(PageError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_line_twice() {
        for (at, route) in ROUTES.iter().enumerate() {
            assert!(
                !ROUTES[..at]
                    .iter()
                    .any(|other| other.method == route.method && other.pattern == route.pattern),
                "{}",
                route.pattern
            );
            assert!(
                route.method == Method::GET || route.method == Method::POST,
                "{}",
                route.pattern
            );
        }
    }
}
