//! Backups that end in ways in which no real server ends them on request.

use bytes::{BufMut, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::{Event, Options};
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::socket::Socket;

/// Encodes a message of the server.
fn message(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    bytes.put_u8(tag);
    bytes.put_u32(content.len() as u32 + 4);
    bytes.put_slice(content);
    bytes.to_vec()
}

/// Encodes a row of texts, with its description and end.
fn result(columns: &[&str]) -> Vec<u8> {
    let mut row = BytesMut::new();
    row.put_u16(columns.len() as u16);
    for column in columns {
        row.put_u32(column.len() as u32);
        row.put_slice(column.as_bytes());
    }
    [message(b'T', &[0, 0]), message(b'D', &row), message(b'C', b"SELECT\0")].concat()
}

/// Returns the messages of a whole backup.
fn whole() -> Vec<Vec<u8>> {
    vec![
        result(&["0/2000028", "1"]),
        result(&["16385", "/srv/a", "7"]),
        message(b'H', &[0, 0, 0]),
        message(b'd', b"nbase.tar\0\0"),
        message(b'd', b"dabc"),
        message(b'd', b"m"),
        message(b'd', b"d{}"),
        message(b'c', b""),
        result(&["0/2000100", "1"]),
        message(b'C', b"BASE_BACKUP\0"),
        message(b'Z', b"I"),
    ]
}

/// Reads a backup from a server that sends `bytes` and closes the connection.
async fn read(bytes: &[u8]) -> Result<Vec<Event>> {
    let (client, mut server) = UnixStream::pair().unwrap();
    // The buffer of a socket holds these few bytes.
    server.write_all(bytes).await.unwrap();
    server.shutdown().await.unwrap();
    let connection = Connection::new(Socket::Unix(client));
    let mut backup = connection.base_backup(&Options::default()).await?;
    let mut events = Vec::new();
    while let Some(event) = backup.next().await? {
        events.push(event);
    }
    let (end, _) = backup.finish()?;
    assert_eq!(end.position.to_string(), "0/2000100");
    Ok(events)
}

#[tokio::test]
async fn whole_backup_is_read() {
    assert_eq!(read(&whole().concat()).await.unwrap().len(), 4);
}

#[tokio::test]
async fn every_early_end_is_an_error() {
    let whole = whole().concat();
    for length in 0..whole.len() {
        let result = read(&whole[..length]).await;
        assert!(matches!(result, Err(Error::Lost { .. })), "{length} of {}: {result:?}", whole.len());
    }
}

#[tokio::test]
async fn every_missing_message_is_an_error() {
    for missing in 0..whole().len() {
        let mut messages = whole();
        messages.remove(missing);
        let is_clean = read(&messages.concat()).await.is_ok();
        // Data may be empty, and servers may confirm results and commands together.
        assert_eq!(is_clean, [4, 6, 9].contains(&missing), "message {missing}");
    }
}

#[tokio::test]
async fn error_at_any_place_is_an_error() {
    let error = message(b'E', b"VERROR\0CXX001\0Mdamaged\0\0");
    for place in 0..whole().len() {
        let mut messages = whole();
        messages.insert(place, error.clone());
        let found = read(&messages.concat()).await.unwrap_err();
        assert_eq!(found.server().unwrap().sqlstate, "XX001", "before message {place}");
    }
}

#[tokio::test]
async fn swapped_messages_are_an_error() {
    // Messages 4 to 6 in another order are a different backup, but a correct one.
    for place in [2, 3, 6, 7, 8] {
        let mut messages = whole();
        messages.swap(place, place + 1);
        let result = read(&messages.concat()).await;
        assert!(matches!(result, Err(Error::Protocol { .. })), "{place}: {result:?}");
    }
}

#[tokio::test]
async fn overlong_messages_are_an_error() {
    let mut messages = whole()[..4].concat();
    messages.extend([b'd', 0x00, 0x10, 0x00, 0x01]);
    let Error::Protocol { message, .. } = read(&messages).await.unwrap_err() else { panic!("another error") };
    assert!(message.contains("1048577 bytes"), "{message}");
}

#[tokio::test]
async fn malformed_messages_are_errors() {
    for message in [
        vec![b'd', 0, 0, 0, 3],
        vec![b'd', 0xFF, 0xFF, 0xFF, 0xFF],
        message(b'?', b""),
        message(b'd', b"x"),
        message(b'D', b"\0\x01\0\0\0\x09abc"),
        message(b'D', b"\0\x02\xFF\xFF\xFF\xFF"),
    ] {
        for place in [0, 1, 4, 8] {
            let bytes = [whole()[..place].concat(), message.clone()].concat();
            let result = read(&bytes).await;
            assert!(matches!(result, Err(Error::Protocol { .. })), "{message:?} before {place}: {result:?}");
        }
    }
}
