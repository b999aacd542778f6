//! SQL that is all at hand: its words, and what the statements of pg_dump name.
//!
//! | module | knows |
//! |---|---|
//! | `token` | where words, names and strings begin and end |
//! | `role` | which of the names are those of roles |
//! | `set_value` | what a statement sets a sequence to |

mod role;
mod set_value;
mod token;

pub(crate) use self::role::roles;
pub(crate) use self::set_value::SetValue;
pub(crate) use self::token::{Kind, Strings, Tokens};
