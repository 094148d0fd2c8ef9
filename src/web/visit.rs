//! Who asks, from where, and what they may do: made once for each request by the gate.
//!
//! [`Anyone`] is for pages that need nobody. [`Signed<R>`] is the proof that a signed-in person with
//! at least role `R` asks; it cannot be made in any other way, so a handler that takes it cannot
//! forget to check.

use crate::domain::account::{Role, STEP_UP_LIFE, User};
use crate::domain::activity::{ActivityOutcome, Actor, NewActivity};
use crate::store::scope::Viewer;
use crate::web::authorise::Standing;
use crate::web::error::PageError;
use crate::web::flash::Flash;
use crate::web::page::{Layout, Nav};
use crate::web::paths;
use crate::web::session::SessionFacts;
use crate::web::state::AppState;
use crate::web::token;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use chrono::{DateTime, Utc};
use std::cell::{Cell, OnceCell};
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;

/// One request, as far as it is not about its page.
pub struct Visit {
    pub state: web::Data<AppState>,
    /// When the request came; one time for everything it does.
    pub now: DateTime<Utc>,
    /// The client's address: the peer's, or what a trusted proxy says.
    pub address: String,
    pub user_agent: String,
    /// Path and query of this request, to come back to.
    pub path: String,
    pub person: Option<Person>,
    /// The message left by the request before.
    pub flash: Option<Flash>,
    /// Why no Docker Engine can be reached, when none can.
    pub engine_notice: Option<String>,
    /// Value of the cookie before sign-in, when the browser has one.
    pub form_cookie: Option<String>,
    /// A new one, made for a form on the page of this request.
    new_form_cookie: OnceCell<String>,
    flash_shown: Cell<bool>,
}

/// A signed-in person in one browser.
#[derive(Debug, Clone)]
pub struct Person {
    pub user: User,
    pub session: SessionFacts,
    /// What they may do with the thing of this request.
    pub standing: Standing,
}

/// What the gate knows of a request before it knows the person.
pub struct Arrival {
    pub state: web::Data<AppState>,
    pub now: DateTime<Utc>,
    pub address: String,
    pub user_agent: String,
    pub path: String,
    pub flash: Option<Flash>,
    pub form_cookie: Option<String>,
}

impl Visit {
    pub fn new(arrival: Arrival, person: Option<Person>, engine_notice: Option<String>) -> Self {
        Self {
            state: arrival.state,
            now: arrival.now,
            address: arrival.address,
            user_agent: arrival.user_agent,
            path: arrival.path,
            person,
            flash: arrival.flash,
            engine_notice,
            form_cookie: arrival.form_cookie,
            new_form_cookie: OnceCell::new(),
            flash_shown: Cell::new(false),
        }
    }

    /// The frame of a page. Its token is the session's; a page for nobody has none.
    pub fn layout(&self, title: impl Into<String>, nav: Nav) -> Layout {
        self.flash_shown.set(true);
        Layout {
            title: title.into(),
            nav,
            user: self.person.as_ref().map(|person| person.user.clone()),
            may_change: self.may_change(),
            csrf: self.person.as_ref().map_or(String::new(), |person| person.session.csrf.clone()),
            flash: self.flash.clone(),
            engine_notice: self.engine_notice.clone(),
            path: self.path.clone(),
        }
    }

    /// Whether controls that change or create servers are for this person here.
    pub fn may_change(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.standing.may_change)
    }

    /// Whether this person is an owner of the thing of this request.
    pub fn is_owner_here(&self) -> bool {
        self.person.as_ref().is_some_and(|person| person.standing.role == Some(Role::Owner))
    }

    /// Through whose eyes lists are read: a visitor who is nobody sees nothing.
    ///
    /// # Errors
    /// The way to the sign-in page.
    pub fn viewer(&self) -> Result<Viewer, PageError> {
        match &self.person {
            Some(person) => Ok(Viewer::Person(person.user.id.clone())),
            None => Err(PageError::See(paths::sign_in_then(&self.path))),
        }
    }

    /// The frame of a page before sign-in that has a form: it gets a token bound to a cookie.
    pub fn layout_with_form(&self, title: impl Into<String>) -> Layout {
        let mut layout = self.layout(title, Nav::None);
        if self.person.is_none() {
            let cookie = match &self.form_cookie {
                Some(cookie) => cookie,
                None => self.new_form_cookie.get_or_init(token::new_cookie),
            };
            layout.csrf = token::make(&self.state.sealer, cookie, self.now);
        }
        layout
    }

    /// The cookie that this request's page needs, when the browser has none yet.
    pub fn new_form_cookie(&self) -> Option<&str> {
        self.new_form_cookie.get().map(String::as_str)
    }

    /// Whether a page drew the message, so that the cookie can go.
    pub fn flash_was_shown(&self) -> bool {
        self.flash.is_some() && self.flash_shown.get()
    }

    /// Whether a posted token is the one of this visitor's page.
    pub fn owns_token(&self, given: &str) -> bool {
        match &self.person {
            Some(person) => token::equal(&person.session.csrf, given),
            None => self
                .form_cookie
                .as_ref()
                .is_some_and(|cookie| token::belongs(&self.state.sealer, cookie, given, self.now)),
        }
    }

    /// A line of the activity log about somebody who is not signed in.
    pub fn anonymous_activity(&self, action: &'static str, name: &str) -> NewActivity {
        let actor = Actor { user_id: None, name: name.to_owned(), address: self.address.clone() };
        line(actor, action, name)
    }
}

fn line(actor: Actor, action: &'static str, subject: &str) -> NewActivity {
    NewActivity {
        actor,
        action,
        subject: subject.to_owned(),
        server_id: None,
        operation_id: None,
        outcome: ActivityOutcome::Succeeded,
        detail: String::new(),
    }
}

fn visit_of(request: &HttpRequest) -> Result<Rc<Visit>, PageError> {
    let visit = request.extensions().get::<Rc<Visit>>().cloned();
    visit.ok_or_else(|| PageError::internal("a handler runs outside the gate"))
}

/// Extractor for pages that need nobody to be signed in.
pub struct Anyone(Rc<Visit>);

impl Deref for Anyone {
    type Target = Visit;
    fn deref(&self) -> &Visit {
        &self.0
    }
}

impl FromRequest for Anyone {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visit_of(request).map(Anyone))
    }
}

/// A role as a type.
pub trait Least: 'static {
    const ROLE: Role;
}

/// Sees everything.
pub struct Reader;
/// Changes servers.
pub struct Contributor;
/// Manages users.
pub struct Owner;

impl Least for Reader {
    const ROLE: Role = Role::Reader;
}
impl Least for Contributor {
    const ROLE: Role = Role::Contributor;
}
impl Least for Owner {
    const ROLE: Role = Role::Owner;
}

/// Extractor and proof: a signed-in person who has at least role `R` on the thing of the request.
pub struct Signed<R: Least> {
    visit: Rc<Visit>,
    pub user: User,
    pub session: SessionFacts,
    role: PhantomData<R>,
}

/// Proof that the password was typed a short while ago.
pub struct RecentPassword(());

impl<R: Least> Signed<R> {
    /// Who is written in operations and in the activity log.
    pub fn actor(&self) -> Actor {
        Actor {
            user_id: Some(self.user.id.clone()),
            name: self.user.login.clone(),
            address: self.address.clone(),
        }
    }

    /// A line of the activity log for something that succeeded; change fields for the rest.
    pub fn activity(&self, action: &'static str, subject: &str) -> NewActivity {
        line(self.actor(), action, subject)
    }

    /// For delicate actions: the password was typed in the last five minutes, else the person is
    /// sent to type it and comes back to `return_to`, a page that is shown by GET.
    ///
    /// # Errors
    /// The way to the page that asks.
    pub fn require_recent_password(&self, return_to: &str) -> Result<RecentPassword, PageError> {
        if self.now - self.session.password_at() < STEP_UP_LIFE {
            Ok(RecentPassword(()))
        } else {
            Err(PageError::See(paths::confirm_password(return_to)))
        }
    }
}

impl<R: Least> Deref for Signed<R> {
    type Target = Visit;
    fn deref(&self) -> &Visit {
        &self.visit
    }
}

impl<R: Least> FromRequest for Signed<R> {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visit_of(request).and_then(|visit| {
            let Person { user, session, .. } = check_role(&visit, R::ROLE)?.clone();
            Ok(Signed { visit, user, session, role: PhantomData })
        }))
    }
}

/// The person of a visit, when there is one with at least this role.
///
/// # Errors
/// The way to the sign-in page, not found when the thing is not for them to know of, or the refusal.
pub fn check_role(visit: &Visit, least: Role) -> Result<&Person, PageError> {
    let Some(person) = &visit.person else {
        return Err(PageError::See(paths::sign_in_then(&visit.path)));
    };
    let role = person.standing.role.ok_or(PageError::NotFound)?;
    if role >= least {
        return Ok(person);
    }
    Err(PageError::Forbidden(format!(
        "This needs the role {}. Your role is {}.",
        least.key(),
        role.key()
    )))
}
