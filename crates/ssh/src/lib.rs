//! Hosts that are reached over SSH, for the plugins that ship to them: OpenSSH's own `ssh` does the talking, so `~/.ssh/config`, agents,
//! certificates and hardware keys work as they do by hand, and nobody is trusted whose host key is not known.
//!
//! | module | holds |
//! | --- | --- |
//! | [`settings`](mod@settings) | how a host is reached: settings that all of these plugins have |
//! | [`host`] | a host: connected when it is first needed, once for all, and anew when the connection has died |
//! | `master` | the `ssh` that makes the connection |
//! | [`running`] | a command that runs there: its streams, its last words, its end |
//! | [`words`] | lines that a shell takes apart as they were meant |
//! | [`failure`] | what `ssh` says, and what it means |
//! | [`directory`] | a directory on a host whose account has a POSIX shell |

pub mod directory;
pub mod failure;
pub mod host;
mod master;
pub mod running;
pub mod settings;
pub mod words;
