//! Replaces non-ASCII bytes in names sent by the server. The client would end the session over a
//! foreign file with a name that is not valid text. Keys are ASCII, so no name of ours changes.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// The size of the buffer between the server and the client in bytes.
const WAITING_BYTES: usize = 1 << 20;
/// The maximum size of a response: far more than servers send.
const ANSWER_BYTES: u32 = 1 << 24;
/// The type of a response with names (SSH_FXP_NAME).
const NAMES: u8 = 104;
/// The size of the fields before the first name: the type, the request's number, the number of
/// names.
const HEAD_BYTES: usize = 9;

/// Returns the same responses, with ASCII names.
pub(crate) fn readable(answers: impl AsyncRead + Unpin + Send + 'static) -> DuplexStream {
    let (out, readable) = duplex(WAITING_BYTES);
    // An error ends the responses, which the client treats as a lost connection.
    tokio::spawn(async move { pass_on(answers, out).await.ok() });
    readable
}

async fn pass_on(mut answers: impl AsyncRead + Unpin, mut out: DuplexStream) -> io::Result<()> {
    let mut answer = Vec::new();
    loop {
        let length = answers.read_u32().await?;
        if length > ANSWER_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        answer.resize(length as usize, 0);
        answers.read_exact(&mut answer).await?;
        if answer.first() == Some(&NAMES) {
            mend(&mut answer);
        }
        out.write_u32(length).await?;
        out.write_all(&answer).await?;
    }
}

/// Replaces non-ASCII bytes in the names of a response: each name is followed by a text for display
/// and by attributes.
fn mend(answer: &mut [u8]) -> Option<()> {
    let mut rest = answer.get_mut(HEAD_BYTES..)?;
    while !rest.is_empty() {
        let (name, after) = text(rest)?;
        name.iter_mut().filter(|byte| !byte.is_ascii()).for_each(|byte| *byte = b'?');
        let (_, after) = text(after)?;
        rest = after.get_mut(attributes_bytes(after)?..)?;
    }
    Some(())
}

/// Splits a text, prefixed by its length, from the bytes after it.
fn text(bytes: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
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
    fn only_names_are_changed() {
        let mut answer = vec![NAMES, 0, 0, 0, 1, 0, 0, 0, 2];
        for name in [b"a\xff", b"ok"] {
            answer.extend([0, 0, 0, 2]);
            answer.extend(name);
            answer.extend([0, 0, 0, 1, 0xfe]);
            answer.extend([0, 0, 0, 9, 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        let mut expected = answer.clone();
        expected[14] = b'?';
        assert_eq!(mend(&mut answer), Some(()));
        assert_eq!(answer, expected);
        // A truncated response is left to the client.
        assert_eq!(mend(&mut expected[..20]), None);
    }
}
