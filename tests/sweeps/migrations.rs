//! Migrations: portable types only, the same schema on both databases, harmless to run again.

use pgflex::store::{Dialect, testing};
use std::fs;
use std::path::Path;

fn migration_texts() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut texts: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_str().unwrap().to_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    texts.sort();
    texts
}

/// A column of any other type fails at run time, for the whole row, on one of the two databases.
#[test]
fn columns_have_one_of_four_types() {
    for (name, text) in migration_texts() {
        for statement in text.split(';').filter(|statement| statement.contains("CREATE TABLE")) {
            let body = statement.split_once('(').unwrap().1;
            for line in body
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && *line != ")" && !line.starts_with("PRIMARY KEY"))
            {
                let rest = line.split_once(' ').unwrap().1;
                let fine = ["TEXT", "BIGINT", "DOUBLE PRECISION", "BYTEA"]
                    .iter()
                    .any(|kind| rest.starts_with(kind));
                assert!(fine, "{name}: {line}");
            }
        }
    }
}

#[test]
fn migrations_are_numbered_without_gaps() {
    for (at, (name, _)) in migration_texts().iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}_", at + 1)), "{name}");
    }
}

/// A column added later needs a default, or it fails on a table that has rows.
#[test]
fn added_columns_have_a_default_or_may_be_null() {
    for (name, text) in migration_texts() {
        for line in
            text.lines().filter(|line| line.contains("ADD COLUMN") && line.contains("NOT NULL"))
        {
            assert!(line.contains("DEFAULT"), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn both_databases_get_the_same_tables_and_columns_and_migrate_again_without_harm() {
    let mut schemas = vec![];
    for test in testing::all().await {
        assert_eq!(test.store.dialect() == Dialect::Sqlite, test.name == "SQLite");
        let again = pgflex::store::Store::open(&test.url)
            .await
            .expect("a second start migrates without harm");
        schemas.push((test.name, again.schema().await.unwrap()));
    }
    assert!(schemas[0].1.len() > 80, "the schema was read");
    for (name, schema) in &schemas[1..] {
        assert_eq!(schema, &schemas[0].1, "{name} differs from {}", schemas[0].0);
    }
}
