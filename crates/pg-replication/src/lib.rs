//! A client of PostgreSQL's replication protocol, for base backups of PostgreSQL 15 and newer.
//!
//! A [`Connection`] follows libpq's rules: hosts in turn, TLS in six modes, SCRAM with channel
//! binding, password files. A [`BaseBackup`] passes the server's archives on as they arrive, and
//! ends cleanly only if the server confirmed the whole backup.
//!
//! Sources: the chapters "Frontend/Backend Protocol" and "Streaming Replication Protocol" of
//! PostgreSQL's manual, and its files `fe-connect.c`, `fe-auth.c` and `fe-secure-openssl.c`.
//!
//! | module | contents |
//! | --- | --- |
//! | [`parameters`] | the parameters of a connection, by libpq's rules |
//! | [`connect`](mod@connect) | hosts in turn, until one has the wanted state |
//! | `socket` | TCP and Unix sockets |
//! | `tls` | TLS: modes, certificates of both sides, names |
//! | `startup`, `authentication` | the start of a session: passwords, SCRAM, channel binding |
//! | [`connection`] | an authenticated connection: messages in both directions |
//! | [`command`] | replication commands with small results: facts, settings, slots |
//! | [`base_backup`] | base backups, and manifests for incremental ones |
//! | [`wal_stream`] | WAL while it is written, and the histories of timelines |
//! | [`notice`], [`server_error`] | the server's notices and errors, in codes |
//! | [`error`] | errors |

pub mod base_backup;
pub mod command;
pub mod connect;
pub mod connection;
pub mod error;
pub mod notice;
pub mod parameters;
pub mod server_error;
pub mod wal_stream;

mod authentication;
mod socket;
mod startup;
mod tls;

pub use base_backup::{BaseBackup, Event};
pub use connect::connect;
pub use connection::Connection;
pub use error::{Error, Result};
pub use parameters::Parameters;
pub use server_error::ServerError;
pub use wal_stream::{WalEvent, WalStream};
