//! Positions in the write-ahead log.
//!
//! The text form is that of PostgreSQL's type `pg_lsn` (`src/backend/utils/adt/pg_lsn.c`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A log sequence number: the number of bytes of write-ahead log before a position.
///
/// Its text, also in JSON, is `16/B374D848`: two hexadecimal numbers of 32 bits, the upper first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Lsn(pub u64);

/// A text that is no LSN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidLsn(String);

impl Lsn {
    /// The LSN of no position, PostgreSQL's `InvalidXLogRecPtr`: `0/0`.
    pub const INVALID: Self = Self(0);
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl FromStr for Lsn {
    type Err = InvalidLsn;

    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let half = |digits: &str| {
            let valid = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            if valid { u64::from_str_radix(digits, 16).ok() } else { None }
        };
        let parsed = text.split_once('/').and_then(|(upper, lower)| Some(half(upper)? << 32 | half(lower)?));
        parsed.map(Self).ok_or_else(|| InvalidLsn(text.chars().take(40).collect()))
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

impl TryFrom<String> for Lsn {
    type Error = InvalidLsn;

    fn try_from(text: String) -> Result<Self, InvalidLsn> {
        text.parse()
    }
}

impl fmt::Display for InvalidLsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LSN `{}`: not two hexadecimal numbers of 1 to 8 digits with a slash between", self.0)
    }
}

impl std::error::Error for InvalidLsn {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lsn_prints_as_postgresql_does() {
        for (lsn, text) in
            [(0x16_B374_D848, "16/B374D848"), (0, "0/0"), (u64::MAX, "FFFFFFFF/FFFFFFFF"), (0x1_0000_0028, "1/28")]
        {
            assert_eq!(Lsn(lsn).to_string(), text);
            assert_eq!(text.parse(), Ok(Lsn(lsn)));
        }
        assert_eq!("16/b374d848".parse(), Ok(Lsn(0x16_B374_D848)));
        assert_eq!("00000016/00000028".parse(), Ok(Lsn(0x16_0000_0028)));
    }

    #[test]
    fn lsn_refuses_other_text() {
        for text in ["", "/", "0", "0/", "/0", "123456789/0", "0/123456789", "0/+1", "0/0 ", " 0/0", "0/0/0", "g/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    #[test]
    fn lsn_is_a_string_in_json() {
        let lsn = Lsn(0x16_B374_D848);
        assert_eq!(serde_json::to_string(&lsn).unwrap(), r#""16/B374D848""#);
        assert_eq!(serde_json::from_str::<Lsn>(r#""16/B374D848""#).unwrap(), lsn);
        assert!(serde_json::from_str::<Lsn>("5").is_err());
    }
}
