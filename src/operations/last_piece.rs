//! The piece of the log that a server writes now, ended and archived: what was committed until then can be restored.
//! Whoever asks goes on without it where the server or its archive does not answer, and says so.

use super::access;
use super::context::Services;
use crate::domain::backup::Piece;
use crate::domain::ha::Lsn;
use crate::domain::ids::ServerId;
use crate::domain::server::{Server, SettledState};
use crate::postgres::Target;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// A piece that was ended, by what is in it: every commit before `at` is in the log before `place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub at: DateTime<Utc>,
    pub place: Lsn,
}

/// Ends the piece that a server writes now.
///
/// # Errors
/// A sentence that says why it could not be done.
pub async fn end(services: &Services, server: &ServerId) -> Result<Ended, String> {
    let target = target(services, server).await?;
    let marker = services.postgres.end_piece(&target).await.map_err(|error| error.to_string())?;
    Ok(Ended { at: marker.at, place: marker.lsn })
}

/// Whether the archive has taken a piece that was ended.
///
/// # Errors
/// A sentence that says why that is not known.
pub async fn is_archived(
    services: &Services,
    server: &ServerId,
    ended: &Ended,
) -> Result<bool, String> {
    let target = target(services, server).await?;
    let look = services.postgres.archiver(&target).await.map_err(|error| error.to_string())?;
    let last = look.archived.and_then(|(name, _)| Piece::archived(&name, look.piece_bytes));
    Ok(last.is_some_and(|last| last.end(look.piece_bytes) >= ended.place))
}

/// A server that archives, and runs.
async fn target(services: &Services, id: &ServerId) -> Result<Target, String> {
    let asked = async {
        let Some(server) = services.store.server(id).await? else {
            return Ok(Err("the server was deleted".to_owned()));
        };
        if services.store.repositories(id).await?.is_empty() {
            return Ok(Err("its log is not archived".to_owned()));
        }
        if server.settled == SettledState::Stopped {
            return Ok(Err("it is stopped".to_owned()));
        }
        reach(services, &server).await
    };
    match asked.await {
        Ok(found) => found,
        Err::<_, super::step::StepError>(error) => Err(error.to_string()),
    }
}

async fn reach(
    services: &Services,
    server: &Server,
) -> Result<Result<Target, String>, super::step::StepError> {
    let member = services.store.members(&server.id).await?.into_iter().next();
    let driven = member.and_then(|member| Some((services.engines.get(&member.host_id)?, member)));
    let Some((engine, member)) = driven else { return Ok(Err("its host is not there".into())) };
    match access::address_of(&engine, &member).await? {
        Some(address) => Ok(Ok(access::target(services, server, address).await?)),
        None => Ok(Err("it does not run".into())),
    }
}
