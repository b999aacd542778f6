//! Backups from snapshots of the volumes of a cluster.
//!
//! | file | contents |
//! | --- | --- |
//! | `settings.rs` | the settings |
//! | `stage.rs` | the stage |
//! | `crash.rs` | a snapshot of everything, without a backup at the server |
//! | `held.rs` | a snapshot that is removed in all cases |
//! | `kept.rs` | snapshots that stay on the host |
//! | `maker.rs` | the steps from a snapshot's creation to its removal |
//! | `volume.rs` | the volumes that contain the files of a cluster |
//! | `reflink.rs` | copies of files that share their blocks |
//! | `program.rs` | programs with a time limit |

mod crash;
mod held;
mod kept;
mod maker;
mod program;
mod reflink;
mod settings;
mod stage;
mod volume;

pub use settings::{Commands, Consistency, Known, Snapshot, With};

pub(crate) use crash::CrashedCluster;
pub(crate) use held::Held;
pub(crate) use stage::SnapshotDumper;
