//! Pages: the frame every template stands in, and the responses that carry them.

use crate::domain::account::{Role, User};
use crate::web::assets;
use crate::web::error::PageResult;
use crate::web::flash::{self, Flash};
use crate::web::headers;
use crate::web::paths;
use crate::web::visit::Visit;
use actix_web::HttpResponse;
use actix_web::cookie::time::Duration;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use askama::Template;

/// Which entry of the navigation is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nav {
    None,
    Servers,
    Groups,
    Operations,
    Networks,
    Hosts,
    Costs,
    Activity,
    Users,
    Account,
}

/// One link of the main navigation.
pub struct NavEntry {
    pub path: String,
    pub label: &'static str,
    pub is_current: bool,
}

/// What `layout/base.html` needs. Every page template has it as its field `layout`.
#[derive(Debug, Clone)]
pub struct Layout {
    pub title: String,
    pub nav: Nav,
    pub user: Option<User>,
    /// Whether controls that change or create servers are for this person here.
    pub may_change: bool,
    /// Token of every form on the page; empty where there is none.
    pub csrf: String,
    pub flash: Option<Flash>,
    pub engine_notice: Option<String>,
    /// Path and query of the page itself.
    pub path: String,
}

impl Layout {
    /// The navigation, for this person.
    pub fn entries(&self) -> Vec<NavEntry> {
        let entry = |nav, path, label| NavEntry { path, label, is_current: self.nav == nav };
        let mut entries = vec![
            entry(Nav::Servers, paths::servers(), "Servers"),
            entry(Nav::Groups, paths::groups(), "Resource groups"),
            entry(Nav::Operations, paths::operations(), "Operations"),
        ];
        if self.sees_everything() {
            entries.push(entry(Nav::Networks, paths::networks(), "Networks"));
            entries.push(entry(Nav::Hosts, paths::hosts(), "Hosts"));
            entries.push(entry(Nav::Costs, paths::costs(), "Cost"));
        }
        entries.push(entry(Nav::Activity, paths::activity(), "Activity log"));
        if self.may_manage_users() {
            entries.push(entry(Nav::Users, paths::users(), "Users"));
        }
        entries
    }

    pub fn is_at_account(&self) -> bool {
        self.nav == Nav::Account
    }

    pub fn may_change_servers(&self) -> bool {
        self.may_change
    }

    /// Whether the person's own role shows them the whole installation.
    pub fn sees_everything(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.role >= Role::Reader)
    }

    pub fn may_manage_users(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.role.may_manage_users())
    }

    /// First letter of the login, for the round mark in the header.
    pub fn initial(&self) -> String {
        let first = self.user.as_ref().and_then(|user| user.login.chars().next());
        first.map_or(String::new(), |letter| letter.to_uppercase().collect())
    }

    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    pub fn css(&self) -> String {
        assets::css()
    }

    pub fn js(&self) -> String {
        assets::js()
    }

    pub fn icon(&self) -> String {
        assets::icon()
    }
}

/// A page as asked for (200).
pub fn ok(template: &impl Template) -> PageResult {
    with_status(StatusCode::OK, template)
}

/// The same form again, with its errors (422).
pub fn invalid(template: &impl Template) -> PageResult {
    with_status(StatusCode::UNPROCESSABLE_ENTITY, template)
}

/// A page with a status of its own.
pub fn with_status(status: StatusCode, template: &impl Template) -> PageResult {
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .body(template.render()?))
}

/// On to another page of ours (303), as after every accepted form.
pub fn see(path: &str) -> PageResult {
    Ok(HttpResponse::SeeOther().insert_header((LOCATION, path)).finish())
}

/// The same, with a message on that page.
pub fn see_with(visit: &Visit, path: &str, flash: &Flash) -> PageResult {
    let mut response = HttpResponse::SeeOther();
    response.insert_header((LOCATION, path));
    if let Some(value) = flash.to_cookie(&visit.state.sealer) {
        let mut cookie = headers::cookie(flash::COOKIE, value, visit.state.config.is_https());
        cookie.set_max_age(Duration::minutes(1));
        response.cookie(cookie);
    }
    Ok(response.finish())
}
