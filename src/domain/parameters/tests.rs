use super::cross::Wanted;
use super::*;
use crate::domain::catalog::Sku;
use std::collections::{BTreeMap, BTreeSet};

fn parameter(name: &str, kind: Kind, unit: Unit, default: &str) -> Parameter {
    Parameter {
        name: name.into(),
        value: default.into(),
        default: default.into(),
        unit,
        kind,
        context: Context::Session,
        category: "Resource Usage / Memory".into(),
        description: String::new(),
        min: matches!(kind, Kind::Integer | Kind::Real).then_some(0.0),
        max: matches!(kind, Kind::Integer | Kind::Real).then_some(2_147_483_647.0),
        choices: if kind == Kind::Enum { vec!["off".into(), "lz4".into()] } else { vec![] },
        is_pending: false,
    }
}

#[test]
fn values_are_written_as_postgresql_shows_them() {
    let memory = parameter("work_mem", Kind::Integer, Unit::Kilobytes, "4MB");
    for (typed, written) in [
        ("4096", "4MB"),
        ("4MB", "4MB"),
        (" 4 MB ", "4MB"),
        ("1.5GB", "1536MB"),
        ("5000", "5000kB"),
        ("0", "0"),
    ] {
        assert_eq!(memory.read(typed).as_deref(), Ok(written), "{typed}");
    }
    let blocks = parameter("shared_buffers", Kind::Integer, Unit::Blocks, "128MB");
    assert_eq!(blocks.read("32768").as_deref(), Ok("256MB"));
    assert_eq!(blocks.number("256MB"), Some(32_768.0));
    let time = parameter("vacuum_cost_delay", Kind::Real, Unit::Milliseconds, "2ms");
    assert_eq!(time.read("2").as_deref(), Ok("2ms"));
    assert_eq!(time.read("0.5").as_deref(), Ok("500us"));
    assert_eq!(parameter("jit", Kind::Bool, Unit::None, "on").read("FALSE").as_deref(), Ok("off"));
    assert_eq!(
        parameter("wal_compression", Kind::Enum, Unit::None, "off").read("LZ4").as_deref(),
        Ok("lz4")
    );
}

#[test]
fn what_is_no_value_is_refused_before_it_reaches_a_file() {
    let memory = parameter("work_mem", Kind::Integer, Unit::Kilobytes, "4MB");
    for bad in [
        "",
        "abc",
        "4 mb",
        "4MB\nfsync = off",
        "-1",
        "1e9",
        "NaN",
        "inf",
        "9999999999",
        "4MB'",
        "0x10",
        "--5",
    ] {
        assert!(memory.read(bad).is_err(), "{bad:?}");
    }
    let text = parameter("search_path", Kind::Text, Unit::None, "public");
    for bad in ["a\nb", "a\u{0}", "a\u{7f}", "\u{85}x\u{85}y"] {
        assert!(text.read(bad).is_err(), "{bad:?}");
    }
    assert!(text.read(&"x".repeat(401)).is_err());
    assert!(text.read("it's \\ fine").is_ok());
    assert!(parameter("jit", Kind::Bool, Unit::None, "on").read("maybe").is_err());
}

#[test]
fn only_what_is_on_the_list_can_be_changed() {
    for name in [
        "archive_command",
        "fsync",
        "ssl",
        "port",
        "shared_preload_libraries",
        "session_preload_libraries",
        "local_preload_libraries",
        "dynamic_library_path",
        "data_directory",
        "hba_file",
        "log_directory",
        "wal_level",
        "allow_alter_system",
        "full_page_writes",
        "ssl_passphrase_command",
        "jit_provider",
        "zero_damaged_pages",
        "extwlist.extensions",
        "extwlist.custom_path",
        "default_transaction_read_only",
        "cron.host",
        "anything_new",
        "restore_command",
        "unix_socket_directories",
    ] {
        let one = parameter(name, Kind::Text, Unit::None, "");
        assert_eq!(one.change(), Change::ReadOnly, "{name}");
        assert!(one.read("x").is_err(), "{name}");
        assert!(one.why_locked().is_some_and(|why| why.ends_with('.')));
    }
    let fixed = Parameter {
        context: Context::Internal,
        ..parameter("work_mem", Kind::Text, Unit::None, "")
    };
    assert_eq!(fixed.change(), Change::ReadOnly);
    let fixed = Parameter {
        context: Context::Postmaster,
        ..parameter("shared_buffers", Kind::Text, Unit::None, "")
    };
    assert_eq!(fixed.change(), Change::Static);
}

#[test]
fn the_manual_is_the_one_of_the_major() {
    let one = parameter("work_mem", Kind::Integer, Unit::Kilobytes, "4MB");
    let link = "https://www.postgresql.org/docs/17/runtime-config-resource.html#GUC-WORK-MEM";
    assert_eq!(one.manual(17).as_deref(), Some(link));
}

#[test]
fn sizes_and_values_must_fit_together() {
    let catalogue = Catalogue {
        parameters: vec![
            parameter("shared_buffers", Kind::Integer, Unit::Blocks, "256MB"),
            parameter("max_connections", Kind::Integer, Unit::None, "50"),
            parameter("work_mem", Kind::Integer, Unit::Kilobytes, "4MB"),
            parameter("transaction_timeout", Kind::Integer, Unit::Milliseconds, "0"),
            parameter("max_locks_per_transaction", Kind::Integer, Unit::None, "64"),
            parameter("track_activity_query_size", Kind::Integer, Unit::Bytes, "1kB"),
            parameter("wal_buffers", Kind::Integer, Unit::Blocks, "-1"),
            parameter("pg_stat_statements.max", Kind::Integer, Unit::None, "5000"),
            parameter("search_path", Kind::Text, Unit::None, "\"$user\", public"),
        ],
    };
    let check_with = |pairs: &[(&str, &str)], has_ha| {
        let set: BTreeMap<String, String> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let changed: BTreeSet<String> = set.keys().cloned().collect();
        let sku = Sku::by_name("Standard_B1ms").unwrap();
        Wanted { catalogue: &catalogue, sku, set: &set, has_ha }.check(&changed)
    };
    let check = |pairs: &[(&str, &str)]| check_with(pairs, false);
    assert_eq!(check(&[]), cross::Findings::default());
    for bad in [
        ("shared_buffers", "1600MB"),
        ("max_connections", "51"),
        ("max_connections", "20"),
        ("transaction_timeout", "5s"),
        ("max_locks_per_transaction", "2147483647"),
        ("track_activity_query_size", "1048576kB"),
        ("wal_buffers", "2GB"),
        ("pg_stat_statements.max", "1000000000"),
        ("search_path", "evil, pg_catalog"),
        ("search_path", "evil , \"pg_catalog\""),
        ("search_path", "pg_catalog, evil, PG_CATALOG"),
    ] {
        assert_eq!(check(&[bad]).faults.len(), 1, "{bad:?}");
    }
    assert!(check(&[("shared_buffers", "1GB"), ("max_connections", "40")]).faults.is_empty());
    for good in [
        ("max_locks_per_transaction", "1024"),
        ("track_activity_query_size", "16kB"),
        ("wal_buffers", "64MB"),
        ("pg_stat_statements.max", "50000"),
        ("search_path", "pg_catalog, public"),
        ("search_path", "app, public"),
    ] {
        assert!(check(&[good]).faults.is_empty(), "{good:?}");
    }
    assert_eq!(check(&[("work_mem", "512MB")]).warnings.len(), 1);
    for (value, faults) in
        [("off", 1), ("local", 1), ("remote_write", 1), ("on", 0), ("remote_apply", 0)]
    {
        assert_eq!(
            check_with(&[("synchronous_commit", value)], true).faults.len(),
            faults,
            "{value}"
        );
        assert!(check(&[("synchronous_commit", value)]).faults.is_empty(), "alone it is free");
    }
}
