//! The core of Longshore: the stages that a backup passes, the streams between the stages, and the
//! records of a backup.
//!
//! | module | contents |
//! | --- | --- |
//! | [`stage`] | the traits of the stages, such as Dump, Verify, Encrypt, Ship and Restore |
//! | [`survey`] | the subjects, exclusions and requirements of a run |
//! | [`standby`] | pausing the replay of a standby, and its conflicts |
//! | [`stream`] | the stream between stages: its contract and its adapters |
//! | [`meter`], [`compress`], [`fan_out`] | processing of the bytes between the stages |
//! | [`progress`] | progress events |
//! | [`pipeline`] | composed stages: back up, fetch and copy |
//! | [`subject`], [`key`] | the subject of a backup, and its place in a destination |
//! | [`manifest`], [`catalog`] | the record of a backup, and all records of a destination |
//! | [`source`] | the properties recorded of a dumped database |
//! | [`provenance`] | the backup that details and archives name |
//! | [`adopt`] | import of dated files of other programs |
//! | [`root`] | checks of a destination's root directory |
//! | [`draft`] | the names of temporary files |
//! | [`aftercare`] | cleanup at a destination that outlives its caller |
//! | [`mark`] | later events of a backup: held, verified, damaged |
//! | [`run_report`] | the record that each run of a verb leaves |
//! | [`drill`] | the result of a restore drill |
//! | [`retention`] | the backups to keep, with reasons |
//! | [`plugin`] | the construction of stages from settings |
//! | [`berth`] | a destination with a rate limit and a stall timeout |
//! | [`terms`] | the maximum age of a job's backups, and the schedule of its runs |
//! | [`quantity`] | sizes and durations in text form |
//! | [`credential`] | secrets passed by the service manager |
//! | [`regular_file`] | opening files, but not links or pipes |
//! | [`check`], [`lock`], [`error`] | preflight checks, locks, errors |
//! | [`sqlstate`] | the error codes of a server |
//!
//! This crate contains no configuration format, no command line, no SDK and no child process.
//! [`FORMAT.md`](https://docs.rs/crate/longshore-core/latest/source/FORMAT.md) describes the
//! contents of a destination.

pub mod adopt;
pub mod aftercare;
pub mod berth;
pub mod catalog;
pub mod check;
pub mod compress;
pub mod credential;
pub mod draft;
pub mod drill;
pub mod error;
pub mod fan_out;
pub mod key;
pub mod left_out;
pub mod lock;
pub mod manifest;
pub mod mark;
pub mod meter;
pub mod pipeline;
pub mod plugin;
pub mod progress;
pub mod provenance;
pub mod quantity;
pub mod regular_file;
pub mod retention;
pub mod root;
pub mod run_report;
pub mod source;
pub mod sqlstate;
pub mod stage;
pub mod standby;
pub mod stream;
pub mod subject;
pub mod survey;
pub mod terms;

pub use error::{Error, Kind, Result, Stage};
pub use sqlstate::SqlState;
