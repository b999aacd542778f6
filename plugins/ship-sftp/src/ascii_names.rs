//! Replaces non-ASCII bytes in names sent by the server. The client would end the session over a
//! foreign file with a name that is not valid text. Keys are ASCII, so no name of ours changes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// The size of the buffer between the server and the client in bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// The maximum size of a response: far more than servers send.
const MAX_RESPONSE_BYTES: u32 = 1 << 24;
/// The type of a response with names.
const SSH_FXP_NAME: u8 = 104;
/// The size of the fields before the first name: the type, the request's number, the number of
/// names.
const HEADER_BYTES: usize = 9;

/// Returns the same responses, with ASCII names.
pub(crate) fn filter(responses: impl AsyncRead + Unpin + Send + 'static) -> DuplexStream {
    let (out, filtered) = duplex(BUFFER_BYTES);
    // An error ends the responses, which the client treats as a lost connection.
    tokio::spawn(async move { forward(responses, out).await.ok() });
    filtered
}

async fn forward(mut responses: impl AsyncRead + Unpin, mut out: DuplexStream) -> io::Result<()> {
    let mut response = Vec::new();
    loop {
        let length = responses.read_u32().await?;
        if length > MAX_RESPONSE_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        response.resize(length as usize, 0);
        responses.read_exact(&mut response).await?;
        if response.first() == Some(&SSH_FXP_NAME) {
            replace_non_ascii(&mut response);
        }
        out.write_u32(length).await?;
        out.write_all(&response).await?;
    }
}

/// Replaces non-ASCII bytes in the names of a response: each name is followed by a string for
/// display and by attributes.
fn replace_non_ascii(response: &mut [u8]) -> Option<()> {
    let mut rest = response.get_mut(HEADER_BYTES..)?;
    while !rest.is_empty() {
        let (name, after) = split_string(rest)?;
        name.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        let (_, after) = split_string(after)?;
        rest = after.get_mut(attributes_bytes(after)?..)?;
    }
    Some(())
}

/// Splits a string, prefixed by its length, from the bytes after it.
fn split_string(bytes: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let length = u32::from_be_bytes(bytes.first_chunk().copied()?) as usize;
    bytes.get_mut(4..)?.split_at_mut_checked(length)
}

/// Returns the size of a file's attributes, as given by their flags. Extended attributes, which no
/// known server sends with names, are not supported: the rest of the response stays unchanged.
fn attributes_bytes(bytes: &[u8]) -> Option<usize> {
    let flags = u32::from_be_bytes(bytes.first_chunk().copied()?);
    let parts = [(1, 8), (2, 8), (4, 4), (8, 8)];
    let length = parts.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, length)| length).sum::<usize>();
    (flags & 0x8000_0000 == 0).then_some(4 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_names() {
        let mut response = vec![SSH_FXP_NAME, 0, 0, 0, 1, 0, 0, 0, 2];
        for name in [b"a\xff", b"ok"] {
            response.extend([0, 0, 0, 2]);
            response.extend(name);
            response.extend([0, 0, 0, 1, 0xfe]);
            response.extend([0, 0, 0, 9, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        let mut expected = response.clone();
        expected[14] = b'?';
        assert_eq!(replace_non_ascii(&mut response), Some(()));
        assert_eq!(response, expected);
        // A truncated response is left to the client.
        assert_eq!(replace_non_ascii(&mut expected[..20]), None);
    }
}
