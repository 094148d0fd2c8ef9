//! The draft behind the create form: one row for each form that somebody fills in, theirs alone.

use super::create_form::CreateForm;
use crate::clock::new_id;
use crate::domain::ids::{DraftId, OperationId};
use crate::store::StoreError;
use crate::store::drafts::Draft;
use crate::web::error::PageError;
use crate::web::visit::{Contributor, Signed};

/// A draft as read.
pub struct Kept {
    pub id: DraftId,
    pub form: CreateForm,
    /// The sealed verifier of the password.
    pub sealed: Option<Vec<u8>>,
    /// The operation that was made of it.
    pub operation: Option<OperationId>,
}

impl Kept {
    fn new(draft: Draft) -> Self {
        // A form of an older version of pgflex may lack fields: they get their defaults.
        let form = serde_json::from_str(&draft.form).unwrap_or_default();
        let Draft { id, sealed_password: sealed, operation_id: operation, .. } = draft;
        Self { id, form, sealed, operation }
    }

    fn empty(id: DraftId) -> Self {
        Self { id, form: CreateForm::default(), sealed: None, operation: None }
    }
}

/// The draft of a URL or of the review page.
///
/// # Errors
/// Not found, when there is none or it is somebody else's.
pub async fn find(visit: &Signed<Contributor>, id: &str) -> Result<Kept, PageError> {
    let id = DraftId::parse(id).ok_or(PageError::NotFound)?;
    let draft = visit.state.store.draft(&id, &visit.user.id).await?;
    draft.map(Kept::new).ok_or(PageError::NotFound)
}

/// The draft that a posted form belongs to. A form whose draft was forgotten goes on as it is; one
/// whose draft became a server goes on as a new draft, so that going back in the browser and changing
/// the name makes a second server.
///
/// # Errors
/// When the store does not answer.
pub async fn of_form(visit: &Signed<Contributor>, id: &str) -> Result<Kept, PageError> {
    let Some(id) = DraftId::parse(id) else { return Ok(Kept::empty(new_draft())) };
    match visit.state.store.draft(&id, &visit.user.id).await?.map(Kept::new) {
        None => Ok(Kept::empty(id)),
        Some(used) if used.operation.is_some() => {
            Ok(Kept { id: new_draft(), sealed: None, operation: None, ..used })
        }
        Some(kept) => Ok(kept),
    }
}

/// Keeps the form, and the password when there is a new one.
///
/// # Errors
/// Not found, when the draft is somebody else's.
pub async fn save(
    visit: &Signed<Contributor>,
    id: &DraftId,
    form: &CreateForm,
    sealed: Option<Vec<u8>>,
) -> Result<(), PageError> {
    let text = serde_json::to_string(form).map_err(PageError::internal)?;
    let saved = visit.state.store.put_draft(visit.now, &visit.user.id, id, &text, sealed).await;
    saved.map_err(|error| match error {
        StoreError::Stale => PageError::NotFound,
        other => other.into(),
    })
}

pub fn new_draft() -> DraftId {
    new_id(DraftId::parse)
}
