//! The configuration: the TOML file, as written and as resolved, and the plugins that it may name.
//!
//! | module | contents |
//! | --- | --- |
//! | `config` | [`Config`]: the file with every reference resolved |
//! | `destination`, `job` | the tables about destinations and jobs |
//! | `written`, `table` | the file as written, and reading its tables |
//! | `wal` | the table about the archive of a cluster's WAL |
//! | `hook`, `notify` | the tables about hooks and notices |
//! | `incremental` | the setting about incremental base backups |
//! | `differential` | the setting about dumps stored as differences |
//! | `adopt`, `drill` | the tables about foreign files and drills |
//! | `identity`, `decryption` | the tables about identities and programs that decrypt |
//! | `trust` | the tables about signatures |
//! | `timetable` | the schedules of a job |
//! | `error` | mistakes in the configuration, and their positions in the file |
//! | [`registry`] | the known plugins |
//! | [`mod@serve`] | the table about the service |
//! | [`schema()`], `reference` | the JSON Schema of the file |
//! | [`suggestion`] | the known name nearest to a mistyped one |

mod adopt;
mod config;
mod decryption;
mod destination;
mod differential;
mod drill;
mod error;
mod hook;
mod identity;
mod incremental;
mod job;
mod notify;

mod reference;
pub mod registry;
mod schema;
pub mod serve;
pub mod suggestion;
mod table;
mod timetable;
mod trust;
mod wal;
mod written;

pub use self::adopt::Adoption;
pub use self::config::Config;
pub use self::destination::Destination;
pub use self::differential::Differential;
pub use self::drill::{DrillSettings, Expectation, Query};
pub use self::hook::{Hook, When};
pub use self::identity::{IdentityCommand, IdentitySource};
pub use self::incremental::{Incremental, ParentUnseen};
pub use self::job::Job;
pub use self::notify::NoticeChannel;
pub use self::schema::schema;
pub use self::timetable::Timetable;
pub use self::trust::TrustSettings;
pub use self::wal::{ReceiveSettings, Required, WalArchive};
