//! The archive of a cluster's WAL: PostgreSQL offers each finished segment, and asks for segments
//! during recovery.
//!
//! | module | contents |
//! | --- | --- |
//! | [`push`] | storing a file that PostgreSQL offers, for `archive_command` |
//! | [`receive`] | receiving WAL while the server writes it |
//! | [`fetch`] | returning a file that recovery asks for, for `restore_command` |
//! | [`recovery`], `lineage` | the recovery of a base backup from the archive |
//! | [`status`], [`inventory`] | the archived WAL of each timeline |
//! | [`prune`](mod@prune) | the removal of WAL that nothing needs |
//! | [`sync`] | copying WAL between the destinations of an archive |
//! | `archive`, `archiver` | the archive at each destination, and writing to it |
//! | `needed` | the WAL that a base backup without WAL of its own needs |
//! | `ahead` | segments fetched before recovery asks for them |
//! | `file` | a file of the archive, checked |
//! | `control` | the control file of the server or of the recovery |
//! | `push_state` | the state that this host keeps between two pushes |

mod ahead;
pub(crate) mod archive;
mod archiver;
mod control;
pub mod fetch;
mod file;
pub mod inventory;
mod lineage;
pub(crate) mod needed;
pub mod prune;
pub mod push;
mod push_state;
pub mod receive;
pub mod recovery;
pub mod status;
pub mod sync;

use longshore_core::{Error, Kind, Result, Stage};
use tokio::task::spawn_blocking;

/// Runs blocking work on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::new(Stage::Ship, Kind::Failed, "", "a thread ended unexpectedly").because(error))
    })
}
