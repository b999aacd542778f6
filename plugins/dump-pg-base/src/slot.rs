//! A replication slot that reserves the WAL of a running backup.

use std::time::Duration;

use longshore_pg_replication::command::{SlotLifetime, WalReservation};
use longshore_pg_replication::{Connection, Result};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// The time between two queries of the idle connection. Routers forget connections that are idle
/// for minutes.
const QUERY_INTERVAL: Duration = Duration::from_secs(30);

/// A temporary replication slot on a connection of its own. Dropping it closes the connection, and
/// the server then drops the slot.
#[derive(Debug)]
pub(crate) struct HeldSlot {
    name: String,
    /// Holds the connection.
    _holder: AbortOnDropHandle<()>,
}

impl HeldSlot {
    /// Creates a slot that reserves the WAL from the last checkpoint on.
    pub(crate) async fn create(mut connection: Connection) -> Result<Self> {
        let name = format!("longshore_{}", Uuid::new_v4().simple());
        connection.create_slot(&name, SlotLifetime::Temporary, WalReservation::Immediate).await?;
        let holder = AbortOnDropHandle::new(tokio::spawn(hold(connection, name.clone())));
        Ok(Self { name, _holder: holder })
    }

    /// Returns true if a connection reaches the server that has the slot.
    pub(crate) async fn is_on_server_of(&self, connection: &mut Connection) -> Result<bool> {
        let slot = connection.read_slot(&self.name).await?;
        Ok(slot.is_some_and(|slot| slot.restart_lsn.is_some()))
    }
}

/// Holds the connection until it is lost. The loss does not fail the backup: the server itself
/// fails a backup whose WAL is missing.
async fn hold(mut connection: Connection, slot: String) {
    loop {
        tokio::time::sleep(QUERY_INTERVAL).await;
        match connection.read_slot(&slot).await {
            Ok(Some(_)) => {}
            Ok(None) => return tracing::warn!(target: "longshore::base", slot, "the replication slot is missing"),
            Err(error) => {
                return tracing::warn!(target: "longshore::base", slot, %error, "the replication slot is lost");
            }
        }
    }
}
