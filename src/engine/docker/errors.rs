//! What bollard says, in our words.

use crate::engine::EngineError;
use bollard::errors::Error;
use std::future::Future;
use std::time::Duration;

/// Runs one call within its deadline. `what` names the object for people.
pub(in crate::engine) async fn within<T>(
    deadline: Duration,
    what: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(result) => result.map_err(|error| explain(what, error)),
        Err(_) => Err(late(what, deadline)),
    }
}

/// The error of a call that had no answer in its time.
pub(in crate::engine) fn late(what: &str, deadline: Duration) -> EngineError {
    EngineError::Silent(format!("no answer about {what} within {} s", deadline.as_secs()))
}

/// Sorts an error by what a caller can do about it.
pub(in crate::engine) fn explain(what: &str, error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => {
            answered(what, status_code, &message)
        }
        Error::DockerStreamError { error } => answered(what, 500, &error),
        // Anything else happened on the way to the engine or back: whether it acted is unknown.
        other => EngineError::Silent(chain(&other)),
    }
}

fn answered(what: &str, status: u16, message: &str) -> EngineError {
    if is_full(message) {
        return EngineError::NoSpace(message.to_owned());
    }
    let text = message.to_ascii_lowercase();
    match status {
        404 if text.contains("no such image") => {
            EngineError::Missing(format!("the image of {what}"))
        }
        // Address pools that are used up are a 404 as well.
        404 if text.contains("no such") || text.contains("not found") => {
            EngineError::Missing(what.to_owned())
        }
        502..=504 => EngineError::Silent(message.to_owned()),
        500 if is_passing(message) => EngineError::Silent(message.to_owned()),
        _ => EngineError::Refused(message.trim().to_owned()),
    }
}

/// The kernel's words for a full disk.
pub(in crate::engine) fn is_full(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("no space left on device") || message.contains("disk quota exceeded")
}

/// The engine's parts talk to each other with deadlines too.
fn is_passing(message: &str) -> bool {
    ["deadline exceeded", "context canceled", "connection refused", "transport is closing"]
        .iter()
        .any(|words| message.contains(words))
}

/// The error with its causes: the outermost alone says only that something went wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(status_code: u16, message: &str) -> EngineError {
        explain("x", Error::DockerResponseServerError { status_code, message: message.into() })
    }

    #[test]
    fn answers_are_sorted_by_what_can_be_done() {
        assert_eq!(from(404, "No such container: x"), EngineError::Missing("x".into()));
        assert_eq!(from(404, "No such image: a"), EngineError::Missing("the image of x".into()));
        assert!(matches!(
            from(404, "could not find an available, non-overlapping IPv4 address pool"),
            EngineError::Refused(_)
        ));
        assert!(matches!(
            from(500, "mkdir /var/lib: no space left on device"),
            EngineError::NoSpace(_)
        ));
        assert!(from(503, "busy").is_transient());
        assert!(from(500, "context deadline exceeded").is_transient());
        assert!(matches!(from(400, "Range of CPUs is from 0.01"), EngineError::Refused(_)));
        assert!(explain("x", Error::RequestTimeoutError).is_transient());
    }
}
