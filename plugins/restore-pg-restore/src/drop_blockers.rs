//! Blockers of dropping a database: sessions, prepared transactions, replication slots,
//! subscriptions.

use longshore_core::error::printable;
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_client::client::Client;
use longshore_pg_client::server::literal;
use serde::Deserialize;

/// The objects that prevent a database from being dropped.
#[derive(Debug, Default, Deserialize)]
struct Blockers {
    /// Each as its role, its application and its address.
    sessions: Vec<String>,
    prepared: Vec<String>,
    slots: Vec<String>,
    subscriptions: Vec<String>,
}

/// Returns the reasons why a database cannot be dropped.
pub(crate) async fn errors(client: &Client, database: &str) -> Result<Vec<Error>> {
    let name = literal(database);
    let blockers = format!(
        "select json_build_object(
        'sessions', (select coalesce(json_agg(distinct concat_ws(' ', usename, nullif(application_name, ''),
                coalesce(host(client_addr), 'local'))), '[]') from pg_catalog.pg_stat_activity
            where datname = {name} and pid <> pg_backend_pid() and application_name <> 'longshore'
            and backend_type is distinct from 'autovacuum worker'),
        'prepared', (select coalesce(json_agg(gid), '[]') from pg_catalog.pg_prepared_xacts where database = {name}),
        'slots', (select coalesce(json_agg(slot_name), '[]') from pg_catalog.pg_replication_slots
            where database = {name} and not temporary),
        'subscriptions', (select coalesce(json_agg(subname), '[]') from pg_catalog.pg_subscription s
            join pg_catalog.pg_database d on d.oid = s.subdbid where datname = {name}))"
    );
    Ok(client.query::<Blockers>(&blockers).await?.errors(database))
}

impl Blockers {
    fn errors(&self, database: &str) -> Vec<Error> {
        let kinds = [
            (
                &self.sessions,
                "sessions are connected to the database that --clean drops",
                "stop the clients, or block them: alter database … with allow_connections false, then pg_terminate_backend",
            ),
            (
                &self.prepared,
                "the database that --clean drops has prepared transactions",
                "commit them or roll them back in that database: commit prepared '…', rollback prepared '…'",
            ),
            (
                &self.slots,
                "the database that --clean drops has logical replication slots",
                "drop them if they are no longer used: select pg_drop_replication_slot('…')",
            ),
            (
                &self.subscriptions,
                "the database that --clean drops has subscriptions",
                "drop them in that database: drop subscription …",
            ),
        ];
        let named = |names: &[String]| names.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ");
        let kinds = kinds.into_iter().filter(|(names, ..)| !names.is_empty());
        kinds
            .map(|(names, message, hint)| {
                let message = format!("{message}: {}", named(names));
                Error::new(Stage::Restore, Kind::Refused, database, message).hint(hint)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_each_blocker() {
        let of = |name: &str| vec![name.to_owned()];
        let blockers = Blockers {
            sessions: of("app psql local"),
            prepared: of("gid"),
            slots: of("slot"),
            subscriptions: of("sub"),
        };
        let message: Vec<_> = blockers.errors("appdb").iter().map(Error::chain).collect();
        assert_eq!(message.len(), 4);
        for (message, name) in message.iter().zip(["app psql local", "gid", "slot", "sub"]) {
            assert!(message.ends_with(name), "{message}");
        }
        assert!(Blockers::default().errors("appdb").is_empty());
    }
}
