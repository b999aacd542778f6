//! PostgreSQL's client programs, for the plugins that run them. A program is found by the server's
//! version, connects as libpq does, runs as a child process whose streams end cleanly only if the
//! child succeeded, and answers queries in JSON.
//!
//! | module | contents |
//! | --- | --- |
//! | [`conninfo`] | libpq connection strings, parsed so that no secret reaches argv |
//! | [`database`] | the statement that creates a database with recorded properties |
//! | [`tool`] | discovery of `pg_dump` and the other client programs |
//! | [`child`] | a running child: its streams, its standard error, its exit status |
//! | [`server_error`] | server errors as psql prints them: codes instead of sentences |
//! | [`client`] | a cluster that answers queries, and commands that connect to it |
//! | `session` | the settings that sessions rely on |
//! | `service_file` | the options that a libpq service sends |
//! | [`money`] | the locale of values of type money |
//! | [`open_session`] | a session that stays open between its statements |
//! | [`cluster_files`] | facts about the files of a cluster that only SQL supplies |
//! | [`archiving`] | the test of a WAL archive at its source |
//! | [`pooler`] | the proof that a connection passes no connection pooler |
//! | [`failure`] | the error kind and the hint of a failed command |
//! | `diagnosis` | the cause of a refused connection |
//! | `cause` | the cause of a failure in a program that prints only text |
//! | [`server`] | facts about a server, its databases and our role |
//! | [`leftover`] | databases that a killed restore left |
//! | [`limits`] | the connections that a server grants our role |
//! | [`standby`] | a standby's replay, and its conflicts with dumps |
//! | [`argument`] | checks of extra arguments against those that would break the pipeline |
//! | [`directory`] | the directory format as one tar stream |
//! | [`globals`] | the globals at the beginning of a cluster's script |
//! | [`isolation_policy`] | the decision about backups that act outside of their database |
//! | [`watchdog`] | a shell that cleans up after a drill, even if Longshore is killed |

pub mod archiving;
pub mod argument;
mod cause;
pub mod child;
pub mod client;
pub mod cluster_files;
pub mod conninfo;
pub mod database;
mod diagnosis;
pub mod directory;
pub mod failure;
pub mod globals;
pub mod isolation_policy;
pub mod leftover;
pub mod limits;
pub mod money;
pub mod open_session;
pub mod pooler;
pub mod server;
pub mod server_error;
mod service_file;
mod session;
pub mod standby;
pub mod tool;
pub mod watchdog;
