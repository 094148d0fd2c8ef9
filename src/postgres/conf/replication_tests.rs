use super::super::*;
use super::*;

fn standby() -> Replication {
    Replication::Standby {
        source: Source { name: "a.internal".into(), address: "10.0.0.7:5433".parse().unwrap() },
        slot: "pgflex_0b".into(),
        promoted: Commits::Never,
    }
}

fn render(replication: Replication, parameters: &[(&str, &str)]) -> (String, String) {
    let name = ServerName::parse("shop").unwrap();
    let mut configuration = Configuration::default();
    for (name, value) in parameters {
        configuration.parameters.insert((*name).into(), (*value).into());
    }
    let settings = Settings {
        name: &name,
        major: Major::V17,
        sku: Sku::by_name("Standard_D4ds_v5").unwrap(),
        storage: StorageSize::by_gib(32).unwrap(),
        configuration: &configuration,
        admission: Admission::Everyone,
        replication,
        archiving: Archiving::Waiting,
    };
    (postgresql_conf(&settings), pg_hba_conf(&settings))
}

/// The last value of a name.
fn last<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(" = "));
    pairs.filter(|(found, _)| *found == name).map(|(_, value)| value).next_back()
}

#[test]
fn a_pair_adds_to_the_files_and_changes_nothing_else() {
    let (plain, plain_rules) = render(Replication::None, &[("work_mem", "8MB")]);
    assert!(!plain.contains("# Replication") && !plain_rules.contains(REPLICATION_ROLE));
    for part in [Replication::Primary(Commits::Alone), standby()] {
        let (text, rules) = render(part, &[("work_mem", "8MB")]);
        assert!(text.starts_with(&plain), "{text}");
        let kept: Vec<_> = rules.lines().filter(|line| !line.contains(REPLICATION_ROLE)).collect();
        assert_eq!(kept, plain_rules.lines().collect::<Vec<_>>());
    }
}

#[test]
fn commits_wait_for_whom_the_file_names() {
    let of = |commits| render(Replication::Primary(commits), &[]).0;
    let waits = |text: &str| last(text, "synchronous_standby_names").unwrap().to_owned();
    assert_eq!(waits(&of(Commits::Alone)), "''");
    assert_eq!(waits(&of(Commits::With("pgflex_0a".into()))), "'FIRST 1 (\"pgflex_0a\")'");
    assert_eq!(waits(&of(Commits::Never)), "'FIRST 1 (\"pgflex_nobody\")'");
    assert_eq!(waits(&render(standby(), &[]).0), "'FIRST 1 (\"pgflex_nobody\")'");
    assert_eq!(last(&of(Commits::Alone), "primary_conninfo"), None);
}

#[test]
fn no_setting_of_a_person_takes_a_promise_back() {
    for (set, counts) in [("off", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")] {
        let (text, _) =
            render(Replication::Primary(Commits::Alone), &[("synchronous_commit", set)]);
        assert_eq!(last(&text, "synchronous_commit"), Some(counts));
    }
}

#[test]
fn a_standby_reaches_its_source_by_certificate_and_nothing_leaves_its_quotes() {
    let (text, rules) = render(standby(), &[]);
    let conninfo = last(&text, "primary_conninfo").unwrap();
    for part in [
        "hostaddr=''10.0.0.7'' port=''5433''",
        "sslmode=''verify-full''",
        "application_name=''pgflex_0b''",
    ] {
        assert!(conninfo.contains(part), "{conninfo}");
    }
    assert_eq!(last(&text, "primary_slot_name"), Some("'pgflex_0b'"));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let rules: Vec<String> = rules.lines().map(words).collect();
    let at = |rule: &str| rules.iter().position(|found| found == rule).unwrap();
    let ours = at("hostssl replication pgflex_replicator all cert");
    assert!(ours < at("host all pgflex_replicator all reject"));
    assert!(ours < at("host replication all all reject"));
    assert!(at("host all pgflex_replicator all reject") < at("hostssl all all all scram-sha-256"));
    let hostile = Source { name: "a' \\".into(), address: "[::1]:1".parse().unwrap() };
    assert!(hostile.conninfo("x").starts_with("host='a\\' \\\\' hostaddr='::1' "));
}
