//! Complete SQL in memory: its tokens, and the names in pg_dump's statements.
//!
//! | module | parses |
//! |---|---|
//! | `token` | words, names and strings |
//! | `word` | the bytes of words |
//! | `role` | names of roles |
//! | `set_value` | the state that a statement sets a sequence to |

mod role;
mod set_value;
mod token;
pub(crate) mod word;

pub(crate) use self::role::roles;
pub(crate) use self::set_value::SetValue;
pub(crate) use self::token::{Strings, TokenKind, Tokens};
