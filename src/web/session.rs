//! Sessions in the store: actix-session holds the cookie, this keeps the row.
//!
//! The cookie's value is stored as its SHA-256. A session exists only for a signed-in person.

use crate::clock::{new_id, random_bytes};
use crate::domain::account::{SESSION_ABSOLUTE, User};
use crate::domain::ids::{SessionId, UserId};
use crate::secrets::{random_token, sha256_hex};
use crate::store::StoreError;
use crate::store::sessions::NewSession;
use crate::web::error::PageError;
use crate::web::state::AppState;
use crate::web::visit::Visit;
use actix_session::config::{BrowserSession, CookieContentSecurity, TtlExtensionPolicy};
use actix_session::storage::{LoadError, SaveError, SessionKey, SessionStore, UpdateError};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::SameSite;
use actix_web::cookie::time::Duration as CookieDuration;
use actix_web::web;
use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What a session holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionFacts {
    pub id: SessionId,
    pub user_id: UserId,
    /// Synchroniser token of every form in this session.
    pub csrf: String,
    signed_in_at: i64,
    password_at: i64,
    address: String,
    user_agent: String,
}

impl SessionFacts {
    pub fn signed_in_at(&self) -> DateTime<Utc> {
        from_micros(self.signed_in_at)
    }

    /// When the password was typed last.
    pub fn password_at(&self) -> DateTime<Utc> {
        from_micros(self.password_at)
    }
}

fn from_micros(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
}

/// Key of the facts in the session's map.
const FACTS: &str = "facts";
/// Name of the cookie, before the prefix for TLS.
const COOKIE: &str = "sid";
/// Longest user agent kept, in bytes of ASCII.
const USER_AGENT_MAX: usize = 300;
/// A session in use is written at most this often.
const SEEN_EVERY: Duration = Duration::minutes(1);

/// A cookie's name: with TLS the browser itself holds it to this host and to secure connections.
pub fn cookie_name(name: &str, is_https: bool) -> String {
    if is_https { format!("__Host-{name}") } else { name.to_owned() }
}

/// Signs a person in: a session with a new id, whatever was there before.
///
/// # Errors
/// Only when our own type does not serialise.
pub fn begin(session: &Session, visit: &Visit, user: &User) -> Result<(), PageError> {
    let now = visit.now.timestamp_micros();
    let facts = SessionFacts {
        id: new_id(SessionId::parse),
        user_id: user.id.clone(),
        csrf: random_token(),
        signed_in_at: now,
        password_at: now,
        address: visit.address.clone(),
        user_agent: visit.user_agent.chars().take(USER_AGENT_MAX).collect(),
    };
    put(session, &facts)
}

/// Notes that the password was typed now, under a new id.
///
/// # Errors
/// Only when our own type does not serialise.
pub fn confirm(
    session: &Session,
    facts: &SessionFacts,
    now: DateTime<Utc>,
) -> Result<(), PageError> {
    put(session, &SessionFacts { password_at: now.timestamp_micros(), ..facts.clone() })
}

fn put(session: &Session, facts: &SessionFacts) -> Result<(), PageError> {
    session.renew();
    session.insert(FACTS, facts).map_err(PageError::internal)
}

/// What the request's session holds, when it has one.
pub fn facts(session: &Session) -> Option<SessionFacts> {
    session.get(FACTS).ok().flatten()
}

/// The middleware that keeps the session's cookie.
pub fn middleware(state: &web::Data<AppState>) -> SessionMiddleware<SqlSessions> {
    let is_https = state.config.is_https();
    let life = BrowserSession::default()
        .state_ttl(CookieDuration::seconds(SESSION_ABSOLUTE.num_seconds()))
        .state_ttl_extension_policy(TtlExtensionPolicy::OnStateChanges);
    SessionMiddleware::builder(SqlSessions(state.clone()), state.cookie_key.clone())
        .cookie_name(cookie_name(COOKIE, is_https))
        .cookie_secure(is_https)
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_path("/".into())
        .cookie_content_security(CookieContentSecurity::Signed)
        .session_lifecycle(life)
        .build()
}

type State = HashMap<String, String>;

/// Sessions as rows of the store.
pub struct SqlSessions(web::Data<AppState>);

impl SqlSessions {
    async fn read(&self, key: &SessionKey) -> Result<Option<String>, StoreError> {
        let (hash, now) = (sha256_hex(key.as_ref()), self.0.now());
        let Some((state, seen_at)) = self.0.store.session_state(&hash, now).await? else {
            return Ok(None);
        };
        if now - seen_at >= SEEN_EVERY {
            self.0.store.touch_session(now, &hash).await?;
        }
        Ok(Some(state))
    }

    async fn insert(&self, state: &State) -> Result<SessionKey, anyhow::Error> {
        let text = state.get(FACTS).ok_or_else(|| anyhow::anyhow!("a session without a person"))?;
        let facts: SessionFacts = serde_json::from_str(text)?;
        let (key, now) = (new_key()?, self.0.now());
        let row = NewSession {
            key_hash: sha256_hex(key.as_ref()),
            id: facts.id.clone(),
            user_id: facts.user_id.clone(),
            state: serde_json::to_string(state)?,
            created_at: facts.signed_in_at(),
            expires_at: facts.signed_in_at() + SESSION_ABSOLUTE,
            address: facts.address,
            user_agent: facts.user_agent,
        };
        self.0.store.insert_session(now, &row).await?;
        Ok(key)
    }
}

/// 256 random bits.
fn new_key() -> Result<SessionKey, anyhow::Error> {
    let text: String = random_bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect();
    text.try_into().map_err(|_| anyhow::anyhow!("a session key of the wrong length"))
}

impl SessionStore for SqlSessions {
    async fn load(&self, key: &SessionKey) -> Result<Option<State>, LoadError> {
        let state = self.read(key).await.map_err(|error| LoadError::Other(error.into()))?;
        state
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| LoadError::Deserialization(error.into()))
    }

    async fn save(&self, state: State, _: &CookieDuration) -> Result<SessionKey, SaveError> {
        self.insert(&state).await.map_err(SaveError::Other)
    }

    async fn update(
        &self,
        key: SessionKey,
        state: State,
        _: &CookieDuration,
    ) -> Result<SessionKey, UpdateError> {
        let text = serde_json::to_string(&state)
            .map_err(|error| UpdateError::Serialization(error.into()))?;
        self.0
            .store
            .update_session(self.0.now(), &sha256_hex(key.as_ref()), &text)
            .await
            .map_err(|error| UpdateError::Other(error.into()))?;
        Ok(key)
    }

    /// The row is touched when it is read; see `read`.
    async fn update_ttl(&self, _: &SessionKey, _: &CookieDuration) -> Result<(), anyhow::Error> {
        Ok(())
    }

    async fn delete(&self, key: &SessionKey) -> Result<(), anyhow::Error> {
        Ok(self.0.store.delete_session(self.0.now(), &sha256_hex(key.as_ref())).await?)
    }
}
