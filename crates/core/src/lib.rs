//! The core of Longshore: the stages that a backup passes, the streams between the stages, and the
//! pipelines composed of them.
//!
//! | module | contents |
//! | --- | --- |
//! | [`stage`] | the traits of the stages, such as Dump, Verify, Encrypt, Ship and Restore |
//! | [`discovery`] | the subjects, exclusions and requirements of a run |
//! | [`standby`] | pausing the replay of a standby, and its conflicts |
//! | [`stream`] | the stream between stages: its contract and its adapters |
//! | [`difference`] | differences from a full backup: made while a dump passes, and undone |
//! | [`meter`], [`compress`], [`fan_out`] | processing of the bytes between the stages |
//! | [`event`] | the events of a run, and their observers |
//! | [`pipeline`] | composed stages: back up, fetch and read back |
//! | [`root_dir`] | checks of a destination's root directory |
//! | [`temp_name`] | the names of temporary files |
//! | [`cleanup`] | cleanup at a destination that outlives its caller |
//! | [`child_log`] | the log of child processes |
//! | [`atomic_upload`] | the publication or rollback of an uploaded file |
//! | [`plugin`], [`cluster`] | building stages from settings; the connection to a cluster |
//! | [`program_target`] | a program of the operator as the target of a restore |
//! | [`recovery`] | the recovery of a restored cluster from archived WAL |
//! | [`store`], [`retry`] | destinations with limits and resumption; retries |
//! | [`credential`], [`secret_file`] | secrets passed by the service manager, and in files |
//! | [`regular_file`] | opening files, but not links or pipes |
//! | [`check`], [`lock`] | preflight checks, locks |
//!
//! This crate contains no configuration format, no command line, no SDK and no child process. It
//! passes on the modules of `longshore-model`, so that a plugin needs one crate.

pub mod atomic_upload;
pub mod check;
pub mod child_log;
pub mod cleanup;
pub mod cluster;
pub mod compress;
pub mod credential;
pub mod difference;
pub mod discovery;
pub mod event;
pub mod fan_out;
pub mod lock;
pub mod meter;
pub mod pipeline;
pub mod plugin;
pub mod program_target;
pub mod recovery;
pub mod regular_file;
pub mod retry;
pub mod root_dir;
pub mod secret_file;
pub mod stage;
pub mod standby;
pub mod store;
pub mod stream;
pub mod temp_name;

pub use longshore_model::{Error, Kind, Result, SqlState, Stage};
pub use longshore_model::{
    adopted_from, base, clock, comparison, digest, drill, encryption_name, error, format, header, key, left_out,
    manifest, mark, phase, provenance, run_report, series, signature, source, sqlstate, subject, terms, unit, wal_key,
};
