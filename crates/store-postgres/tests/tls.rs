//! Encrypted connections, as far as `sslmode` asks for them.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::sync::Arc;

use sessiond_store::{NoFeed, Store as _, StoreResult};
use sessiond_store_postgres::PostgresStore;
use sessiond_testkit::postgres::{Database, Server, Setup, psql};

async fn open(database: &Database, host: &str, parameters: &str) -> StoreResult<PostgresStore> {
    let url = database.url().replace("127.0.0.1", host);
    let options = common::options(&format!("{url}?{parameters}"), Arc::new(NoFeed));
    PostgresStore::open(&options).await
}

#[tokio::test]
async fn the_server_is_trusted_as_far_as_is_asked_for() {
    let server = Server::start(&Setup {
        tls: true,
        access: vec!["hostssl all all 127.0.0.1/32 trust".into()],
        ..Setup::default()
    })
    .unwrap();
    let database = server.database().unwrap();
    let root = format!("sslrootcert={}", server.certificate().display());

    let full = format!("sslmode=verify-full&{root}");
    let store = open(&database, "localhost", &full).await.unwrap();
    let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE ssl AND application_name LIKE 'sessiond writer%'";
    assert_eq!(database.psql(sql).unwrap(), "1");
    store.close().await.unwrap();

    let accepted = [
        ("127.0.0.1", format!("sslmode=verify-ca&{root}")),
        ("127.0.0.1", "sslmode=require".into()),
        ("127.0.0.1", "sslmode=prefer".into()),
    ];
    for (host, parameters) in accepted {
        let store = open(&database, host, &parameters).await;
        store.unwrap().close().await.unwrap();
    }
    let refused = [
        // Its certificate is for another name.
        ("127.0.0.1", format!("sslmode=verify-full&{root}")),
        // Nobody whom the system trusts has signed it.
        ("localhost", "sslmode=verify-full".into()),
        // It takes no connection in the clear.
        ("127.0.0.1", "sslmode=disable".into()),
    ];
    for (host, parameters) in refused {
        let store = open(&database, host, &parameters).await;
        assert!(store.is_err(), "{host} {parameters}");
    }
    assert!(psql(&format!("{}?sslmode=disable", database.url()), "SELECT 1").is_err());
}
