//! Names that are no text. One such file of somebody else's, and the client ends the session over it; so what is no ASCII in a name is replaced
//! on the way here. No key has such a name, so nothing of ours is lost.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

/// How many bytes wait between the server and the client.
const WAITING_BYTES: usize = 1 << 20;
/// The longest answer that is taken for one: far more than servers send.
const ANSWER_BYTES: u32 = 1 << 24;
/// The type of an answer that has names in it (SSH_FXP_NAME).
const NAMES: u8 = 104;
/// What comes before the first name: the type, the request's number, the number of names.
const HEAD_BYTES: usize = 9;

/// The same answers, with names that are text.
pub(crate) fn readable(answers: impl AsyncRead + Unpin + Send + 'static) -> DuplexStream {
    let (out, readable) = duplex(WAITING_BYTES);
    // An error ends the answers, which the client takes for a connection that was lost.
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

/// Replaces what is no ASCII in the names of an answer: each is followed by a line for people and by attributes.
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

/// A text, which its length comes before, and what follows it.
fn text(bytes: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let length = u32::from_be_bytes(bytes.first_chunk().copied()?) as usize;
    bytes.get_mut(4..)?.split_at_mut_checked(length)
}

/// The length of a file's attributes: which there are is told by the flags they begin with. Extended ones, which no known server sends with names,
/// are not understood, so the answer stays as it is from there on.
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
        // What is cut is left to whoever reads it.
        assert_eq!(mend(&mut expected[..20]), None);
    }
}
