//! Takes base backups of a cluster, as `type = "pg_base"`: the server's archives, merged into one
//! tar that unpacks to a data directory, with the manifest last.
//!
//! The backup includes the WAL that makes it consistent. A temporary replication slot on a second
//! connection reserves this WAL until the server has sent it, so the role needs REPLICATION, and
//! the server two WAL senders. PostgreSQL 15 and newer.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings, and the options that follow from them |
//! | `own_client.rs` | the stage that uses Longshore's own replication client |
//! | `incremental.rs` | incremental backups, and the conditions under which they are right |
//! | `wal_source.rs` | WAL that is received while the server writes it |
//! | `source.rs` | replication connections, and the identity of the server |
//! | `slot.rs` | the replication slot that reserves WAL |
//! | `backup.rs` | a running backup as a stream |
//! | `merged_tar.rs` | the server's archives as one tar, in chunks |
//! | `spool.rs` | the temporary file of the manifest |
//! | `catalog.rs` | facts that only SQL supplies, such as names of tablespaces |
//! | `check.rs` | the preflight check of the own client |
//! | `failure.rs` | errors with their kinds and hints |
//! | `program.rs` | the stage that runs pg_basebackup instead |

mod backup;
mod catalog;
mod check;
mod failure;
mod incremental;
mod merged_tar;
mod own_client;
mod program;
mod settings;
mod slot;
mod source;
mod spool;
mod wal_source;

use longshore_core::Result;
use longshore_core::plugin::{JobContext, Plugin};
use longshore_core::stage::Dump;
use longshore_pg_client::client::Client;

pub use longshore_pg_base::settings::{Checkpoint, DamagedPages, Wal};
pub use settings::{PgBase, ReplicationClient};

use own_client::OwnClient;
use program::Program;

impl Plugin<dyn Dump> for PgBase {
    const TYPE: &'static str = "pg_base";

    fn build(self, site: &JobContext) -> Result<Box<dyn Dump>> {
        self.check()?;
        let client = Client::new(&site.cluster)?;
        Ok(match self.client {
            ReplicationClient::Longshore => Box::new(OwnClient::new(self, site.clone(), client)),
            ReplicationClient::PgBasebackup => Box::new(Program::new(self, site.clone(), client)),
        })
    }
}
