use super::*;
use crate::postgres::CONTROL_ROLE;

fn settings(name: &ServerName, major: Major, sku: &str, gib: u32) -> String {
    let (sku, storage) = (Sku::by_name(sku).unwrap(), StorageSize::by_gib(gib).unwrap());
    let configuration = Configuration::default();
    postgresql_conf(&Settings {
        name,
        major,
        sku,
        storage,
        configuration: &configuration,
        admission: Admission::Everyone,
        replication: Replication::None,
        archiving: Archiving::Waiting,
    })
}

fn plain<'a>(name: &'a ServerName, configuration: &'a Configuration) -> Settings<'a> {
    let sku = Sku::by_name("Standard_B1ms").unwrap();
    let storage = StorageSize::by_gib(32).unwrap();
    Settings {
        name,
        major: Major::V17,
        sku,
        storage,
        configuration,
        admission: Admission::Everyone,
        replication: Replication::None,
        archiving: Archiving::Waiting,
    }
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

#[test]
fn memory_follows_the_size() {
    let name = ServerName::parse("shop").unwrap();
    let small = settings(&name, Major::V17, "Standard_B1ms", 32);
    for line in [
        "shared_buffers = 256MB",
        "max_connections = 50",
        "maintenance_work_mem = 97MB",
        "effective_cache_size = 1536MB",
        "max_wal_size = 1GB",
        "min_wal_size = 128MB",
        "max_slot_wal_keep_size = 8GB",
    ] {
        assert!(has(&small, line), "{line} in\n{small}");
    }
    let large = settings(&name, Major::V17, "Standard_D4ds_v5", 1024);
    for line in [
        "shared_buffers = 4GB",
        "max_connections = 1718",
        "maintenance_work_mem = 268MB",
        "max_wal_size = 16GB",
        "max_slot_wal_keep_size = 64GB",
    ] {
        assert!(has(&large, line), "{line} in\n{large}");
    }
}

#[test]
fn majors_differ_where_postgresql_does() {
    let name = ServerName::parse("shop").unwrap();
    let of = |major| settings(&name, major, "Standard_B2s", 64);
    let (v15, v17, v18) = (of(Major::V15), of(Major::V17), of(Major::V18));
    assert!(has(&v15, "superuser_reserved_connections = 15"));
    assert!(!v15.contains("\nreserved_connections") && !v15.contains("allow_alter_system"));
    for text in [&v17, &v18] {
        assert!(has(text, "superuser_reserved_connections = 10"));
        assert!(has(text, "reserved_connections = 5"));
        assert!(has(text, "allow_alter_system = off"));
    }
    assert!(!v17.contains("io_method") && has(&v18, "io_method = worker"));
}

#[test]
fn every_parameter_is_written_once() {
    let name = ServerName::parse("shop").unwrap();
    for major in Major::ALL {
        let text = settings(&name, major, "Standard_B1ms", 32);
        let mut names: Vec<_> =
            text.lines().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{text}");
    }
}

#[test]
fn only_tls_gets_in_and_the_control_role_only_by_certificate() {
    let (name, configuration) = (ServerName::parse("shop").unwrap(), Configuration::default());
    let settings = plain(&name, &configuration);
    let rules: Vec<Vec<String>> = pg_hba_conf(&settings)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect();
    for rule in &rules {
        let method = rule.last().unwrap();
        assert!(method == "reject" || rule[0] == "hostssl", "{rule:?}");
    }
    let control: Vec<_> = rules.iter().filter(|rule| rule[2] == CONTROL_ROLE).collect();
    assert_eq!(control[0].join(" "), "hostssl all pgflex_control all cert");
    assert_eq!(control[1].join(" "), "host all pgflex_control all reject");
}

#[test]
fn files_are_private_and_do_not_print() {
    let name = ServerName::parse("shop").unwrap();
    let configuration = Configuration::default();
    let settings = plain(&name, &configuration);
    let key = Secret::new("THE KEY");
    let tls = TlsFiles { certificate: "c", key: &key, client_authority: "a" };
    let files = all_files(&settings, &tls);
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "config/postgresql.conf",
            "config/pg_hba.conf",
            "config/pg_ident.conf",
            "config/server.crt",
            "config/server.key",
            "config/client-ca.crt"
        ]
    );
    assert!(files.iter().all(|file| file.mode == 0o600));
    assert!(!format!("{files:?}").contains("THE KEY"));
}

#[test]
fn what_a_person_set_comes_last_and_cannot_leave_its_quotes() {
    let name = ServerName::parse("shop").unwrap();
    let mut configuration =
        Configuration { require_secure_transport: false, ..Configuration::default() };
    configuration.parameters.insert("work_mem".into(), "8MB'\nfsync = off".into());
    let settings = plain(&name, &configuration);
    let text = postgresql_conf(&settings);
    let (_, behind) = text.split_once(BY_A_PERSON).unwrap();
    assert!(behind.starts_with("\nwork_mem = '8MB'' fsync = off'\n\n"), "{text}");
    assert!(
        pg_hba_conf(&settings).contains(
            "\nhost       all          all             all                 scram-sha-256\n"
        )
    );
}

/// A person may set the very parameter that protects a full storage: the protection counts.
#[test]
fn the_protection_of_a_full_storage_stands_behind_what_a_person_set() {
    let name = ServerName::parse("shop").unwrap();
    let mut configuration = Configuration { write_protected: true, ..Configuration::default() };
    configuration.parameters.insert("default_transaction_read_only".into(), "off".into());
    assert_eq!(values(&plain(&name, &configuration))["default_transaction_read_only"], "on");
}

#[test]
fn the_log_is_kept_until_it_has_a_place_and_no_person_turns_the_archive_off() {
    let name = ServerName::parse("shop").unwrap();
    let mut configuration = Configuration::default();
    configuration.parameters.insert("archive_mode".into(), "off".into());
    configuration.parameters.insert("archive_command".into(), "/bin/true".into());
    let waiting = values(&plain(&name, &configuration));
    assert_eq!(waiting["archive_mode"], "on");
    assert_eq!(waiting["archive_timeout"], "60s");
    assert_eq!(waiting["archive_command"], "''");
    let goes = plain(&name, &configuration).archiving(Archiving::Into("pgflex-1".into()));
    let command = values(&goes)["archive_command"].clone();
    assert!(command.contains("--stanza=pgflex-1 archive-push %p"), "{command}");
}
