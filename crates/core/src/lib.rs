//! What a backup is: the stages it passes, the streams between them, and the record it leaves.
//!
//! | module | holds |
//! | --- | --- |
//! | [`stage`] | the joints: Dump, Verify, Encrypt, Decrypt, Ship, Store, Restore, Scratch, Examine |
//! | [`survey`] | what a run would copy, leave out and need |
//! | [`standby`] | pausing the replay of a standby, and its conflicts |
//! | [`stream`] | the stream between stages and its promise, with adapters |
//! | [`meter`], [`compress`], [`fan_out`] | what happens to bytes between the joints |
//! | [`progress`] | how far it is, for whoever watches |
//! | [`pipeline`] | stages composed: a backup outward, a fetch homeward |
//! | [`subject`], [`key`], [`manifest`], [`catalog`] | what is backed up, where it lies, its record, and all records of a destination |
//! | [`source`] | what is recorded of a database that is dumped, besides its bytes |
//! | [`provenance`] | the backup that details and archives say they are of |
//! | [`adopt`] | dated files of other programs, taken for backups by their names |
//! | [`root`] | the directory that a destination is, and why one is refused |
//! | [`draft`] | what files are called until they are whole |
//! | [`aftercare`] | what is ended or taken back at a destination when nobody waits for it any more |
//! | [`mark`] | what became known of a backup since: held, verified, damaged |
//! | [`run_report`] | the record that each run of a verb leaves |
//! | [`drill`] | what a restore drill found |
//! | [`retention`] | which backups to keep, decided with reasons |
//! | [`plugin`] | how settings become stages |
//! | [`berth`] | a destination under the terms that its owner sets: how fast, and how long it may stall |
//! | [`terms`] | how old a job's backups may be, and when its runs are due |
//! | [`quantity`] | sizes and times as people write them |
//! | [`credential`] | secrets that the service manager hands over |
//! | [`regular_file`] | opening files where others may have put a link or a pipe |
//! | [`check`], [`lock`], [`error`] | looking ahead, being alone, saying what went wrong |
//! | [`sqlstate`] | the code that a server gives an error |
//!
//! There is no configuration format, no command line, no SDK and no child process in here.
//! [`FORMAT.md`](https://docs.rs/crate/longshore-core/latest/source/FORMAT.md) beside this crate's manifest describes what lies in a destination.

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
