//! The administrator's password on a running member, as its verifier.

use super::{PostgresError, Target};
use crate::domain::names::AdminLogin;
use crate::secrets::Secret;
use async_trait::async_trait;

/// Nothing of a verifier is written down by the server: not in its log, not in its statistics.
#[async_trait]
pub trait Passwords: Send + Sync {
    /// The verifier that the administrator has now; `None` when the role has no password.
    async fn admin_verifier(
        &self,
        target: &Target,
        login: &AdminLogin,
    ) -> Result<Option<Secret>, PostgresError>;

    /// Gives the administrator this verifier, or takes the password away. Refused when there is no such
    /// role, or it is a superuser.
    async fn set_admin_verifier(
        &self,
        target: &Target,
        login: &AdminLogin,
        verifier: Option<&Secret>,
    ) -> Result<(), PostgresError>;

    /// Ends every session of the administrator; how many were told to end.
    async fn end_admin_sessions(
        &self,
        target: &Target,
        login: &AdminLogin,
    ) -> Result<i64, PostgresError>;
}
