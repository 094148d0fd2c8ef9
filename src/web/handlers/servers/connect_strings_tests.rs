use super::*;

fn target(database: &str) -> Target {
    Target {
        host: "localhost".into(),
        hostaddr: None,
        port: 20001,
        database: database.into(),
        user: "shopadmin".into(),
    }
}

#[test]
fn plain_names_give_plain_strings() {
    let strings = ConnectStrings::of(&target("postgres"));
    assert_eq!(
        strings.psql,
        r#"psql "host=localhost port=20001 dbname=postgres user=shopadmin sslmode=verify-full sslrootcert=pgflex-ca.pem""#
    );
    assert_eq!(
        strings.uri,
        "postgresql://shopadmin@localhost:20001/postgres?sslmode=verify-full&sslrootcert=pgflex-ca.pem"
    );
    assert_eq!(
        strings.environment,
        "export PGHOST=localhost\nexport PGPORT=20001\nexport PGDATABASE=postgres\nexport PGUSER=shopadmin\nexport PGSSLMODE=verify-full\nexport PGSSLROOTCERT=pgflex-ca.pem\npsql"
    );
    assert_eq!(
        strings.jdbc_url,
        "jdbc:postgresql://localhost:20001/postgres?user=shopadmin&sslmode=verify-full&sslrootcert=pgflex-ca.pem"
    );
    assert_eq!(
        strings.npgsql,
        "Host=localhost;Port=20001;Database=postgres;Username=shopadmin;SSL Mode=VerifyFull;Root Certificate=pgflex-ca.pem"
    );
    assert_eq!(
        strings.pg_dump,
        r#"pg_dump --dbname="host=localhost port=20001 dbname=postgres user=shopadmin sslmode=verify-full sslrootcert=pgflex-ca.pem" --format=custom --file=postgres.dump"#
    );
    assert!(strings.pg_restore.ends_with(" --no-owner --exit-on-error postgres.dump"));
}

#[test]
fn hostile_names_stay_inside_their_quotes() {
    let strings = ConnectStrings::of(&target(r#"a'b"c\d $(x) é;&%"#));
    assert!(
        strings.psql.contains(
            r#"psql 'host=localhost port=20001 dbname='\''a\'\''b"c\\d $(x) é;&%'\'' user"#
        ),
        "{}",
        strings.psql
    );
    assert!(
        strings.uri.contains("/a%27b%22c%5Cd%20%24%28x%29%20%C3%A9%3B%26%25?"),
        "{}",
        strings.uri
    );
    assert!(
        strings.environment.contains("export PGDATABASE='a'\\''b\"c\\d $(x) é;&%'\n"),
        "{}",
        strings.environment
    );
    assert!(
        strings.psycopg.contains(r#"    dbname="a'b\"c\\d $(x) é;&%","#),
        "{}",
        strings.psycopg
    );
    assert!(strings.node.contains(r#"  database: "a'b\"c\\d $(x) é;&%","#), "{}", strings.node);
    assert!(
        strings.npgsql.contains(r#";Database="a'b""c\d $(x) é;&%";Username"#),
        "{}",
        strings.npgsql
    );
    assert!(
        strings.dotnet.contains(r#"Database=\"a'b\"\"c\\d $(x) é;&%\";Username"#),
        "{}",
        strings.dotnet
    );
    assert!(strings.pg_dump.ends_with("--file=a_b_c_d___x______.dump"), "{}", strings.pg_dump);
}

#[test]
fn spaces_in_a_name_are_quoted_in_the_keyword_form() {
    assert_eq!(keyword_value("my shop"), "'my shop'");
    assert_eq!(keyword_value(""), "''");
    assert_eq!(keyword_value("a=b"), "a=b");
}

#[test]
fn by_name_libpq_gets_the_address_and_programs_the_name() {
    let by_name = Target {
        host: "shop.pgflex.localhost".into(),
        hostaddr: Some(IpAddr::from([127, 0, 0, 1])),
        port: 5432,
        ..target("postgres")
    };
    let strings = ConnectStrings::of(&by_name);
    assert!(strings.psql.contains("host=shop.pgflex.localhost hostaddr=127.0.0.1 port=5432"));
    assert!(strings.uri.ends_with("&hostaddr=127.0.0.1"));
    assert!(strings.environment.contains("export PGHOSTADDR=127.0.0.1\n"));
    assert!(
        !strings.pgx.contains("hostaddr") && strings.pgx.contains("@shop.pgflex.localhost:5432/")
    );
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let strings = ConnectStrings::of(&Target { host: "::1".into(), ..target("postgres") });
    assert!(strings.uri.contains("@[::1]:20001/") && strings.jdbc_url.contains("//[::1]:20001/"));
}

#[test]
fn database_names() {
    assert_eq!(parse_database("  "), Ok("postgres".into()));
    assert_eq!(parse_database(" my shop "), Ok("my shop".into()));
    assert!(parse_database(&"a".repeat(63)).is_ok());
    for bad in [&*"a".repeat(64), "a\nb", "a\0b"] {
        assert!(parse_database(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn no_string_holds_a_password() {
    let strings = ConnectStrings::of(&target("postgres"));
    for program in
        [&strings.jdbc, &strings.psycopg, &strings.psycopg2, &strings.node, &strings.dotnet]
    {
        assert!(program.contains("PGPASSWORD"), "{program}");
    }
}
