//! Reading the body of a request: never more than 1 MiB and never longer than 30 seconds.

use crate::web::error::PageError;
use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap};
use actix_web::web::{Bytes, BytesMut};
use futures_util::StreamExt;
use std::time::Duration;

/// Bytes of one request, at most.
pub const BODY_MAX: usize = 1024 * 1024;
/// A body that is not there after this long is given up.
const BODY_TIME: Duration = Duration::from_secs(30);

/// Whether the head already says that the body is too large.
pub fn is_announced_too_large(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok())
        .is_some_and(|length| length > BODY_MAX as u64)
}

/// The whole body.
///
/// # Errors
/// When it is too large, too slow or breaks off.
pub async fn read(payload: Payload) -> Result<Bytes, PageError> {
    tokio::time::timeout(BODY_TIME, collect(payload)).await.map_err(|_| PageError::Slow)?
}

async fn collect(mut payload: Payload) -> Result<Bytes, PageError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| PageError::Bad("The request broke off.".into()))?;
        if body.len() + chunk.len() > BODY_MAX {
            return Err(PageError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
