//! Pure: the files from which the built-in PgBouncer starts, rendered whole from typed values.

use super::POOLER_ROLE;
use super::conf::ConfigFile;
use crate::domain::configuration::Configuration;
use crate::domain::version::Major;
use crate::secrets::Secret;

/// Port inside the container: the one that everybody knows PgBouncer by.
pub const PORT: u16 = 6432;
/// The directory of the files as PgBouncer sees it.
const PATH: &str = "/var/lib/pgflex/config";
/// The same ciphers as PostgreSQL's: forward secrecy and authenticated encryption only.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

/// What the files depend on.
#[derive(Debug, Clone)]
pub struct PoolerSettings<'a> {
    /// Name in the network that leads to PostgreSQL and stands in its certificate.
    pub server_name: &'a str,
    pub major: Major,
    pub configuration: &'a Configuration,
}

/// What PgBouncer shows to both sides; all PEM.
#[derive(Debug, Clone)]
pub struct PoolerTls<'a> {
    /// The server's certificate and key, which clients see.
    pub certificate: &'a str,
    pub key: &'a Secret,
    /// The installation's root, by which PostgreSQL is known.
    pub root_certificate: &'a str,
    /// By which PostgreSQL knows PgBouncer when it asks for verifiers.
    pub client_certificate: &'a str,
    pub client_key: &'a Secret,
}

/// Whether PgBouncer asks for verifiers in the client's own database: before 1.19 it cannot be told one.
pub fn asks_everywhere(major: Major) -> bool {
    major == Major::V15
}

/// Every file; PgBouncer reads all of them again on SIGHUP.
pub fn all_files(settings: &PoolerSettings<'_>, tls: &PoolerTls<'_>) -> Vec<ConfigFile> {
    let file = |name: &str, content: &str| ConfigFile {
        path: format!("config/{name}"),
        mode: 0o600,
        content: content.as_bytes().to_vec(),
    };
    vec![
        file("pgbouncer.ini", &pgbouncer_ini(settings)),
        file("server.crt", tls.certificate),
        file("server.key", tls.key.reveal()),
        file("root.crt", tls.root_certificate),
        file("client.crt", tls.client_certificate),
        file("client.key", tls.client_key.reveal()),
    ]
}

/// Every value is a number, a word or a path of ours: there is no line to inject.
fn pgbouncer_ini(settings: &PoolerSettings<'_>) -> String {
    let (pooler, path) = (&settings.configuration.pooler, PATH);
    let tls = if settings.configuration.require_secure_transport { "require" } else { "allow" };
    // A text, so that a database may be made and dropped meanwhile: every name leads to PostgreSQL.
    let mut text = format!(
        "; Rendered by pgflex; changes are lost.\n\
         [databases]\n* = host={} port=5432\n\n[pgbouncer]\n",
        settings.server_name
    );
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name} = {value}\n"));
    line("listen_addr", "*");
    line("listen_port", &PORT.to_string());
    line("unix_socket_dir", "");
    line("pool_mode", pooler.pool_mode.key());
    line("default_pool_size", &pooler.default_pool_size.to_string());
    line("min_pool_size", &pooler.min_pool_size.to_string());
    line("max_client_conn", &pooler.max_client_conn.to_string());
    line("query_wait_timeout", &pooler.query_wait_timeout.to_string());
    line("server_idle_timeout", &pooler.server_idle_timeout.to_string());
    line("ignore_startup_parameters", "extra_float_digits");
    line("auth_type", "scram-sha-256");
    line("auth_user", POOLER_ROLE);
    line("auth_query", "SELECT usename, passwd FROM pgflex_service.pooler_lookup($1)");
    if !asks_everywhere(settings.major) {
        line("auth_dbname", "postgres");
    }
    line("client_tls_sslmode", tls);
    line("client_tls_protocols", "secure");
    line("client_tls_ciphers", CIPHERS);
    line("client_tls_cert_file", &format!("{path}/server.crt"));
    line("client_tls_key_file", &format!("{path}/server.key"));
    line("server_tls_sslmode", "verify-full");
    line("server_tls_protocols", "secure");
    line("server_tls_ca_file", &format!("{path}/root.crt"));
    line("server_tls_cert_file", &format!("{path}/client.crt"));
    line("server_tls_key_file", &format!("{path}/client.key"));
    line("log_connections", "0");
    line("log_disconnections", "0");
    line("stats_period", "600");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(major: Major, configuration: &Configuration) -> String {
        let server_name = "s.server.pgflex.internal";
        pgbouncer_ini(&PoolerSettings { server_name, major, configuration })
    }

    #[test]
    fn settings_and_the_rule_for_tls_get_in() {
        let mut configuration = Configuration::default();
        configuration.pooler.default_pool_size = 7;
        let text = rendered(Major::V17, &configuration);
        for line in [
            "* = host=s.server.pgflex.internal port=5432",
            "pool_mode = transaction",
            "default_pool_size = 7",
            "auth_dbname = postgres",
            "client_tls_sslmode = require",
            "server_tls_sslmode = verify-full",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        configuration.require_secure_transport = false;
        let text = rendered(Major::V15, &configuration);
        assert!(text.contains("client_tls_sslmode = allow") && !text.contains("auth_dbname"));
    }
}
