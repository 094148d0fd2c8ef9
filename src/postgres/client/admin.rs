//! The administrator: every right that a team needs on its server, none that leaves the server.
//!
//! The verifier is never part of a statement's text. It travels as a parameter into a setting of the
//! session, and PostgreSQL itself quotes it into the one statement that takes it, inside a block. So it shows
//! neither in the server's log nor in `pg_stat_activity` nor in `pg_stat_statements`.

use crate::domain::names::AdminLogin;
use crate::postgres::PostgresError;
use crate::secrets::Secret;
use tokio_postgres::{Client, Error};

/// Nothing of this transaction is written down by the server; `true` ends the settings with it.
/// Statistics and audit may not be loaded: a setting with a point in its name can be set all the same.
pub(super) const QUIET: &str = "SELECT \
    set_config('log_statement', 'none', true), \
    set_config('log_min_duration_statement', '-1', true), \
    set_config('log_min_duration_sample', '-1', true), \
    set_config('log_transaction_sample_rate', '0', true), \
    set_config('log_duration', 'off', true), \
    set_config('log_parameter_max_length', '0', true), \
    set_config('log_parameter_max_length_on_error', '0', true), \
    set_config('log_min_error_statement', 'panic', true), \
    set_config('log_min_messages', 'panic', true), \
    set_config('pg_stat_statements.track', 'none', true), \
    set_config('auto_explain.log_min_duration', '-1', true), \
    set_config('pgaudit.log', 'none', true), \
    set_config('pgaudit.role', '', true)";

pub(super) const HAND_OVER: &str = "SELECT \
    set_config('pgflex.admin_login', $1::text, true), \
    set_config('pgflex.admin_verifier', $2::text, true)";

const SCRIPT: &str = include_str!("admin.sql");

/// Whether the text is a SCRAM-SHA-256 verifier: anything else PostgreSQL would take for a password.
pub(super) fn check_verifier(verifier: &Secret) -> Result<(), PostgresError> {
    let is_base64 = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
    };
    let parse = || {
        let rest = verifier.reveal().strip_prefix("SCRAM-SHA-256$")?;
        let (rounds, rest) = rest.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        rounds.parse::<u32>().ok().filter(|rounds| *rounds >= 4096)?;
        [salt, stored, server].into_iter().all(is_base64).then_some(())
    };
    parse().ok_or_else(|| {
        PostgresError::Refused(
            "the administrator's password is not kept as a SCRAM verifier".into(),
        )
    })
}

pub(super) async fn ensure(
    mut client: Client,
    login: &AdminLogin,
    verifier: &Secret,
) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(QUIET).await?;
    transaction.query_one(HAND_OVER, &[&login.as_str(), &verifier.reveal()]).await?;
    transaction.batch_execute(SCRIPT).await?;
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::scram_verifier;

    #[test]
    fn only_a_verifier_is_a_verifier() {
        assert!(check_verifier(&scram_verifier(&Secret::new("Secret-123"))).is_ok());
        for bad in [
            "",
            "Secret-123",
            "SCRAM-SHA-256$1:AA==$AA==:AA==",
            "SCRAM-SHA-256$4096:AA==$AA==:",
            "SCRAM-SHA-256$4096:AA==$AA==:A'; DROP",
            "md5aaaa",
        ] {
            assert!(check_verifier(&Secret::new(bad)).is_err(), "{bad}");
        }
    }
}
