//! The records of backups as pure data: no input or output, no tasks, no plugins.
//!
//! | module | contents |
//! | --- | --- |
//! | [`subject`], [`series`] | the subject of a backup, and all backups of one subject by one job |
//! | [`key`], `layout` | names in a destination, and the backup that a file belongs to |
//! | [`manifest`], `verification` | the record of one backup, and of the check of its dump |
//! | [`base`] | the facts of a base backup |
//! | [`difference`] | a backup stored as its difference from a full one |
//! | [`format`](mod@format), [`digest`] | the format of a dump, and the digest of a file |
//! | [`encryption_name`] | the names of encryptions by programs |
//! | [`source`], [`provenance`] | the properties of a dumped database; the origin of details |
//! | [`header`] | headers that give other recipients access to encrypted files |
//! | [`mark`] | later events of a backup: held, verified, damaged |
//! | [`drill`], [`comparison`], [`phase`] | the result of a restore drill |
//! | [`signature`] | signatures of manifests, marks and run reports |
//! | [`left_out`] | entries of an archive that a restore could not make |
//! | [`run_report`] | the record that each run of a verb leaves |
//! | [`terms`] | the maximum age of a job's backups, and the schedule of its runs |
//! | [`unit`](mod@unit), [`clock`] | sizes and durations in text form, and the accuracy of clocks |
//! | [`error`], [`sqlstate`] | errors, and the error codes of a server |
//!
//! [`FORMAT.md`](https://docs.rs/crate/longshore-model/latest/source/FORMAT.md) describes the
//! contents of a destination.

pub mod adopted_from;
pub mod base;
pub mod clock;
pub mod comparison;
pub mod difference;
pub mod digest;
pub mod drill;
pub mod encryption_name;
pub mod error;
pub mod format;
pub mod header;
pub mod key;
mod layout;
pub mod left_out;
pub mod manifest;
pub mod mark;
pub mod phase;
pub mod provenance;
pub mod run_report;
pub mod series;
pub mod signature;
pub mod source;
pub mod sqlstate;
pub mod subject;
pub mod terms;
pub mod unit;
mod verification;
pub mod wal_key;

pub use error::{Error, Kind, Result, Stage};
pub use sqlstate::SqlState;
