//! PostgreSQL's client programs, for the plugins that run them: found by the server's version, connected as libpq does, run as children
//! whose streams end cleanly only if the child succeeded, and asked in JSON.
//!
//! | module | holds |
//! | --- | --- |
//! | [`conninfo`] | libpq's connection strings, taken apart so that no secret reaches argv |
//! | [`database`] | the statement that makes a database as another one was |
//! | [`tool`] | finding `pg_dump` and its like |
//! | [`child`] | a running child: its streams, its last words, its end |
//! | [`report`] | a server's errors as psql prints them: codes instead of sentences |
//! | [`client`] | a cluster that can be asked, and commands that connect to it |
//! | `session` | the settings that sessions rely on |
//! | `service_file` | the options that a service of libpq sends |
//! | [`money`] | the locale that values of type money are written in |
//! | [`pooler`] | the proof that a connection passes no connection pooler |
//! | [`failure`] | what follows from a failed command: its kind and the way out |
//! | `diagnosis` | why a connection was refused |
//! | `obstacle` | what stood in the way of a program that gives text alone |
//! | [`server`] | what a server says of itself, its databases and our role |
//! | [`leftover`] | databases that a killed restore left |
//! | [`limits`] | the connections that a server grants our role |
//! | [`standby`] | a standby's replay, and its conflicts with dumps |
//! | [`argument`] | what a user may add to a command line, and what would break the pipeline |
//! | [`directory`] | the directory format as one tar stream |
//! | [`script`] | plain SQL as `pg_dump` and `pg_dumpall` write it, statement by statement |

pub mod argument;
pub mod child;
pub mod client;
pub mod conninfo;
pub mod database;
mod diagnosis;
pub mod directory;
pub mod failure;
pub mod leftover;
pub mod limits;
pub mod money;
mod obstacle;
pub mod pooler;
pub mod report;
pub mod script;
pub mod server;
mod service_file;
mod session;
pub mod standby;
pub mod tool;
