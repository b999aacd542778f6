//! The payload of an age file, sealed and opened by several threads: it is a row of chunks of 64 KiB, each sealed for itself under one
//! key, with its number and whether it is the last ([C2SP](https://c2sp.org/age)). Header, keys and recipients are the age crate's alone;
//! the key of a file is caught where the crate hands it to recipients and takes it from identities.

mod catch;
mod lanes;
mod pieces;

use std::io::{self, BufRead};
use std::ops::Range;

use age_core::format::FileKey;
use age_core::primitives::hkdf;
use age_core::secrecy::ExposeSecret;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use longshore_core::stream::{Pool, StreamWriter};
use zeroize::Zeroizing;

pub(crate) use self::catch::{CatchingIdentity, CatchingRecipient, Caught};
use self::lanes::in_lanes;
use self::pieces::{Form, Piece, Pieces};

/// The bytes between header and payload.
pub(crate) const NONCE_BYTES: usize = 16;

/// What a chunk holds, but for the last one, which may hold less.
const CHUNK_BYTES: usize = 64 << 10;

/// What sealing adds to a chunk.
const TAG_BYTES: usize = 16;

/// The key of one payload.
struct PayloadKey(LessSafeKey);

impl PayloadKey {
    /// The key of the payload that follows `nonce`, in the file of this key.
    fn new(file_key: &FileKey, nonce: &[u8]) -> io::Result<Self> {
        let key = Zeroizing::new(hkdf(nonce, b"payload", file_key.expose_secret()));
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*key).map_err(|_| io::Error::other("no key of its size"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals a chunk in its place: its last bytes are room for the tag.
    fn seal(&self, number: u64, last: bool, chunk: &mut [u8]) -> io::Result<()> {
        let (content, room) = chunk.split_at_mut(chunk.len() - TAG_BYTES);
        let tag = self.0.seal_in_place_separate_tag(nonce(number, last), Aad::empty(), content);
        room.copy_from_slice(tag.map_err(|_| io::Error::other("cannot seal a chunk"))?.as_ref());
        Ok(())
    }

    /// Opens a chunk in its place, and tells how long its content is.
    fn open(&self, number: u64, last: bool, chunk: &mut [u8]) -> io::Result<usize> {
        let content = self.0.open_in_place(nonce(number, last), Aad::empty(), chunk);
        let length = content.map_err(|_| damaged(number, "is not what was sealed"))?.len();
        if length == 0 && number > 0 {
            return Err(damaged(number, "is empty, which only the first one may be"));
        }
        Ok(length)
    }
}

/// The nonce of a chunk: its number in eleven bytes, the most significant first, and whether it is the last.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

fn damaged(chunk: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("chunk {chunk} of the payload {what}"))
}

/// Seals all that `plaintext` gives: what follows header and nonce in the file of this key.
pub(crate) fn seal(
    file_key: &FileKey,
    nonce: &[u8],
    plaintext: impl BufRead + Send,
    sealed: &mut StreamWriter,
) -> io::Result<()> {
    let key = PayloadKey::new(file_key, nonce)?;
    let pool = Pool::default();
    in_lanes(
        Pieces::new(plaintext, Form::Plain, &pool),
        |mut piece| {
            if piece.bytes.is_empty() {
                // Nothing at all is one empty chunk.
                piece.bytes.resize(TAG_BYTES, 0);
            }
            for (number, last, chunk) in chunks(&piece) {
                key.seal(number, last, &mut piece.bytes[chunk])?;
            }
            Ok(piece.bytes)
        },
        |sealed_piece| sealed.pass(pool.lend(sealed_piece)),
    )
}

/// Opens what follows header and nonce in the file of this key. It is whole only if this succeeds.
pub(crate) fn open(
    file_key: &FileKey,
    nonce: &[u8],
    sealed: impl BufRead + Send,
    plaintext: &mut StreamWriter,
) -> io::Result<()> {
    let key = PayloadKey::new(file_key, nonce)?;
    let pool = Pool::default();
    in_lanes(
        Pieces::new(sealed, Form::Sealed, &pool),
        |mut piece| {
            if piece.bytes.is_empty() {
                return Err(damaged(0, "is missing"));
            }
            let mut opened = 0;
            for (number, last, chunk) in chunks(&piece) {
                let begin = chunk.start;
                let length = key.open(number, last, &mut piece.bytes[chunk])?;
                piece.bytes.copy_within(begin..begin + length, opened);
                opened += length;
            }
            piece.bytes.truncate(opened);
            Ok(piece.bytes)
        },
        |opened_piece| plaintext.pass(pool.lend(opened_piece)),
    )
}

/// The chunks of a piece: each with its number, whether it is the last of all, and its place in the piece.
fn chunks(piece: &Piece) -> impl Iterator<Item = (u64, bool, Range<usize>)> + use<> {
    let (end, first, last) = (piece.bytes.len(), piece.first_chunk, piece.last);
    let begins = (0..end).step_by(CHUNK_BYTES + TAG_BYTES);
    (first..).zip(begins).map(move |(number, begin)| {
        let chunk = begin..end.min(begin + CHUNK_BYTES + TAG_BYTES);
        (number, last && chunk.end == end, chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_key() -> FileKey {
        FileKey::new(Box::new([7; 16]))
    }

    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    /// A payload of chunks that were sealed one by one, each with what it says of itself.
    fn payload(all: &[(u64, bool, usize)]) -> Vec<u8> {
        let key = PayloadKey::new(&file_key(), &NONCE).unwrap();
        let mut payload = Vec::new();
        for (number, last, length) in all {
            let mut chunk = vec![1; length + TAG_BYTES];
            key.seal(*number, *last, &mut chunk).unwrap();
            payload.extend(chunk);
        }
        payload
    }

    async fn opened(payload: Vec<u8>) -> Result<usize, longshore_core::Error> {
        use longshore_core::stream::{collect, from_bytes, transform};
        use longshore_core::{Error, Stage};
        let wrap = |error| Error::io(Stage::Decrypt, "", "cannot open", error);
        let plaintext =
            transform(from_bytes(""), wrap, move |_, writer| open(&file_key(), &NONCE, &payload[..], writer));
        let opened = collect(plaintext, 1 << 30, Stage::Decrypt, "").await?;
        assert!(opened.iter().all(|byte| *byte == 1));
        Ok(opened.len())
    }

    #[tokio::test]
    async fn whole_payloads_open() {
        let full = CHUNK_BYTES;
        assert_eq!(opened(payload(&[(0, true, 0)])).await.unwrap(), 0);
        assert_eq!(opened(payload(&[(0, true, full)])).await.unwrap(), full);
        assert_eq!(opened(payload(&[(0, false, full), (1, true, 1)])).await.unwrap(), full + 1);
        let many: Vec<_> = (0..50).map(|number| (number, number == 49, full)).collect();
        assert_eq!(opened(payload(&many)).await.unwrap(), 50 * full);
    }

    /// What the test vectors of C2SP call a failure of the payload.
    #[tokio::test]
    async fn what_is_no_payload_does_not_open() {
        let full = CHUNK_BYTES;
        for (what, chunks) in [
            ("no chunk", &[][..]),
            ("no last chunk", &[(0, false, full)]),
            ("an empty chunk that is not the last", &[(0, false, 0)]),
            ("an empty last chunk after others", &[(0, false, full), (1, true, 0)]),
            ("a short chunk in between", &[(0, false, full - 1), (1, true, 1)]),
            ("two last chunks", &[(0, true, full), (1, true, full)]),
            ("the last chunk first", &[(0, true, full), (1, false, full)]),
            ("a chunk left out", &[(0, false, full), (2, true, 1)]),
            ("a chunk twice", &[(0, false, full), (0, false, full), (1, true, 1)]),
            ("a number that begins at one", &[(1, true, 1)]),
        ] {
            assert!(opened(payload(chunks)).await.is_err(), "{what}");
        }
    }

    #[tokio::test]
    async fn a_payload_that_was_cut_anywhere_does_not_open() {
        let all: Vec<_> = (0..20).map(|number| (number, number == 19, CHUNK_BYTES)).collect();
        let whole = payload(&all);
        let sealed = CHUNK_BYTES + TAG_BYTES;
        for boundary in (0..20).map(|chunk| chunk * sealed) {
            for cut in [boundary, boundary + 1, boundary + TAG_BYTES, boundary + sealed - 1] {
                assert!(opened(whole[..cut].to_vec()).await.is_err(), "at {cut}");
            }
        }
    }
}
