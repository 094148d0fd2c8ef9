//! Posted forms: what came in, what is shown again, and which field is at fault.

use crate::domain::refusal::Refusal;
use crate::secrets::Secret;
use crate::web::error::PageError;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use serde::de::DeserializeOwned;
use std::future::{Ready, ready};
use std::rc::Rc;

/// A posted form whose token the gate has checked. Handlers take it as an argument.
#[derive(Debug, Clone, Default)]
pub struct Posted {
    pairs: Rc<Vec<(String, String)>>,
}

/// Fields of one form, at most: a form with more was not made by us.
const FIELDS_MAX: usize = 600;

impl Posted {
    /// Reads the body of a form; `None` when it is no form. No browser sends a zero byte, and PostgreSQL
    /// holds none in a text.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let pairs: Vec<(String, String)> = serde_html_form::from_bytes(body).ok()?;
        let has_zero = pairs.iter().any(|(key, value)| key.contains('\0') || value.contains('\0'));
        (pairs.len() <= FIELDS_MAX && !has_zero).then(|| Self { pairs: Rc::new(pairs) })
    }

    /// The value of a field, trimmed; empty when it was not sent.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// All values of a repeated field, in order, trimmed.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
    }

    /// A password: not trimmed, not shown.
    pub fn secret(&self, name: &str) -> Secret {
        Secret::new(self.raw(name))
    }

    /// Whether a checkbox or a named button was sent.
    pub fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(key, _)| key == name)
    }

    /// The form as a type of its own; repeated keys become lists.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, PageError> {
        let text =
            serde_html_form::to_string(self.pairs.as_slice()).map_err(PageError::internal)?;
        serde_html_form::from_str(&text)
            .map_err(|error| PageError::Bad(format!("The form is not complete: {error}.")))
    }

    fn raw(&self, name: &str) -> &str {
        self.pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }
}

impl FromRequest for Posted {
    type Error = PageError;
    type Future = Ready<Result<Self, PageError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let posted = request.extensions().get::<Posted>().cloned();
        ready(posted.ok_or_else(|| PageError::Bad("No form was sent.".into())))
    }
}

/// Names of fields that are never shown again.
fn is_secret(name: &str) -> bool {
    name.contains("password") || name == "tls_key" || name == super::token::FIELD
}

/// A form as a page shows it: values kept, errors at their fields. Passwords are never kept.
#[derive(Debug, Clone, Default)]
pub struct FormState {
    values: Vec<(String, String)>,
    errors: Vec<Refusal>,
}

impl FormState {
    /// An empty form.
    pub fn new() -> Self {
        Self::default()
    }

    /// The form as it was sent, without its secrets.
    pub fn keep(posted: &Posted) -> Self {
        let values = posted.pairs.iter().filter(|(name, _)| !is_secret(name)).cloned().collect();
        Self { values, errors: vec![] }
    }

    /// A value for a field that has none yet: defaults of a new form.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        if !self.values.iter().any(|(key, _)| key == name) {
            self.values.push((name.to_owned(), value.into()));
        }
        self
    }

    /// Replaces every value of a field.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.retain(|(key, _)| key != name);
        self.values.push((name.to_owned(), value.into()));
    }

    /// Adds an error, at its field or over the whole form.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.errors.push(refusal);
    }

    /// Takes the value out of a check, or notes its refusal and goes on, so that all faults show at once.
    pub fn check<T>(&mut self, checked: Result<T, Refusal>) -> Option<T> {
        checked.map_err(|refusal| self.refuse(refusal)).ok()
    }

    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// The value of a field; empty when it has none.
    pub fn value(&self, name: &str) -> &str {
        self.values.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }

    /// All values of a repeated field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.values.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a choice or a checkbox with this value is chosen.
    pub fn chosen(&self, name: &str, value: &str) -> bool {
        self.values.iter().any(|(key, kept)| key == name && kept == value)
    }

    /// The error at a field.
    pub fn error(&self, name: &str) -> Option<&str> {
        self.errors.iter().find(|error| error.field == Some(name)).map(|error| error.text.as_str())
    }

    pub fn has_error(&self, name: &str) -> bool {
        self.error(name).is_some()
    }

    /// Whether this field is the first at fault: it gets the focus when there is no other error.
    pub fn is_first_error(&self, name: &str) -> bool {
        self.errors.iter().find_map(|error| error.field) == Some(name)
    }

    /// All errors, for the summary above the form.
    pub fn errors(&self) -> &[Refusal] {
        &self.errors
    }
}

/// One option of a select or a radio group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    pub value: String,
    pub label: String,
    /// A line below the label.
    pub detail: String,
    /// Figures on the card, such as "2 vCores" and "8 GiB".
    pub facts: Vec<String>,
    /// Price line; empty for none.
    pub price: String,
    /// Why it cannot be chosen now; empty when it can.
    pub closed: String,
}

impl Choice {
    pub fn new(value: impl Into<String>, label: impl Into<String>) -> Self {
        Self { value: value.into(), label: label.into(), ..Self::default() }
    }

    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }

    pub fn fact(mut self, text: impl Into<String>) -> Self {
        self.facts.push(text.into());
        self
    }

    pub fn price(mut self, text: impl Into<String>) -> Self {
        self.price = text.into();
        self
    }

    /// Closes the choice with its reason.
    pub fn closed(mut self, reason: impl Into<String>) -> Self {
        self.closed = reason.into();
        self
    }

    pub fn is_closed(&self) -> bool {
        !self.closed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_keeps_values_but_no_passwords() {
        let posted = Posted::parse(b"name=shop&tag=a&tag=b+c&password=hunter2&csrf=x").unwrap();
        assert_eq!(posted.all("tag").collect::<Vec<_>>(), ["a", "b c"]);
        let mut form = FormState::keep(&posted);
        assert_eq!(
            (form.value("name"), form.value("password"), form.value("csrf")),
            ("shop", "", "")
        );
        form.refuse(Refusal::at("name", "No."));
        assert!(!form.is_valid() && form.is_first_error("name"));
        assert_eq!((form.error("name"), form.error("tag")), (Some("No."), None));
    }
}
