//! The encoding and locale of the cluster itself: `template1` and `postgres` are restored with
//! their original ones, regardless of the other databases.

use longshore_core::Result;
use longshore_core::manifest::{DatabaseFacts, Manifest};
use longshore_core::subject::Subject;
use longshore_pg_client::client::Client;
use longshore_pg_client::database::create;

/// The databases that initdb creates and a backup may contain; the first one present decides.
const INITDB_DATABASES: [&str; 2] = ["template1", "postgres"];

/// Returns the facts to create the cluster with.
pub(crate) fn of_cluster<'a>(manifests: &[&'a Manifest]) -> Option<&'a DatabaseFacts> {
    let initdb_database = INITDB_DATABASES.iter().find_map(|name| of(manifests, name));
    initdb_database.or_else(|| manifests.iter().find_map(|manifest| manifest.database.as_ref()))
}

fn of<'a>(manifests: &[&'a Manifest], name: &str) -> Option<&'a DatabaseFacts> {
    let manifest = manifests.iter().find(|manifest| manifest.subject == Subject::database(name))?;
    manifest.database.as_ref()
}

/// Returns the facts to recreate `postgres` with, if they differ from the cluster's.
fn of_postgres<'a>(manifests: &[&'a Manifest]) -> Option<&'a DatabaseFacts> {
    of(manifests, "postgres").filter(|facts| of_cluster(manifests) != Some(facts))
}

/// Recreates `postgres` if it differed from `template1`. `client` is connected to `template1`.
pub(crate) async fn recreate_postgres(client: &Client, manifests: &[&Manifest]) -> Result<()> {
    if let Some(facts) = of_postgres(manifests) {
        client.execute("drop database postgres").await?;
        client.execute(&create("postgres", Some(facts))).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, encoding: &str) -> Manifest {
        let text = include_str!("../../../crates/model/testdata/manifest-1.json");
        let mut manifest: Manifest = serde_json::from_str(text).unwrap();
        manifest.subject = Subject::database(name);
        manifest.database = Some(DatabaseFacts {
            encoding: encoding.to_owned(),
            collate: "C".to_owned(),
            ctype: "C".to_owned(),
            locale_provider: "libc".to_owned(),
            locale: None,
            monetary: None,
        });
        manifest
    }

    #[test]
    fn cluster_has_the_encoding_of_template1() {
        let (app, postgres, template1) =
            (manifest("app", "LATIN1"), manifest("postgres", "UTF8"), manifest("template1", "SQL_ASCII"));
        let encoding = |facts: Option<&DatabaseFacts>| facts.map(|facts| facts.encoding.clone());
        assert_eq!(encoding(of_cluster(&[&app, &postgres])).as_deref(), Some("UTF8"));
        assert_eq!(of_postgres(&[&app, &postgres]), None);
        let all = [&app, &postgres, &template1];
        assert_eq!(encoding(of_cluster(&all)).as_deref(), Some("SQL_ASCII"));
        assert_eq!(encoding(of_postgres(&all)).as_deref(), Some("UTF8"));
        assert_eq!(encoding(of_cluster(&[&app])).as_deref(), Some("LATIN1"));
        assert_eq!(of_cluster(&[]), None);
    }
}
