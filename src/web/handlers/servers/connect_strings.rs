//! Connection strings and commands, each working as printed with `verify-full` and none with a
//! password in it. Pure: what goes in is checked, what comes out is quoted for its format.
//!
//! psql and the PostgreSQL tools ask for the password; programs take it from `PGPASSWORD`.

use super::connect_programs as programs;
use crate::domain::refusal::Refusal;
use std::fmt::Write;
use std::net::IpAddr;

/// Name under which the root certificate is saved; every string refers to it.
pub const CA_FILE: &str = "pgflex-ca.pem";
/// Longest name of a database, in bytes: PostgreSQL cuts what is longer.
const DATABASE_BYTES_MAX: usize = 63;

/// Where a client goes and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name that is checked against the server's certificate.
    pub host: String,
    /// Address to go to when the name may not resolve; only libpq can be told.
    pub hostaddr: Option<IpAddr>,
    pub port: u16,
    pub database: String,
    pub user: String,
}

/// Reads a database name a person typed; empty is `postgres`.
///
/// # Errors
/// When no database can have the name.
pub fn parse_database(typed: &str) -> Result<String, Refusal> {
    let name = typed.trim();
    if name.is_empty() {
        return Ok("postgres".into());
    }
    if name.len() > DATABASE_BYTES_MAX {
        return Err(Refusal::at("database", "A database name has at most 63 bytes."));
    }
    if name.chars().any(char::is_control) {
        return Err(Refusal::at("database", "A database name has no control characters."));
    }
    Ok(name.to_owned())
}

/// Every string of the connect page, for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectStrings {
    /// Command line with a keyword string.
    pub psql: String,
    /// `postgresql://…`
    pub uri: String,
    /// Shell lines that set libpq's variables and call psql.
    pub environment: String,
    pub jdbc_url: String,
    pub jdbc: String,
    pub psycopg: String,
    pub psycopg2: String,
    pub node: String,
    /// What Npgsql calls a connection string.
    pub npgsql: String,
    pub dotnet: String,
    pub pgx: String,
    pub lib_pq: String,
    pub pg_dump: String,
    pub pg_restore: String,
}

impl ConnectStrings {
    pub fn of(target: &Target) -> Self {
        let npgsql = npgsql(target);
        Self {
            psql: format!("psql {}", shell_argument(&keywords(target))),
            uri: uri(target),
            environment: environment(target),
            jdbc_url: jdbc_url(target),
            jdbc: programs::jdbc(&jdbc_url(target)),
            psycopg: programs::psycopg(target),
            psycopg2: programs::psycopg2(target),
            node: programs::node(target),
            dotnet: programs::dotnet(&npgsql),
            npgsql,
            pgx: programs::pgx(&uri_by_name(target)),
            lib_pq: programs::lib_pq(&uri_by_name(target)),
            pg_dump: format!(
                "pg_dump --dbname={} --format=custom --file={}",
                shell_argument(&keywords(target)),
                dump_file(&target.database)
            ),
            pg_restore: format!(
                "pg_restore --dbname={} --no-owner --exit-on-error {}",
                shell_argument(&keywords(target)),
                dump_file(&target.database)
            ),
        }
    }
}

/// psql in a container of the server's own image, in a network that only containers reach.
pub fn psql_in_network(target: &Target, network: &str, image: &str) -> String {
    format!(
        "docker run --rm -it --network {network} \\\n  -v \"$PWD/{CA_FILE}:/client/{CA_FILE}:ro\" -w /client \\\n  --entrypoint psql {image} \\\n  {}",
        shell_argument(&keywords(target))
    )
}

/// libpq's `keyword=value` form.
fn keywords(target: &Target) -> String {
    let hostaddr = target.hostaddr.map_or(String::new(), |address| format!(" hostaddr={address}"));
    format!(
        "host={}{hostaddr} port={} dbname={} user={} sslmode=verify-full sslrootcert={CA_FILE}",
        keyword_value(&target.host),
        target.port,
        keyword_value(&target.database),
        keyword_value(&target.user),
    )
}

/// A value of the keyword form: quoted where it holds spaces, quotes or backslashes.
fn keyword_value(text: &str) -> String {
    let plain =
        !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '\'' || c == '\\');
    if plain {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// One argument of a command line. Plain text gets double quotes, which every shell understands;
/// anything that some shell would read for itself gets the single quotes of POSIX shells.
fn shell_argument(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || " _./:=@,+-".contains(c));
    if plain { format!("\"{text}\"") } else { single_quoted(text) }
}

/// The value of a shell variable.
fn shell_value(text: &str) -> String {
    let plain = !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_./:@,+-".contains(c));
    if plain { text.to_owned() } else { single_quoted(text) }
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn uri(target: &Target) -> String {
    let hostaddr = target
        .hostaddr
        .map_or(String::new(), |address| format!("&hostaddr={}", percent(&address.to_string())));
    format!("{}{hostaddr}", uri_by_name(target))
}

/// The URI for programs that are not libpq: they know no `hostaddr`.
fn uri_by_name(target: &Target) -> String {
    format!(
        "postgresql://{}@{}:{}/{}?sslmode=verify-full&sslrootcert={CA_FILE}",
        percent(&target.user),
        uri_host(&target.host),
        target.port,
        percent(&target.database),
    )
}

fn jdbc_url(target: &Target) -> String {
    format!(
        "jdbc:postgresql://{}:{}/{}?user={}&sslmode=verify-full&sslrootcert={CA_FILE}",
        uri_host(&target.host),
        target.port,
        percent(&target.database),
        percent(&target.user),
    )
}

/// A host in a URI; an IPv6 address stands in brackets.
fn uri_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Everything but the unreserved characters as `%XX`.
fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn environment(target: &Target) -> String {
    let mut lines = vec![("PGHOST", target.host.clone())];
    lines.extend(target.hostaddr.map(|address| ("PGHOSTADDR", address.to_string())));
    lines.extend([
        ("PGPORT", target.port.to_string()),
        ("PGDATABASE", target.database.clone()),
        ("PGUSER", target.user.clone()),
        ("PGSSLMODE", "verify-full".into()),
        ("PGSSLROOTCERT", CA_FILE.into()),
    ]);
    let exports: String = lines
        .iter()
        .map(|(name, value)| format!("export {name}={}\n", shell_value(value)))
        .collect();
    format!("{exports}psql")
}

fn npgsql(target: &Target) -> String {
    format!(
        "Host={};Port={};Database={};Username={};SSL Mode=VerifyFull;Root Certificate={CA_FILE}",
        npgsql_value(&target.host),
        target.port,
        npgsql_value(&target.database),
        npgsql_value(&target.user),
    )
}

/// A value as the rules of .NET's connection strings want it: in double quotes, doubled inside.
fn npgsql_value(text: &str) -> String {
    let plain =
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c));
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// Name of the dump of a database: only characters that no shell and no file system minds.
fn dump_file(database: &str) -> String {
    let name: String =
        database.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("{name}.dump")
}

#[cfg(test)]
#[path = "connect_strings_tests.rs"]
mod tests;
