//! What a server's administrator may do and may not, on the real PostgreSQL.

use super::support::{Lab, in_lab, majors};
use pgflex::domain::version::Major;
use pgflex::engine::{Engine, FileSpec};
use pgflex::postgres::Postgres;
use pgflex::postgres::client::TlsPostgres;
use pgflex::secrets::{Secret, scram_verifier};

const PASSWORD: &str = "Correct-horse-1";

impl Lab {
    /// Runs statements as the administrator, over TLS with the password.
    async fn psql(&self, database: &str, statements: &str) -> (i64, String) {
        let login = self.server.spec.admin_login.as_str();
        let whole = format!("host=127.0.0.1 sslmode=require user={login} dbname={database}");
        let command = ["psql", "-XAtqv", "ON_ERROR_STOP=1", "-d", &whole, "-c", statements];
        self.run(&command, &[&format!("PGPASSWORD={PASSWORD}"), "PGCONNECT_TIMEOUT=5"]).await
    }

    async fn may(&self, database: &str, statements: &str) {
        let (code, output) = self.psql(database, statements).await;
        assert_eq!(code, 0, "{statements}: {output}");
    }

    async fn may_not(&self, statements: &str) {
        let (code, output) = self.psql("postgres", statements).await;
        let is_refusal = [
            "permission denied",
            "must be superuser",
            "must be owner",
            "must have",
            "superuser",
            "cannot",
            "not allowed",
        ]
        .iter()
        .any(|words| output.contains(words));
        assert!(code != 0 && is_refusal, "{statements}: {code} {output}");
    }
}

#[tokio::test]
async fn the_administrator_rules_the_server_and_nothing_else() {
    for major in majors() {
        in_lab(major, |lab| async move {
            lab.create().await;
            let target = lab.target().await;
            let login = &lab.server.spec.admin_login;
            let verifier = scram_verifier(&Secret::new(PASSWORD));
            for _ in 0..2 {
                super::support::timed(
                    "administrator",
                    TlsPostgres.ensure_admin(&target, login, &verifier),
                )
                .await
                .unwrap();
            }
            what_is_allowed(&lab, major).await;
            what_is_not(&lab, major).await;
            nothing_was_written_down(&lab, &verifier).await;
            TlsPostgres.ensure_admin(&target, login, &verifier).await.unwrap();
        })
        .await;
    }
}

async fn what_is_allowed(lab: &Lab, major: Major) {
    for statements in [
        "CREATE TABLE t (id int PRIMARY KEY, body text); INSERT INTO t VALUES (1, 'x')",
        "CREATE SCHEMA app; CREATE TABLE app.t (id int)",
        "CREATE EXTENSION pg_trgm; CREATE EXTENSION pgcrypto",
        "CREATE ROLE reader LOGIN PASSWORD 'Reader-pass-1'; GRANT pg_read_all_data TO reader",
        "GRANT pg_monitor TO reader; ALTER ROLE reader PASSWORD 'Other-pass-1'; DROP ROLE reader",
        "CREATE ROLE deputy LOGIN; GRANT pgflex_admin TO deputy",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()",
        "CHECKPOINT",
    ] {
        lab.may("postgres", statements).await;
    }
    // Before 16 a new role is its maker's only when granted.
    let grant = if major < Major::V17 { "GRANT owner_role TO CURRENT_USER;" } else { "" };
    let statements = format!(
        "CREATE ROLE owner_role; GRANT CREATE ON DATABASE postgres TO owner_role; {grant} \
         SET ROLE owner_role; CREATE SCHEMA theirs"
    );
    lab.may("postgres", &statements).await;
    lab.may("postgres", "CREATE DATABASE sales").await;
    lab.may("sales", "CREATE TABLE t (id int); CREATE EXTENSION hstore; CREATE SCHEMA s").await;
    // Not trusted by its author, and on the list.
    lab.may("sales", "CREATE EXTENSION amcheck; DROP EXTENSION amcheck; DROP EXTENSION hstore")
        .await;
    lab.may("postgres", "DROP DATABASE sales").await;
}

async fn what_is_not(lab: &Lab, major: Major) {
    for statements in [
        "ALTER ROLE CURRENT_USER SUPERUSER",
        "CREATE ROLE boss SUPERUSER",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_read_binary_file('/var/lib/pgflex/config/server.key')",
        "SELECT pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "COPY t TO '/var/lib/pgflex/config/postgresql.conf'",
        "CREATE TEMP TABLE leak (line text); COPY leak FROM '/var/lib/pgflex/config/server.key'",
        "CREATE TEMP TABLE leak (line text); COPY leak FROM PROGRAM 'id'",
        "GRANT pg_execute_server_program TO CURRENT_USER",
        "GRANT pg_read_server_files TO CURRENT_USER",
        "GRANT pg_write_server_files TO CURRENT_USER",
        "GRANT pgflex_control TO CURRENT_USER",
        "ALTER ROLE pgflex_control PASSWORD 'Taken-over-1'",
        "ALTER ROLE pgflex_control NOLOGIN",
        "DROP ROLE pgflex_control",
        "SET ROLE pgflex_control",
        "ALTER ROLE ALL SET search_path = public",
        "ALTER DATABASE postgres SET search_path = public",
        "ALTER SYSTEM SET archive_command = 'touch /tmp/x'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS 'libc.so.6', 'getpid'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE internal AS 'pg_backend_pid'",
        "LOAD '$libdir/../../../../tmp/x'",
        "CREATE EXTENSION dblink",
        "CREATE EXTENSION file_fdw",
        // Trusted by its author, and not on the list.
        "CREATE EXTENSION citext",
        "SET extwlist.extensions = 'citext'",
        "UPDATE pg_authid SET rolsuper = true WHERE rolname = CURRENT_USER",
        "SET session_preload_libraries = 'x'",
    ] {
        lab.may_not(statements).await;
    }
    if major == Major::V15 {
        lab.may_not("CREATE ROLE x; GRANT pg_execute_server_program TO x").await;
    }
    let signal = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let (_, output) = lab.psql("postgres", signal).await;
    assert!(!output.lines().any(|line| line == "t"), "{output}");
    as_control(lab).await;
}

/// Neither the password's way nor the way without TLS leads to the control role, nor past TLS to any role.
async fn as_control(lab: &Lab) {
    for whole in [
        "host=127.0.0.1 user=pgflex_control dbname=postgres sslmode=require",
        "host=127.0.0.1 user=pgflex_control dbname=postgres sslmode=disable",
        "host=127.0.0.1 user=ShopAdmin dbname=postgres sslmode=disable",
        "host=/run/postgresql user=ShopAdmin dbname=postgres",
        "host=127.0.0.1 user=ShopAdmin dbname=postgres sslmode=require replication=database",
    ] {
        let command = ["psql", "-XAt", "-d", whole, "-c", "SELECT 1"];
        let (code, output) = lab.run(&command, &[&format!("PGPASSWORD={PASSWORD}")]).await;
        assert_ne!(code, 0, "{whole}: {output}");
    }
}

async fn nothing_was_written_down(lab: &Lab, verifier: &Secret) {
    let log = lab.engine_log().await;
    assert!(log.contains("ready to accept connections"), "{log}");
    let part = &verifier.reveal()[..40];
    assert!(!log.contains(part) && !log.contains("SCRAM-SHA-256$"), "{log}");
    let seen = "CREATE EXTENSION pg_stat_statements; \
                SELECT query FROM pg_stat_statements UNION ALL SELECT query FROM pg_stat_activity";
    let (code, output) = lab.control_psql(seen).await;
    assert!(code == 0 && output.contains("CREATE TABLE app.t"), "{output}");
    assert!(!output.contains(part) && !output.contains("SCRAM-SHA-256$"), "{output}");
}

impl Lab {
    /// Runs statements as the portal does: by certificate.
    async fn control_psql(&self, statements: &str) -> (i64, String) {
        let pair = &self.certificates.control;
        let file = |name: &str, content: &str| FileSpec {
            path: format!("config/{name}"),
            mode: 0o600,
            content: content.as_bytes().to_vec(),
        };
        let files = [file("t.crt", &pair.certificate), file("t.key", pair.key.reveal())];
        self.engine.put_files(&self.member.container(), &files).await.unwrap();
        let whole = "host=127.0.0.1 sslmode=require user=pgflex_control dbname=postgres \
                     sslcert=/var/lib/pgflex/config/t.crt sslkey=/var/lib/pgflex/config/t.key";
        self.run(&["psql", "-XAtq", "-d", whole, "-c", statements], &[]).await
    }

    async fn engine_log(&self) -> String {
        self.engine.tail(&self.member.container(), 500).await.unwrap().join("\n")
    }
}
