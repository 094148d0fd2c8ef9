//! The frame around every page of one server: name, state, endpoint, tabs, actions, and a banner when one is needed.

use super::drift_notice::{self, DriftNotice};
use super::paused::Paused;
use super::pending;
use crate::clock::new_uuid;
use crate::config::Config;
use crate::domain::cost::PriceList;
use crate::domain::group::Group;
use crate::domain::ha::HighAvailability;
use crate::domain::ids::ServerId;
use crate::domain::lock::{self, Act, Lock};
use crate::domain::operation::{Operation, OperationKind, OperationStatus, StepRecord, StepStatus};
use crate::domain::refusal::Refusal;
use crate::domain::server::{Server, ServerState, SettledState};
use crate::operations::submit::{Change, Door, SubmitError};
use crate::store::operations::OperationFilter;
use crate::web::error::PageError;
use crate::web::form::Posted;
use crate::web::label::Chip;
use crate::web::page::{self, Layout, Nav};
use crate::web::paths;
use crate::web::state::AppState;
use crate::web::visit::{Least, Signed, Visit};
use actix_web::HttpResponse;
use uuid::Uuid;

pub use super::nav_gone::gone;

/// Which page of a server is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    Overview,
    Connect,
    HighAvailability,
    Backups,
    Activity,
    Compute,
    Storage,
    Networking,
    Databases,
    Parameters,
    Extensions,
    Pooling,
    Tags,
    Locks,
    Cost,
    /// A page that an action asks on.
    Action,
}

/// What `servers/frame.html` needs: the field `frame` of every page below `/servers/{id}`.
pub struct Frame {
    pub server: Server,
    pub tab: Tab,
    pub endpoint: Endpoint,
    pub notice: Option<Notice>,
    /// The resource group that the server is in.
    pub group: Option<Group>,
    /// Every lock that holds for the server: its own first, then those of its group.
    pub locks: Vec<Lock>,
    /// What is to be known of a stopped server.
    pub paused: Option<Paused>,
    /// Settings that wait for a restart.
    pub pending: Option<pending::Pending>,
    /// What is otherwise on its host than on record.
    pub drift: Option<DriftNotice>,
    /// The row of its pair; `None` without high availability.
    pub ha: Option<HighAvailability>,
    may_change: bool,
    is_owner: bool,
}

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and the server's own port; works wherever the gateway is reached.
    pub host: String,
    pub port: u16,
    /// Name of its own and the shared port; `None` when the shared port is switched off.
    pub by_name: Option<(String, u16)>,
}

impl Endpoint {
    pub fn of(server: &Server, config: &Config) -> Self {
        let args = &config.args;
        let name = format!("{}.{}", server.spec.name, args.endpoint_domain).to_ascii_lowercase();
        Self {
            host: args.endpoint_host.clone(),
            port: server.port,
            by_name: (args.gateway_shared_port != 0).then_some((name, args.gateway_shared_port)),
        }
    }

    /// `host:port` with the server's own port.
    pub fn text(&self) -> String {
        host_and_port(&self.host, self.port)
    }

    /// The same with its name and the shared port.
    pub fn name_text(&self) -> Option<String> {
        self.by_name.as_ref().map(|(name, port)| host_and_port(name, *port))
    }
}

fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// The banner of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// CSS class of the banner.
    pub class: &'static str,
    pub title: String,
    pub text: String,
    pub advice: String,
    /// The operation's page.
    pub operation: String,
    /// Where a retry is posted and under which key.
    pub retry: Option<(String, String)>,
    /// Where the server can be deleted instead.
    pub delete: Option<String>,
}

/// Finds the server of a URL, as far as the visitor may see it, and puts its frame together. `None`: go on with [`gone`].
///
/// # Errors
/// When the store does not answer.
pub async fn frame(visit: &Visit, id: &str, tab: Tab) -> Result<Option<Frame>, PageError> {
    let Some(id) = ServerId::parse(id) else { return Ok(None) };
    let (store, viewer, may_change) = (&visit.state.store, visit.viewer()?, visit.may_change());
    let Some(server) = store.server_seen_by(&id, &viewer).await? else { return Ok(None) };
    Ok(Some(Frame {
        group: store.group(&server.group_id, &viewer).await?,
        locks: store.locks_on_server(&id).await?,
        is_owner: visit.is_owner_here(),
        endpoint: Endpoint::of(&server, &visit.state.config),
        notice: notice(&visit.state, &server, may_change).await?,
        pending: pending::of(&visit.state, &server, tab).await?,
        drift: drift_notice::of(visit, &server, may_change).await?,
        ha: store.ha(&id).await?,
        tab,
        may_change,
        paused: Paused::of(&server, visit.now),
        server,
    }))
}

async fn notice(
    state: &AppState,
    server: &Server,
    may_change: bool,
) -> Result<Option<Notice>, PageError> {
    if server.active.is_some() {
        let Some(operation) = state.store.active_operation(&server.id).await? else {
            return Ok(None);
        };
        let steps = state.store.operation_steps(&operation.id).await?;
        return Ok(Some(under_way(&operation, &steps)));
    }
    if server.settled != SettledState::Failed {
        return Ok(None);
    }
    let filter = OperationFilter { server_id: Some(server.id.clone()), ..Default::default() };
    let last = state.store.operations(&filter).await?.into_iter().next();
    Ok(last.map(|operation| failed(&operation, may_change)))
}

fn under_way(operation: &Operation, steps: &[StepRecord]) -> Notice {
    let label = operation.kind.label();
    let at = step_text(steps);
    let (class, title, text) = match operation.status {
        OperationStatus::Queued => {
            ("banner-info", format!("“{label}” is queued."), "It starts in a moment.".into())
        }
        OperationStatus::Undoing => (
            "banner-warn",
            format!("“{label}” failed and is being taken back."),
            operation.error.clone().unwrap_or_default(),
        ),
        OperationStatus::NeedsAttention => (
            "banner-danger",
            format!("“{label}” needs attention."),
            operation.error.clone().unwrap_or_else(|| "It cannot go on by itself.".into()),
        ),
        OperationStatus::Running
        | OperationStatus::Succeeded
        | OperationStatus::Failed
        | OperationStatus::Cancelled => ("banner-info", format!("“{label}” is under way."), at),
    };
    Notice {
        class,
        title,
        text,
        advice: advice(operation),
        operation: paths::operation(&operation.id),
        retry: None,
        delete: None,
    }
}

/// Advice belongs to a failure; before there is one, nothing needs to be done.
fn advice(operation: &Operation) -> String {
    match operation.status {
        OperationStatus::NeedsAttention | OperationStatus::Failed | OperationStatus::Cancelled => {
            operation.advice.clone().unwrap_or_default()
        }
        OperationStatus::Queued
        | OperationStatus::Running
        | OperationStatus::Undoing
        | OperationStatus::Succeeded => String::new(),
    }
}

/// “Step 4 of 11: Start PostgreSQL.”
fn step_text(steps: &[StepRecord]) -> String {
    let is_open = |step: &&StepRecord| {
        matches!(step.status, StepStatus::Pending | StepStatus::Running | StepStatus::Waiting)
    };
    match steps.iter().find(is_open) {
        Some(step) => format!("Step {} of {}: {}.", step.ordinal + 1, steps.len(), step.title),
        None => "It is about to end.".into(),
    }
}

fn failed(operation: &Operation, may_change: bool) -> Notice {
    let can_retry =
        matches!(operation.status, OperationStatus::Failed | OperationStatus::Cancelled)
            && may_change;
    Notice {
        class: "banner-danger",
        title: match operation.status {
            OperationStatus::Cancelled => {
                format!("“{}” was cancelled; what it had made was removed.", operation.kind.label())
            }
            _ => format!("“{}” failed.", operation.kind.label()),
        },
        text: operation.error.clone().unwrap_or_default(),
        advice: advice(operation),
        operation: paths::operation(&operation.id),
        retry: can_retry.then(|| (paths::operation_retry(&operation.id), new_uuid())),
        delete: may_change.then(|| paths::server_delete(&operation.server_id)),
    }
}

impl Frame {
    /// The frame as it is now: after a refusal the page shows what came first, with the way to it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn renewed(self, visit: &Visit) -> Result<Self, PageError> {
        let (id, tab) = (self.server.id.clone(), self.tab);
        Ok(frame(visit, id.as_str(), tab).await?.unwrap_or(self))
    }

    /// The layout of one of the server's pages.
    pub fn layout(&self, visit: &Visit, page: &str) -> Layout {
        visit.layout(format!("{} · {page}", self.server.spec.name), Nav::Servers)
    }

    pub fn name(&self) -> &str {
        self.server.spec.name.as_str()
    }

    pub fn chip(&self) -> Chip {
        self.server.state().into()
    }

    /// The second port, while it leads to PgBouncer.
    pub fn pooled_endpoint(&self) -> Option<Endpoint> {
        let port = self.server.pooler_port.filter(|_| self.server.configuration.pooler.enabled)?;
        Some(Endpoint { port, by_name: None, ..self.endpoint.clone() })
    }

    pub fn may_change(&self) -> bool {
        self.may_change
    }

    /// Whether this person may set locks on the server.
    pub fn is_owner(&self) -> bool {
        self.is_owner
    }

    /// Why nothing can be changed by anybody; `None` when no lock forbids it.
    pub fn why_read_only(&self) -> Option<String> {
        lock::check(&self.locks, Act::Change).err().map(|refusal| refusal.text)
    }

    pub fn locks_path(&self) -> String {
        paths::server_locks(&self.server.id)
    }

    /// The page that moves the server to another group.
    pub fn move_path(&self) -> String {
        paths::server_group(&self.server.id)
    }

    pub fn group_path(&self) -> String {
        paths::group(&self.server.group_id)
    }

    /// What this server costs: with high availability it pays for both members.
    pub fn prices(&self, config: &Config) -> PriceList {
        config.prices.for_members(if self.ha.is_some() { 2 } else { 1 })
    }

    pub fn is_private(&self) -> bool {
        self.server.spec.access == crate::domain::network::Access::Private
    }

    pub fn is_ready(&self) -> bool {
        self.server.state() == ServerState::Ready
    }

    /// The pages of the server, in groups.
    pub fn menu(&self) -> [MenuGroup; 3] {
        let id = &self.server.id;
        let entry = |label, path: String, tab| MenuEntry { label, path, is_here: tab == self.tab };
        [
            MenuGroup {
                label: "",
                entries: vec![
                    entry("Overview", paths::server(id), Tab::Overview),
                    entry("Connect", paths::server_connect(id), Tab::Connect),
                    entry("High availability", paths::server_ha(id), Tab::HighAvailability),
                    entry("Backup and restore", paths::server_backups(id), Tab::Backups),
                    entry("Activity", paths::server_activity(id), Tab::Activity),
                ],
            },
            MenuGroup {
                label: "Settings",
                entries: vec![
                    entry("Compute", paths::server_compute(id), Tab::Compute),
                    entry("Storage", paths::server_storage(id), Tab::Storage),
                    entry("Networking", paths::server_networking(id), Tab::Networking),
                    entry("Databases", paths::server_databases(id), Tab::Databases),
                    entry("Server parameters", paths::server_parameters(id), Tab::Parameters),
                    entry("Extensions", paths::server_extensions(id), Tab::Extensions),
                    entry("Connection pooling", paths::server_pooling(id), Tab::Pooling),
                ],
            },
            MenuGroup {
                label: "Governance",
                entries: vec![
                    entry("Tags", paths::server_tags(id), Tab::Tags),
                    entry("Locks", paths::server_locks(id), Tab::Locks),
                    entry("Cost", paths::server_cost(id), Tab::Cost),
                ],
            },
        ]
    }

    pub fn connect_path(&self) -> String {
        paths::server_connect(&self.server.id)
    }

    pub fn networking_path(&self) -> String {
        paths::server_networking(&self.server.id)
    }

    /// Where the page asks whether the gateways have the rules.
    pub fn effect_path(&self) -> String {
        paths::server_networking_effect(&self.server.id)
    }

    pub fn activity_path(&self) -> String {
        paths::server_activity(&self.server.id)
    }

    /// Why the action is closed now; `None` when it is open.
    pub fn why_closed(&self, kind: OperationKind) -> Option<String> {
        let legal = kind.check_legal(self.server.settled, self.server.active);
        legal.and_then(|()| lock::check(&self.locks, kind.into())).err().map(|refusal| refusal.text)
    }

    /// What can be done with the whole server, open or closed with the reason.
    pub fn actions(&self) -> Vec<Action> {
        let id = &self.server.id;
        let power = if self.server.settled == SettledState::Stopped {
            (OperationKind::Start, "Start", paths::server_start(id))
        } else {
            (OperationKind::Stop, "Stop", paths::server_stop(id))
        };
        [
            power,
            (OperationKind::Restart, "Restart", paths::server_restart(id)),
            (OperationKind::ResetPassword, "Reset password", paths::server_reset_password(id)),
            (OperationKind::Delete, "Delete", paths::server_delete(id)),
        ]
        .map(|(kind, label, path)| Action {
            label,
            path,
            is_danger: kind == OperationKind::Delete,
            is_primary: kind == OperationKind::Start,
            why_closed: self.why_closed(kind),
        })
        .to_vec()
    }

    /// The reasons below the actions, each once, with what it closes: id of the line, what, why.
    pub fn reasons(&self) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = vec![];
        for action in self.actions() {
            let Some(why) = action.why_closed else { continue };
            match reasons.iter_mut().find(|reason| reason.why == why) {
                Some(reason) => reason.closes.push(action.label),
                None => reasons.push(Reason { closes: vec![action.label], why }),
            }
        }
        reasons
    }
}

/// One group of the server's menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuGroup {
    /// Empty for the first.
    pub label: &'static str,
    pub entries: Vec<MenuEntry>,
}

/// One page in the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MenuEntry {
    pub label: &'static str,
    pub path: String,
    pub is_here: bool,
}

/// A button in the head of the server's pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub label: &'static str,
    pub path: String,
    pub is_danger: bool,
    pub is_primary: bool,
    /// `None` when it is open.
    pub why_closed: Option<String>,
}

/// Why actions are closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Labels of what it closes.
    pub closes: Vec<&'static str>,
    pub why: String,
}

impl Reason {
    /// "Restart and Stop are closed".
    pub fn what(&self) -> String {
        let verb = if self.closes.len() == 1 { "is" } else { "are" };
        match self.closes.split_last() {
            Some((last, rest)) if !rest.is_empty() => {
                format!("{} and {last} {verb} closed", rest.join(", "))
            }
            _ => format!("{} {verb} closed", self.closes.concat()),
        }
    }
}

/// The door through which this portal submits operations.
pub fn door(state: &AppState) -> Door<'_> {
    Door { store: &state.store, clock: &*state.clock, poke: &state.poke }
}

/// The idempotency key of a posted form, made the person's own so that keys of two people never meet.
///
/// # Errors
/// When the form carries no key of ours.
pub fn submission_key<R: Least>(visit: &Signed<R>, posted: &Posted) -> Result<String, PageError> {
    let key = Uuid::try_parse(posted.text("idempotency_key"))
        .map_err(|_| PageError::Bad("The form has no valid key. Reload the page.".into()))?;
    Ok(format!("{}:{key}", visit.user.id))
}

/// Submits a change of the server from a posted form: the way to the operation's page, or the refusal for
/// the page that asked, to be shown there with what was typed and status 409.
///
/// # Errors
/// When the form carries no key, or the store does not answer.
pub async fn submit<R: Least>(
    visit: &Signed<R>,
    server: &ServerId,
    posted: &Posted,
    change: Change,
) -> Result<Result<HttpResponse, Refusal>, PageError> {
    let key = submission_key(visit, posted)?;
    let door = door(&visit.state);
    match door.submit_change(change, server, &visit.actor(), Some(&key)).await {
        Ok(operation) => Ok(Ok(page::see(&paths::operation(&operation))?)),
        Err(SubmitError::Refused(refusal)) => Ok(Err(refusal)),
        Err(SubmitError::Store(error)) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "nav_tests.rs"]
mod tests;
