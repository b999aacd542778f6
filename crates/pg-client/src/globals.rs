//! The globals at the beginning of a cluster's script.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use longshore_core::stream::{self, ByteStream};
use longshore_core::{Error, Kind, Result, Stage};
use longshore_pg_archive::conversion::Conversion;

/// The maximum size of the roles and tablespaces of a cluster, in bytes.
const MAX_GLOBALS_BYTES: usize = 256 << 20;

/// The start of the first database in a cluster's script.
const FIRST_DATABASE: &[u8] = b"\n\\connect ";

/// Reads a cluster's script up to its first database: the globals, and a stream of the rest.
pub async fn split(plaintext: ByteStream, subject: &str) -> Result<(Bytes, ByteStream)> {
    let mut plaintext = plaintext.fuse();
    let mut text = BytesMut::new();
    let mut searched = 0;
    let end = loop {
        let found = text[searched..].windows(FIRST_DATABASE.len()).position(|window| window == FIRST_DATABASE);
        if let Some(position) = found {
            break searched + position + 1;
        }
        searched = text.len().saturating_sub(FIRST_DATABASE.len());
        match plaintext.next().await {
            Some(chunk) => text.extend_from_slice(&chunk?),
            None => break text.len(),
        }
        expect_unconverted(&text, subject)?;
        if text.len() > MAX_GLOBALS_BYTES {
            let message = format!("the globals are larger than {MAX_GLOBALS_BYTES} bytes");
            return Err(Error::new(Stage::Restore, Kind::Corrupt, subject, message));
        }
    };
    let rest = text.split_off(end).freeze();
    Ok((text.freeze(), stream::from_bytes(rest).chain(plaintext).boxed()))
}

/// Fails for a script that was converted after its dump: psql would accept it with altered
/// functions and comments. `head` is the beginning of the script.
pub fn expect_unconverted(head: &[u8], subject: &str) -> Result<()> {
    match Conversion::of(head) {
        None => Ok(()),
        Some(conversion) => {
            Err(Error::new(Stage::Restore, Kind::Refused, subject, conversion.message()).hint(conversion.remedy()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn script_with_changed_line_ends_is_refused() {
        let script = "--\r\n-- PostgreSQL database cluster dump\r\n--\r\n\r\nCREATE ROLE app;\r\n";
        let error = split(stream::from_bytes(script), "globals").await.map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("carriage return") && error.remedy().unwrap().contains("sed"), "{error:?}");
    }

    #[tokio::test]
    async fn globals_end_at_the_first_database() {
        let script = "CREATE ROLE app;\n\\connect template1\nCREATE TABLE t ();\n";
        let bytes = futures_util::stream::iter(script.bytes().map(|byte| Ok(Bytes::from(vec![byte]))));
        let (globals, rest) = split(bytes.boxed(), "all").await.unwrap();
        assert_eq!(globals, "CREATE ROLE app;\n");
        let rest = stream::collect(rest, 1000, Stage::Restore, "").await.unwrap();
        assert_eq!(rest, "\\connect template1\nCREATE TABLE t ();\n");
    }
}
