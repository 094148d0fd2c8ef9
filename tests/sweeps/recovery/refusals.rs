//! What is not whole, not ours or not wanted is refused in words, and nothing is written.

use super::{backup, clock, raw, sealer};
use pgflex::clock::Clock;
use pgflex::recover;
use pgflex::secrets::Sealer;
use pgflex::store::Store;
use pgflex::store::dump::DumpError;
use pgflex::store::testing;

#[tokio::test]
async fn damaged_cut_off_and_foreign_files_are_refused() {
    let test = testing::sqlite().await;
    testing::server(&test.store, clock().now(), "shop").await;
    let whole = backup(&test.store).await.content;
    assert!(recover::verify(&sealer(), &whole).is_ok());
    let words = |key: u8, file: &[u8]| {
        recover::verify(&Sealer::from_key([key; 32]), file).unwrap_err().to_string()
    };
    for at in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        let mut flipped = whole.to_vec();
        flipped[at] ^= 0x10;
        assert!(recover::verify(&sealer(), &flipped).is_err(), "byte {at}");
        assert!(recover::verify(&sealer(), &whole[..at]).is_err(), "cut off at {at}");
    }
    let last = whole.len() - 1;
    let mut flipped = whole.to_vec();
    flipped[last] ^= 1;
    assert!(words(7, &flipped).contains("damaged"), "{}", words(7, &flipped));
    assert!(words(7, &whole[..last]).contains("cut off"), "{}", words(7, &whole[..last]));
    assert!(words(8, &whole).contains("another one"), "{}", words(8, &whole));
    assert!(words(7, b"x").contains("no backup"), "{}", words(7, b"x"));
}

#[tokio::test]
async fn a_database_in_use_is_left_as_it_is() {
    for test in testing::all().await {
        let file = backup(&test.store).await.content;
        let checked = recover::verify(&sealer(), &file).unwrap();
        for used in testing::all().await {
            testing::server(&used.store, clock().now(), "shop").await;
            let error = recover::load(&used.url, &sealer(), &file, &checked).await.unwrap_err();
            assert!(matches!(error, DumpError::NotEmpty(_)), "{error}");
            assert!(error.to_string().contains("not empty"), "{error}");
            assert_eq!(used.store.server_ids().await.unwrap().len(), 1);
            assert!(!used.store.is_recovery_unfinished().await.unwrap());
        }
    }
}

/// The file passed the check and was exchanged before it was read again: the transaction is undone.
#[tokio::test]
async fn a_load_that_fails_half_way_writes_nothing() {
    for test in testing::all().await {
        testing::server(&test.store, clock().now(), "shop").await;
        let whole = backup(&test.store).await.content;
        let checked = recover::verify(&sealer(), &whole).unwrap();
        for to in testing::all().await {
            let mut flipped = whole.to_vec();
            *flipped.last_mut().unwrap() ^= 1;
            recover::load(&to.url, &sealer(), &flipped, &checked).await.unwrap_err();
            let pool = raw(&to.url).await;
            for table in ["servers", "settings", "operations"] {
                let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
                let (rows,): (i64,) = sqlx::query_as(sql).fetch_one(&pool).await.unwrap();
                assert_eq!(rows, 0, "{table} on {}", to.name);
            }
            pool.close().await;
            // And the next try goes through.
            recover::load(&to.url, &sealer(), &whole, &checked).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_a_newer_version_made_is_refused() {
    let blank = testing::blank_sqlite();
    let error = Store::open_empty(&blank.url, 9_999).await.unwrap_err();
    assert!(error.to_string().contains("newer pgflex"), "{error}");
}
