//! What a person sees when a request is not answered: what happened and what to do, with a reference
//! to find it in the log. Handlers return [`PageError`]; [`super::headers`] draws the page, because
//! only there the visitor is known.

use crate::domain::refusal::Refusal;
use crate::secrets::SecretError;
use crate::store::StoreError;
use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use std::error::Error;
use std::fmt;

/// Answer of every page handler.
pub type PageResult = Result<HttpResponse, PageError>;

/// Why a request is not answered with its page.
#[derive(Debug)]
pub enum PageError {
    /// Go there instead (303): sign in, or type the password again.
    See(String),
    /// The request makes no sense; the text says in which way.
    Bad(String),
    /// The person may not do this; the text says who may.
    Forbidden(String),
    /// There is no such thing, or it is not for this person.
    NotFound,
    /// The path exists, but not for this method.
    Method,
    /// The request took longer to arrive than we wait.
    Slow,
    /// What is asked does not fit how things stand; the text says how they stand and what to do.
    Conflict(String),
    /// The body is larger than any form of ours.
    TooLarge,
    /// The form is not acceptable, and there is no form to show again.
    Invalid(String),
    /// Too many requests; seconds until the next is answered.
    TooMany { text: String, retry_seconds: i64 },
    /// Our fault. The cause goes to the log, never to the page.
    Internal(Box<dyn Error + Send + Sync>),
    /// The metadata database does not answer.
    Unavailable(Box<dyn Error + Send + Sync>),
}

/// What the error page says; travels with the response to the outermost middleware.
#[derive(Debug, Clone)]
pub struct ErrorDetail {
    pub heading: &'static str,
    /// What happened.
    pub what: String,
    /// What to do.
    pub advice: String,
    /// The cause with everything below it; only for the log.
    pub cause: Option<String>,
}

impl PageError {
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        PageError::Internal(cause.into())
    }

    fn detail(&self) -> ErrorDetail {
        let say = |heading, what: &str, advice: &str| ErrorDetail {
            heading,
            what: what.to_owned(),
            advice: advice.to_owned(),
            cause: None,
        };
        match self {
            PageError::See(_) => say("See other", "This page is elsewhere.", ""),
            PageError::Bad(text) => say(
                "This request is not understood",
                text,
                "Nothing was changed. Go back, reload the page and try again.",
            ),
            PageError::Forbidden(text) => say(
                "You may not do this",
                text,
                "Nothing was changed. An owner can change what you may do.",
            ),
            PageError::NotFound => say(
                "There is nothing here",
                "The page or the thing it shows does not exist, or was deleted.",
                "Check the address, or start from the list of servers.",
            ),
            PageError::Method => say(
                "This address does not do that",
                "The page exists, but not for this kind of request.",
                "Open the page from its link, and use the buttons on it.",
            ),
            PageError::Slow => say(
                "The request took too long to arrive",
                "It was not complete after 30 seconds. Nothing was changed.",
                "Check the connection and send it again.",
            ),
            PageError::Conflict(text) => say(
                "This does not go right now",
                text,
                "Nothing was changed. Reload the page to see how things stand, then try again.",
            ),
            PageError::TooLarge => say(
                "That is too much",
                "A request to the portal has at most 1 MiB. Nothing was changed.",
                "Send less text at once.",
            ),
            PageError::Invalid(text) => say(
                "The form cannot be accepted",
                text,
                "Nothing was changed. Go back, correct it and send it again.",
            ),
            PageError::TooMany { text, .. } => {
                say("Too many requests", text, "Nothing was changed. Wait, then try again.")
            }
            PageError::Internal(cause) => failed(
                say(
                    "Something went wrong on our side",
                    "The portal met an error it did not expect. Managed servers are not affected.",
                    "Try again. If it stays, look for the reference below in the log of pgflex.",
                ),
                cause.as_ref(),
            ),
            PageError::Unavailable(cause) => failed(
                say(
                    "The portal cannot reach its database",
                    "Nothing was changed. Managed servers and connections to them go on.",
                    "Try again in a minute. If it stays, check the metadata database of pgflex.",
                ),
                cause.as_ref(),
            ),
        }
    }
}

fn failed(detail: ErrorDetail, cause: &(dyn Error + Send + Sync)) -> ErrorDetail {
    ErrorDetail { cause: Some(chain(cause)), ..detail }
}

/// An error with all its causes in one line.
pub fn chain(error: &(dyn Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail().what)
    }
}

impl ResponseError for PageError {
    fn status_code(&self) -> StatusCode {
        match self {
            PageError::See(_) => StatusCode::SEE_OTHER,
            PageError::Bad(_) => StatusCode::BAD_REQUEST,
            PageError::Forbidden(_) => StatusCode::FORBIDDEN,
            PageError::NotFound => StatusCode::NOT_FOUND,
            PageError::Method => StatusCode::METHOD_NOT_ALLOWED,
            PageError::Slow => StatusCode::REQUEST_TIMEOUT,
            PageError::Conflict(_) => StatusCode::CONFLICT,
            PageError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            PageError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            PageError::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            PageError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            PageError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            PageError::See(path) => {
                return response.insert_header((LOCATION, path.clone())).finish();
            }
            PageError::TooMany { retry_seconds, .. } => {
                response.insert_header((RETRY_AFTER, retry_seconds.to_string()));
            }
            _ => {}
        }
        let mut response = response.finish();
        response.extensions_mut().insert(self.detail());
        response
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        use sqlx::Error as Sql;
        match error {
            StoreError::Stale => {
                PageError::Conflict("Somebody else changed this at the same moment.".into())
            }
            StoreError::Database(Sql::PoolTimedOut | Sql::PoolClosed | Sql::Io(_)) => {
                PageError::Unavailable(Box::new(error))
            }
            other => PageError::internal(other),
        }
    }
}

impl From<Refusal> for PageError {
    fn from(refusal: Refusal) -> Self {
        PageError::Conflict(refusal.text)
    }
}

impl From<SecretError> for PageError {
    fn from(error: SecretError) -> Self {
        PageError::internal(error)
    }
}

impl From<askama::Error> for PageError {
    fn from(error: askama::Error) -> Self {
        PageError::internal(error)
    }
}
