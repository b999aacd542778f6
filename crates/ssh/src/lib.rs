//! Hosts reached over SSH, for the destination plugins. OpenSSH's `ssh` makes the connections, so
//! `~/.ssh/config`, agents, certificates and hardware keys work as usual, and hosts with unknown
//! keys are rejected.
//!
//! | module | contents |
//! | --- | --- |
//! | [`settings`](mod@settings) | the connection settings of these plugins |
//! | [`host`] | a host with one shared connection, made on first use and again after it is lost |
//! | `control_master` | the `ssh` process that makes the connection |
//! | [`process`] | a running remote command: its streams, its errors, its exit status |
//! | [`shell_quote`] | quoting for a shell |
//! | [`failure`] | conversion of the messages of `ssh` |
//! | [`directory`] | a directory on a host whose account has a POSIX shell |

mod control_master;
pub mod directory;
pub mod failure;
pub mod host;
pub mod process;
pub mod settings;
pub mod shell_quote;
