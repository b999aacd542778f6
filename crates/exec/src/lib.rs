//! Programs of the operator as stages: plain commands, and programs that implement the protocol
//! `longshore-exec/1`, which the manual page longshore-exec(7) describes.
//!
//! | module | contents |
//! | --- | --- |
//! | [`settings`] | the settings that all such stages have in common |
//! | [`message`] | the messages of the protocol |
//! | `control` | messages as lines of JSON on descriptor 3 |
//! | `process` | the process group, its pipes and its end |
//! | [`suite`] | the behaviours that a program of the protocol must have, as tests of any program |
//! | [`skeleton`] | programs to begin with |
//! | [`session`] | one operation of a program: bytes, messages, and the conditions of success |
//!
//! A plain command succeeds if it reads all its input, closes its output and exits with 0. A
//! program of the protocol must also report the end of its work, with the number of bytes. Every
//! other end is an error. If the input ends in an error, the process group is ended before its
//! input is closed, so that no program mistakes the end for success.

mod control;
pub mod message;
mod process;
pub mod session;
pub mod settings;
pub mod skeleton;
pub mod suite;

pub use self::message::Role;
pub use self::session::{Ended, Request, Session, Step, feed, output};
pub use self::settings::{ExecProgram, Protocol};

#[doc(hidden)]
pub use longshore_core;
#[doc(hidden)]
pub use schemars;
#[doc(hidden)]
pub use serde;
