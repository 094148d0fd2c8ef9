//! What a restore comes from: a server that is there or one that was deleted, and the draft of the form about it.

use super::backups_facts::is_away;
use super::create_form::CreateForm;
use super::create_password::PasswordState;
use super::nav::Frame;
use super::restore_form::{RestoreForm, Way};
use crate::domain::backup::{Protection, Window};
use crate::domain::ids::{DraftId, GroupId, OperationId, ServerId};
use crate::domain::placement::HostLoad;
use crate::domain::server::ServerSpec;
use crate::store::deleted_servers::DeletedServer;
use crate::web::error::PageError;
use crate::web::paths;
use crate::web::visit::{Contributor, Signed, Visit};
use chrono::{DateTime, Utc};

/// Where the form stands: below a server that is there, or by itself.
pub enum Place {
    Live(Box<Frame>),
    Deleted(Box<DeletedServer>),
}

/// The server that is restored from, as far as it is known.
pub struct Source {
    pub id: ServerId,
    pub spec: ServerSpec,
    pub group_id: GroupId,
    pub protection: Protection,
    /// Until when a deleted one is kept.
    pub erase_after: Option<DateTime<Utc>>,
    pub loads: Vec<HostLoad>,
    /// Number of the repository that is restored from.
    pub repository: i64,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn of(visit: &Visit, place: &Place) -> Result<Self, PageError> {
        let (id, spec, group, erase_after) = match place {
            Place::Live(frame) => {
                let server = &frame.server;
                (&server.id, &server.spec, &server.group_id, None)
            }
            Place::Deleted(server) => {
                (&server.id, &server.spec, &server.group_id, Some(server.erase_after))
            }
        };
        let protection = visit.state.store.protection(id).await?;
        let loads = visit.state.store.host_loads_all().await?;
        Ok(Self {
            repository: protection.to_restore_from(|host| is_away(&loads, host)),
            protection,
            loads,
            id: id.clone(),
            spec: spec.clone(),
            group_id: group.clone(),
            erase_after,
        })
    }

    /// The repository that a form names: that of its backup, or the one that was chosen among several.
    pub fn follow(&mut self, form: &RestoreForm) {
        let mut of = self.protection.backups.iter().filter(|one| one.label == form.backup);
        let by_backup = of.next().filter(|_| Way::parse(&form.to) == Some(Way::Backup));
        let chosen = by_backup.map(|one| one.repository).or(form.repository.parse().ok());
        if let Some(number) = chosen.filter(|number| self.holding().contains(number)) {
            self.repository = number;
        }
    }

    /// Numbers of the repositories that hold something to be restored.
    pub fn holding(&self) -> Vec<i64> {
        let numbers = self.protection.repositories.iter().map(|one| one.number);
        numbers.filter(|number| self.protection.good_in(*number).next().is_some()).collect()
    }

    /// Where a repository is, "on host NAME" or "in the object storage LOCATION", and whether its host answers.
    pub fn place(&self, number: i64) -> (String, bool) {
        let found = self.protection.repositories.iter().find(|one| one.number == number);
        if let Some(location) = found.and_then(|one| one.location.as_ref()) {
            return (format!("in the object storage {location}"), true);
        }
        let load = found.and_then(|one| self.loads.iter().find(|load| load.host.id == one.host_id));
        match load {
            Some(load) => (format!("on host {}", load.host.name), load.facts.is_some()),
            None => ("on a host that is not known any more".into(), false),
        }
    }

    pub fn window(&self) -> Window {
        self.protection.window_of(self.repository)
    }

    pub fn is_deleted(&self) -> bool {
        self.erase_after.is_some()
    }

    /// The form's address.
    pub fn form_path(&self) -> String {
        if self.is_deleted() {
            paths::deleted_restore(&self.id)
        } else {
            paths::server_restore(&self.id)
        }
    }

    pub fn review_path(&self) -> String {
        format!("{}/review", self.form_path())
    }

    /// The form of a draft.
    pub fn draft_path(&self, draft: &DraftId) -> String {
        format!("{}?draft={draft}", self.form_path())
    }

    /// Where a person came from.
    pub fn back(&self) -> String {
        if self.is_deleted() { paths::servers_deleted() } else { paths::server_backups(&self.id) }
    }
}

/// A draft of this source.
pub struct Kept {
    pub id: DraftId,
    pub form: RestoreForm,
    pub sealed: Option<Vec<u8>>,
    pub operation: Option<OperationId>,
}

impl Kept {
    /// Reads a person's own draft; `None` when there is none, or it is of something else.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(
        visit: &Signed<Contributor>,
        source: &Source,
        id: &str,
    ) -> Result<Option<Self>, PageError> {
        let Some(id) = DraftId::parse(id) else { return Ok(None) };
        let Some(draft) = visit.state.store.draft(&id, &visit.user.id).await? else {
            return Ok(None);
        };
        let form: RestoreForm = serde_json::from_str(&draft.form).unwrap_or_default();
        let is_of_it = form.source == source.id.as_str();
        let (sealed, operation) = (draft.sealed_password, draft.operation_id);
        Ok(is_of_it.then_some(Self { id, form, sealed, operation }))
    }

    pub fn password(&self) -> PasswordState {
        let form = CreateForm {
            admin_login: self.form.password_login.clone(),
            password_login: self.form.password_login.clone(),
            ..CreateForm::default()
        };
        PasswordState::of(&form, self.sealed.is_some())
    }
}

/// The deleted server of a URL, as far as it can still be restored.
///
/// # Errors
/// The way to its own page when it is there; not found otherwise.
pub async fn deleted(visit: &Visit, id: &str) -> Result<Place, PageError> {
    let (store, viewer) = (&visit.state.store, visit.viewer()?);
    let id = ServerId::parse(id).ok_or(PageError::NotFound)?;
    let found = store.deleted_server(&id, &viewer).await?;
    let found = found.filter(|one| one.erased_at.is_none() && one.erase_after > visit.now);
    if let Some(one) = found {
        return Ok(Place::Deleted(Box::new(one)));
    }
    match store.server_seen_by(&id, &viewer).await? {
        Some(server) => Err(PageError::See(paths::server_restore(&server.id))),
        None => Err(PageError::NotFound),
    }
}
