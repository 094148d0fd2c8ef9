//! Every string of the connect page, run as printed with the real client it is for.
//!
//! Clients come from where people get them: psql and the JDBC driver from Debian, Python's from PyPI,
//! Node's from npm, Go's from its module proxy. What this machine lacks is skipped, and said.

use super::support::{Lab, in_lab, majors, timed};
use pgflex::certificates::Authority;
use pgflex::clock::{Clock, SystemClock};
use pgflex::postgres::Postgres;
use pgflex::postgres::client::TlsPostgres;
use pgflex::secrets::{Secret, scram_verifier};
use pgflex::web::handlers::servers::connect_strings::{CA_FILE, ConnectStrings, Target};
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// One client has this long, its installation included.
const CLIENT_TIME: Duration = Duration::from_secs(300);
/// What the printed programs ask.
const PRINTED: &str = "SELECT version()";
/// What is asked in its place, to see that it is a query that answers and that TLS is in use.
const ASKED: &str = "SELECT 'answer=' || 1 || ' ssl=' || ssl::text AS version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
const ANSWER: &str = "answer=1 ssl=true";

/// Why a client did not get its answer.
#[derive(Debug)]
pub enum Problem {
    /// The machine lacks the client.
    Skipped(String),
    Failed(String),
}

type Outcome = Result<(), Problem>;

/// How a program is run that stands in a file.
struct Recipe {
    file: PathBuf,
    /// What must be done first, and where.
    build: Option<(Vec<OsString>, PathBuf)>,
    run: Vec<OsString>,
}

fn words<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Vec<OsString> {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect()
}

/// A running server as a person with the connect page and the password has it.
pub struct Clients {
    pub strings: ConnectStrings,
    pub password: String,
    /// Folder in which the CA file was saved, and where everything is run.
    pub work: PathBuf,
}

/// Where clients are installed, once for all runs.
fn tools(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

impl Clients {
    /// Runs every string; panics at the end with all that failed.
    pub async fn all(&self) {
        let mut failures = vec![];
        for (name, outcome) in [
            ("psql", timed("psql", self.psql()).await),
            ("URI", timed("URI", self.uri()).await),
            ("variables", timed("variables", self.environment()).await),
            ("psycopg", timed("psycopg", self.psycopg()).await),
            ("psycopg2", timed("psycopg2", self.psycopg2()).await),
            ("node", timed("node", self.node()).await),
            ("JDBC", timed("JDBC", self.jdbc()).await),
            (".NET", timed(".NET", self.dotnet()).await),
            ("pgx", timed("pgx", self.pgx()).await),
            ("lib/pq", timed("lib/pq", self.lib_pq()).await),
        ] {
            match outcome {
                Ok(()) => {}
                Err(Problem::Skipped(why)) => println!("SKIPPED: {name}: {why}"),
                Err(Problem::Failed(why)) => failures.push(format!("{name}: {why}")),
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// The command line, given to a shell as it is, with the query typed in.
    pub async fn psql(&self) -> Outcome {
        self.shell(&self.strings.psql, &psql_input()).await.and_then(answered)
    }

    pub async fn uri(&self) -> Outcome {
        let output = self.run("psql", [&self.strings.uri], &self.work, &psql_input()).await?;
        answered(output)
    }

    pub async fn environment(&self) -> Outcome {
        self.shell(&self.strings.environment, &psql_input()).await.and_then(answered)
    }

    pub async fn psycopg(&self) -> Outcome {
        self.python("psycopg[binary]", &self.strings.psycopg).await
    }

    pub async fn psycopg2(&self) -> Outcome {
        self.python("psycopg2-binary", &self.strings.psycopg2).await
    }

    async fn python(&self, package: &str, program: &str) -> Outcome {
        let venv = tools("python");
        let python = venv.join("bin/python");
        if !python.exists() {
            let made = self.run("python3", ["-m", "venv", "."], &venv, "").await;
            made.map_err(|problem| skipped("no virtual environment of Python", problem))?;
        }
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package];
        let installed = self.run(&python, install, &venv, "").await;
        installed.map_err(|problem| skipped("PyPI cannot be reached", problem))?;
        let file = venv.join("connect.py");
        let run = words([python.as_os_str(), file.as_os_str()]);
        self.program(&Recipe { file, build: None, run }, program).await
    }

    pub async fn node(&self) -> Outcome {
        let folder = tools("node");
        if !folder.join("node_modules/pg").exists() {
            let install = ["install", "--no-audit", "--no-fund", "--silent", "pg@8"];
            let installed = self.run("npm", install, &folder, "").await;
            installed.map_err(|problem| skipped("npm cannot install pg", problem))?;
        }
        let file = folder.join("connect.mjs");
        let run = words([OsStr::new("node"), file.as_os_str()]);
        self.program(&Recipe { file, build: None, run }, &self.strings.node).await
    }

    pub async fn jdbc(&self) -> Outcome {
        let driver = self.jdbc_driver().await?;
        let file = self.work.join("Connect.java");
        let run = ["java", "-cp"].map(OsStr::new).into_iter();
        let run = words(run.chain([driver.as_os_str(), OsStr::new("Connect.java")]));
        self.program(&Recipe { file, build: None, run }, &self.strings.jdbc).await
    }

    /// The installed driver, or the one in Debian's package, unpacked beside.
    async fn jdbc_driver(&self) -> Result<PathBuf, Problem> {
        let folder = tools("jdbc");
        let path = "usr/share/java/postgresql.jar";
        let (installed, unpacked) = (Path::new("/").join(path), folder.join(path));
        if !installed.exists() && !unpacked.exists() {
            let fetch = "apt-get download libpostgresql-jdbc-java && dpkg -x libpostgresql-jdbc-java_*.deb .";
            let fetched = self.run("sh", ["-c", fetch], &folder, "").await;
            fetched.map_err(|problem| skipped("Debian's JDBC driver cannot be had", problem))?;
        }
        Ok(if installed.exists() { installed } else { unpacked })
    }

    pub async fn dotnet(&self) -> Outcome {
        let folder = tools("dotnet");
        if !folder.join("dotnet.csproj").exists() {
            let make = "dotnet new console --force && dotnet add package Npgsql";
            let made = self.run("sh", ["-c", make], &folder, "").await;
            made.map_err(|problem| skipped("no .NET", problem))?;
        }
        let project = folder.join("dotnet.csproj");
        let run = ["dotnet", "run", "--project"].map(OsStr::new).into_iter();
        let run = words(run.chain([project.as_os_str()]));
        let recipe = Recipe { file: folder.join("Program.cs"), build: None, run };
        self.program(&recipe, &self.strings.dotnet).await
    }

    pub async fn pgx(&self) -> Outcome {
        self.go("pgx", "github.com/jackc/pgx/v5", &self.strings.pgx).await
    }

    pub async fn lib_pq(&self) -> Outcome {
        self.go("lib_pq", "github.com/lib/pq", &self.strings.lib_pq).await
    }

    async fn go(&self, name: &str, module: &str, program: &str) -> Outcome {
        let folder = tools(name);
        if !folder.join("go.sum").exists() {
            let _ = std::fs::remove_file(folder.join("go.mod"));
            let get = format!("go mod init connect && go get {module}");
            let got = self.run("sh", ["-c", &get], &folder, "").await;
            got.map_err(|problem| skipped("no Go, or no way to its modules", problem))?;
        }
        let run = words([folder.join("connect")]);
        let build = Some((words(["go", "build", "-o", "connect", "."]), folder.clone()));
        self.program(&Recipe { file: folder.join("main.go"), build, run }, program).await
    }

    /// Dumps and restores as printed; `copy` has the strings of another, empty database.
    pub async fn dump_and_restore(&self, copy: &ConnectStrings, database: &str) -> Outcome {
        match self.shell(&self.strings.pg_dump, "").await {
            Err(Problem::Failed(why)) if why.contains("version mismatch") => {
                return Err(Problem::Skipped(
                    "the machine's pg_dump is older than the server".into(),
                ));
            }
            other => other?,
        };
        let dump = self.work.join(format!("{database}.dump"));
        let file = copy.pg_restore.rsplit(' ').next().unwrap_or_default();
        std::fs::rename(dump, self.work.join(file)).unwrap();
        self.shell(&copy.pg_restore, "").await.map(|_| ())
    }

    /// The program as printed, then with a question that tells more.
    async fn program(&self, recipe: &Recipe, program: &str) -> Outcome {
        let output = self.cook(recipe, program).await?;
        if !output.contains("PostgreSQL 1") {
            return Err(Problem::Failed(format!("as printed it said {output:?}")));
        }
        assert!(program.contains(PRINTED));
        answered(self.cook(recipe, &program.replace(PRINTED, ASKED)).await?)
    }

    async fn cook(&self, recipe: &Recipe, program: &str) -> Result<String, Problem> {
        std::fs::write(&recipe.file, program).unwrap();
        if let Some((command, folder)) = &recipe.build {
            self.run(&command[0], &command[1..], folder, "").await?;
        }
        self.run(&recipe.run[0], &recipe.run[1..], &self.work, "").await
    }

    pub async fn shell(&self, command: &str, input: &str) -> Result<String, Problem> {
        self.run("sh", ["-c", command], &self.work, input).await
    }

    /// Runs a client with the password in its environment and nothing else of PostgreSQL's.
    async fn run<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
        folder: &Path,
        input: &str,
    ) -> Result<String, Problem> {
        let name = program.as_ref().to_string_lossy().into_owned();
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(folder).env("PGPASSWORD", &self.password);
        for variable in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSSLMODE", "PGSERVICE"] {
            command.env_remove(variable);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Problem::Skipped(format!("{name}: {error}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let ended = tokio::time::timeout(CLIENT_TIME, child.wait_with_output()).await;
        let output = ended
            .map_err(|_| Problem::Failed(format!("{name} did not end")))?
            .map_err(|error| Problem::Failed(format!("{name}: {error}")))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.code() {
            Some(0) => Ok(text(&output.stdout)),
            Some(127) => Err(Problem::Skipped(text(&output.stderr))),
            _ => Err(Problem::Failed(format!("{}{}", text(&output.stdout), text(&output.stderr)))),
        }
    }
}

fn psql_input() -> String {
    format!("\\set ON_ERROR_STOP on\n\\pset format unaligned\n{ASKED};\n")
}

fn answered(output: String) -> Outcome {
    if output.contains(ANSWER) {
        return Ok(());
    }
    Err(Problem::Failed(format!("the answer was {output:?}")))
}

/// What goes wrong while a client is installed is no fault of a string.
fn skipped(what: &str, problem: Problem) -> Problem {
    let (Problem::Skipped(why) | Problem::Failed(why)) = problem;
    Problem::Skipped(format!("{what}: {}", why.lines().last().unwrap_or_default()))
}

/// Carries connections from a port of this machine to the member, as the gateway does.
pub async fn relay(from: &str, to: SocketAddr) -> u16 {
    let listener = TcpListener::bind((from, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    port
}

const PASSWORD: &str = "Correct-horse-1 '\\\"$&";
/// A database whose name every format must quote.
const HOSTILE: &str = r#"my "shop"'s \ $HOME & é;=%20"#;

impl Lab {
    fn clients(&self, port: u16, host: &str, database: &str, ca: &str) -> Clients {
        let name = format!("target/clients/work-{}", pgflex::clock::new_uuid());
        let work = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::create_dir_all(&work).unwrap();
        std::fs::write(work.join(CA_FILE), ca).unwrap();
        let strings = ConnectStrings::of(&Target {
            host: host.into(),
            hostaddr: None,
            port,
            database: database.into(),
            user: self.server.spec.admin_login.as_str().into(),
        });
        Clients { strings, password: PASSWORD.into(), work }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.work);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_printed_string_connects_and_checks_the_server() {
    for major in majors() {
        in_lab(major, |lab| async move {
            lab.create().await;
            let target = lab.target().await;
            let verifier = scram_verifier(&Secret::new(PASSWORD));
            let login = &lab.server.spec.admin_login;
            TlsPostgres.ensure_admin(&target, login, &verifier).await.unwrap();
            let port = relay("127.0.0.1", target.address).await;
            let ca = lab.authority.certificate.clone();

            let plain = lab.clients(port, "localhost", "postgres", &ca);
            plain.all().await;
            let quoted = HOSTILE.replace('"', "\"\"");
            let make = format!("CREATE DATABASE \"{quoted}\";\nCREATE DATABASE copy;\n\\c copy\n");
            plain.shell(&plain.strings.psql, &make).await.unwrap();

            let hostile = lab.clients(port, "localhost", HOSTILE, &ca);
            hostile.all().await;
            dump(&hostile, &lab.clients(port, "localhost", "copy", &ca).strings).await;

            let by_address = lab.clients(port, "127.0.0.1", "postgres", &ca);
            by_address.all().await;
            strangers(&lab, target.address).await;
        })
        .await;
    }
}

async fn dump(from: &Clients, copy: &ConnectStrings) {
    let fill = "CREATE TABLE kept (id int);\nINSERT INTO kept VALUES (42);\n";
    from.shell(&from.strings.psql, fill).await.unwrap();
    let file = from.strings.pg_restore.rsplit(' ').next().unwrap().trim_end_matches(".dump");
    match from.dump_and_restore(copy, file).await {
        Ok(()) => {
            let found = from.shell(&copy.psql, "SELECT id FROM kept;\n").await.unwrap();
            assert!(found.contains("42"), "{found}");
        }
        Err(Problem::Skipped(why)) => println!("SKIPPED: pg_dump: {why}"),
        Err(Problem::Failed(why)) => panic!("{why}"),
    }
}

/// `verify-full` means: not with another CA, and not under a name that is not in the certificate.
async fn strangers(lab: &Lab, address: SocketAddr) {
    let (foreign, _) = Authority::generate("another", SystemClock.now()).unwrap();
    let own = &lab.authority.certificate;
    let (port, other) = (relay("127.0.0.1", address).await, relay("127.0.0.2", address).await);
    for (clients, what) in [
        (lab.clients(port, "localhost", "postgres", &foreign.certificate), "another CA"),
        (lab.clients(other, "127.0.0.2", "postgres", own), "another name"),
    ] {
        for (name, outcome) in [
            ("psql", clients.psql().await),
            ("URI", clients.uri().await),
            ("variables", clients.environment().await),
            ("psycopg", clients.psycopg().await),
            ("psycopg2", clients.psycopg2().await),
            ("node", clients.node().await),
            ("JDBC", clients.jdbc().await),
            (".NET", clients.dotnet().await),
            ("pgx", clients.pgx().await),
            ("lib/pq", clients.lib_pq().await),
        ] {
            assert!(outcome.is_err(), "{name} accepted {what}");
            if let Err(Problem::Failed(why)) = outcome {
                let names_it = ["certificate", "certpath", "hostname", "x509"]
                    .iter()
                    .any(|word| why.to_lowercase().contains(word));
                assert!(names_it, "{name} refused {what} for another reason: {why}");
            }
        }
    }
}
