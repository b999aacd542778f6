//! Function bodies in standard SQL: `BEGIN ATOMIC … ; … END`, whose semicolons do not end the
//! statement.

/// The state of a parser of one statement's words outside of parentheses.
///
/// `begin` alone may be the name of a function, but no other statement has `atomic` after it.
/// Within a body, `case` and `end` are never names, since names would be quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionBody {
    /// Before the first word.
    New,
    /// After `CREATE`, and optionally `OR` and `REPLACE`.
    Create,
    /// After `CREATE FUNCTION` or `CREATE PROCEDURE`, so a body may follow.
    Function,
    /// After `BEGIN`, which `ATOMIC` may follow.
    Begin,
    /// Within a body that ends after this many `END`.
    Open(u64),
    /// Within another statement.
    Other,
}

impl FunctionBody {
    /// Returns true if semicolons do not end the statement.
    pub(crate) fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Processes the next word.
    pub(crate) fn word(&mut self, word: &[u8]) {
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        *self = match *self {
            Self::Other => return,
            Self::New if is("create") => Self::Create,
            Self::Create if is("or") || is("replace") => Self::Create,
            Self::Create if is("function") || is("procedure") => Self::Function,
            Self::New | Self::Create => Self::Other,
            Self::Function | Self::Begin if is("begin") => Self::Begin,
            Self::Begin if is("atomic") => Self::Open(1),
            Self::Function | Self::Begin => Self::Function,
            Self::Open(depth) if is("case") => Self::Open(depth + 1),
            Self::Open(1) if is("end") => Self::Function,
            Self::Open(depth) if is("end") => Self::Open(depth - 1),
            Self::Open(depth) => Self::Open(depth),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(words: &str) -> FunctionBody {
        let mut body = FunctionBody::New;
        words.split(' ').for_each(|word| body.word(word.as_bytes()));
        body
    }

    #[test]
    fn body_is_open_until_its_end() {
        for function in ["CREATE FUNCTION f", "create or replace procedure p"] {
            assert!(!after(function).is_open());
            assert!(after(&format!("{function} BEGIN ATOMIC SELECT 1")).is_open());
            assert!(after(&format!("{function} BEGIN ATOMIC SELECT CASE WHEN x THEN y END")).is_open());
            assert!(!after(&format!("{function} BEGIN ATOMIC SELECT CASE WHEN x THEN y END END")).is_open());
        }
    }

    #[test]
    fn other_statements_have_no_body() {
        for words in ["BEGIN ATOMIC", "CREATE VIEW v AS BEGIN ATOMIC", "CREATE FUNCTION begin RETURNS x", "BEGIN"] {
            assert!(!after(words).is_open(), "{words}");
        }
    }
}
