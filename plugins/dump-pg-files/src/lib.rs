//! Takes base backups from the files of a cluster on this host, read by several threads: as
//! `type = "pg_files"` the live data directory between `pg_backup_start` and `pg_backup_stop`, as
//! `type = "snapshot"` a snapshot of its volumes that was made between them.
//!
//! The result is the tar of a base backup by the server, with a manifest that is computed here. For
//! clusters that one WAL sender is too slow for.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `dumper.rs` | the stage `pg_files`, and what both stages share |
//! | `snapshot` | the stage `snapshot` |
//! | `check.rs` | the check before a run |
//! | `source.rs` | a server with a backup in progress, or a cluster that was shut down |
//! | `session.rs` | the session of a backup at the server |
//! | `location.rs` | the folders of a cluster, and the proof that they belong to the server |
//! | `listing.rs` | the files that a backup contains |
//! | `reader.rs`, `pages.rs` | files read by several threads, with checks of their pages |
//! | `wal.rs` | the WAL that makes a backup consistent |
//! | `tar.rs` | the tar in chunks |
//! | `backup.rs` | a backup as a stream |

mod backup;
mod check;
mod dumper;
mod listing;
mod location;
mod pages;
mod reader;
mod session;
mod settings;
mod snapshot;
mod source;
mod tar;
mod wal;

use longshore_core::Result;
use longshore_core::plugin::{JobContext, Plugin};
use longshore_core::stage::Dump;
use longshore_pg_client::client::Client;

pub use settings::PgFiles;
pub use snapshot::{Commands, Consistency, Known, Snapshot, With};

use dumper::Dumper;
use snapshot::SnapshotDumper;

/// The subject of errors: the only one of the stages.
pub(crate) const BASE: &str = "base";

impl Plugin<dyn Dump> for PgFiles {
    const TYPE: &'static str = "pg_files";

    fn build(self, site: &JobContext) -> Result<Box<dyn Dump>> {
        self.check()?;
        Ok(Box::new(Dumper::new(self, site.clone(), Client::new(&site.cluster)?)))
    }
}

impl Plugin<dyn Dump> for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn build(self, site: &JobContext) -> Result<Box<dyn Dump>> {
        self.check()?;
        Ok(Box::new(SnapshotDumper::new(self, site.clone(), Client::new(&site.cluster)?)))
    }
}
