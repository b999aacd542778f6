//! Errors and notices of the server, in codes instead of sentences.
//!
//! Source: the page "Error and Notice Message Fields" of PostgreSQL's manual.

use std::fmt;

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::ErrorFields;

/// The most bytes of one field that are kept.
const FIELD_BYTES: usize = 2048;

/// An error or a notice that the server reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// The severity.
    pub severity: Severity,
    /// The SQLSTATE: five characters, such as `28P01`. Its meaning does not depend on the server's
    /// language.
    pub sqlstate: String,
    /// The message, in the server's language.
    pub message: String,
    /// Details, such as the reason of the message.
    pub detail: Option<String>,
    /// A suggestion.
    pub hint: Option<String>,
    /// The function of the server's source that reported the message.
    pub routine: Option<String>,
}

/// The severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Severity {
    /// A debugging message.
    Debug,
    /// A message for the server's log.
    Log,
    /// An answer to a request.
    Info,
    /// A remark.
    Notice,
    /// A warning.
    Warning,
    /// A failed command. The connection can be used further.
    Error,
    /// The end of the connection.
    Fatal,
    /// The end of all connections of the server.
    Panic,
}

impl ServerError {
    /// Decodes the fields of an ErrorResponse or NoticeResponse. Fields that cannot be decoded are
    /// left empty, so that damage in a message never conceals the fact that there was one.
    pub(crate) fn decode(mut fields: ErrorFields<'_>) -> Self {
        let mut error = Self {
            severity: Severity::Error,
            sqlstate: String::new(),
            message: String::new(),
            detail: None,
            hint: None,
            routine: None,
        };
        while let Ok(Some(field)) = fields.next() {
            let text = text(field.value_bytes());
            match field.type_() {
                b'V' => error.severity = Severity::of(&text),
                b'C' => error.sqlstate = text,
                b'M' => error.message = text,
                b'D' => error.detail = Some(text),
                b'H' => error.hint = Some(text),
                b'R' => error.routine = Some(text),
                _ => {}
            }
        }
        error
    }

    /// Returns true if the server closes the connection after this message.
    pub fn ends_connection(&self) -> bool {
        matches!(self.severity, Severity::Fatal | Severity::Panic)
    }
}

impl Severity {
    /// Decodes the field `V`, which is never translated. An unknown severity is an error.
    fn of(text: &str) -> Self {
        match text {
            "DEBUG" => Self::Debug,
            "LOG" => Self::Log,
            "INFO" => Self::Info,
            "NOTICE" => Self::Notice,
            "WARNING" => Self::Warning,
            "FATAL" => Self::Fatal,
            "PANIC" => Self::Panic,
            _ => Self::Error,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

/// Decodes a text in an encoding that is not known to be UTF-8, shortens it, and replaces control
/// characters.
fn text(bytes: &[u8]) -> String {
    let text = match bytes.get(..FIELD_BYTES) {
        Some(start) => format!("{}…", String::from_utf8_lossy(start)),
        None => String::from_utf8_lossy(bytes).into_owned(),
    };
    // A terminal would execute escape sequences.
    text.replace(|char: char| char.is_control() && char != '\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use postgres_protocol::message::backend::Message;

    use super::*;

    fn decode(fields: &[u8]) -> ServerError {
        let mut message = BytesMut::new();
        message.put_u8(b'E');
        message.put_u32(fields.len() as u32 + 4);
        message.extend_from_slice(fields);
        match Message::parse(&mut message).unwrap() {
            Some(Message::ErrorResponse(body)) => ServerError::decode(body.fields()),
            _ => panic!("no error message"),
        }
    }

    #[test]
    fn fields_are_decoded_by_their_codes() {
        let error = decode(b"SFEHLER\0VFATAL\0C28P01\0Mno\xff\0Dwhy\0Hdo\0Rauth_failed\0Fauth.c\0\0");
        assert_eq!((error.severity, error.sqlstate.as_str()), (Severity::Fatal, "28P01"));
        assert!(error.ends_connection());
        assert_eq!(error.to_string(), "no\u{fffd} (SQLSTATE 28P01): why");
        assert_eq!((error.hint.as_deref(), error.routine.as_deref()), (Some("do"), Some("auth_failed")));
    }

    #[test]
    fn damaged_fields_are_still_an_error() {
        let error = decode(b"VWARNING\0Mtruncat");
        assert_eq!((error.severity, error.message.as_str()), (Severity::Warning, ""));
    }

    #[test]
    fn long_fields_are_shortened() {
        let error = decode(&[b"M".as_slice(), &[b'x'; 5000], b"\0\0"].concat());
        assert_eq!(error.message.len(), FIELD_BYTES + "…".len());
    }
}
