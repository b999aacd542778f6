//! Encrypts and decrypts the payload of an age file on several threads. A payload is a sequence of
//! chunks of 64 KiB, each encrypted separately under one key, with its number and a flag for the
//! last chunk ([C2SP](https://c2sp.org/age)). The age crate handles header, keys and recipients;
//! the key of a file is captured where the crate passes it to recipients or receives it from
//! identities.

mod batch;
mod file_key;
mod parallel;

use std::io;

use age_core::format::FileKey;
use age_core::primitives::hkdf;
use age_core::secrecy::ExposeSecret;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use longshore_core::stream::{BufferPool, StreamWriter};
use zeroize::Zeroizing;

use self::batch::Batches;
pub(crate) use self::batch::Source;
pub(crate) use self::file_key::{CapturedKey, CapturingIdentity, CapturingRecipient};
use self::parallel::process_in_parallel;

/// The size of the nonce between header and payload.
pub(crate) const NONCE_BYTES: usize = 16;

/// The plaintext size of a chunk; the last one may be shorter.
const CHUNK_BYTES: usize = 64 << 10;

/// The size that encryption adds to a chunk.
const TAG_BYTES: usize = 16;

/// The key of one payload.
struct PayloadKey(LessSafeKey);

impl PayloadKey {
    /// Derives the key of the payload that follows `nonce`, in the file of this key.
    fn new(file_key: &FileKey, nonce: &[u8]) -> io::Result<Self> {
        let key = Zeroizing::new(hkdf(nonce, b"payload", file_key.expose_secret()));
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*key).map_err(|_| io::Error::other("wrong key size"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Encrypts a chunk into `sealed`, which is longer by the tag.
    fn seal(&self, number: u64, last: bool, content: &[u8], sealed: &mut [u8]) -> io::Result<()> {
        let (ciphertext, tag) = sealed.split_at_mut(content.len());
        let done = self.0.seal_out_of_place_scatter(nonce(number, last), Aad::empty(), content, ciphertext, &[], tag);
        done.map_err(|_| io::Error::other("cannot encrypt a chunk"))
    }

    /// Decrypts a chunk into `content`, which is shorter by the tag.
    fn open(&self, number: u64, last: bool, sealed: &[u8], content: &mut [u8]) -> io::Result<()> {
        let (ciphertext, tag) = sealed.split_at(content.len());
        let done = self.0.open_separate_gather(nonce(number, last), Aad::empty(), ciphertext, tag, content);
        done.map_err(|_| damaged(number, "fails authentication"))
    }
}

/// Returns the nonce of a chunk: its number in eleven bytes, big-endian, and a flag for the last
/// chunk.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[3..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}

fn damaged(chunk: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("chunk {chunk} of the payload {what}"))
}

/// Encrypts `plaintext` to the bytes that follow header and nonce in the file of this key.
pub(crate) fn seal(
    file_key: &FileKey,
    nonce: &[u8],
    plaintext: &mut (dyn Source + Send),
    sealed: &mut StreamWriter,
) -> io::Result<()> {
    let key = PayloadKey::new(file_key, nonce)?;
    let pool = BufferPool::default();
    process_in_parallel(
        Batches::new(plaintext, CHUNK_BYTES),
        |batch| {
            let mut sealed = pool.take();
            sealed.resize(batch.len() + batch.chunks.len() * TAG_BYTES, 0);
            let mut filled = 0;
            for (number, last, content) in batch.numbered_chunks() {
                let end = filled + content.len() + TAG_BYTES;
                key.seal(number, last, content, &mut sealed[filled..end])?;
                filled = end;
            }
            Ok(sealed)
        },
        |sealed_batch| sealed.write_chunk(pool.freeze(sealed_batch)),
    )
}

/// Decrypts the bytes that follow header and nonce in the file of this key. The plaintext is
/// complete only if this succeeds.
pub(crate) fn open(
    file_key: &FileKey,
    nonce: &[u8],
    sealed: &mut (dyn Source + Send),
    plaintext: &mut StreamWriter,
) -> io::Result<()> {
    let key = PayloadKey::new(file_key, nonce)?;
    let pool = BufferPool::default();
    process_in_parallel(
        Batches::new(sealed, CHUNK_BYTES + TAG_BYTES),
        |batch| {
            let mut opened = pool.take();
            opened.resize(batch.len(), 0);
            let mut filled = 0;
            for (number, last, chunk) in batch.numbered_chunks() {
                let length = chunk.len().checked_sub(TAG_BYTES).ok_or_else(|| damaged(number, "is truncated"))?;
                if length == 0 && number > 0 {
                    return Err(damaged(number, "is empty, which only the first one may be"));
                }
                key.open(number, last, chunk, &mut opened[filled..filled + length])?;
                filled += length;
            }
            opened.truncate(filled);
            Ok(opened)
        },
        |opened_batch| plaintext.write_chunk(pool.freeze(opened_batch)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_key() -> FileKey {
        FileKey::new(Box::new([7; 16]))
    }

    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    /// Returns a payload of chunks that were encrypted separately, each with its own number and
    /// last flag.
    fn payload(all: &[(u64, bool, usize)]) -> Vec<u8> {
        let key = PayloadKey::new(&file_key(), &NONCE).unwrap();
        let mut payload = Vec::new();
        for (number, last, length) in all {
            let mut chunk = vec![0; length + TAG_BYTES];
            key.seal(*number, *last, &vec![1; *length], &mut chunk).unwrap();
            payload.extend(chunk);
        }
        payload
    }

    async fn opened(payload: Vec<u8>) -> Result<usize, longshore_core::Error> {
        use longshore_core::stream::{collect, from_bytes, transform};
        use longshore_core::{Error, Stage};
        let wrap = |error| Error::io(Stage::Decrypt, "", "cannot decrypt", error);
        let plaintext =
            transform(from_bytes(payload), wrap, move |reader, writer| open(&file_key(), &NONCE, reader, writer));
        let opened = collect(plaintext, 1 << 30, Stage::Decrypt, "").await?;
        assert!(opened.iter().all(|byte| *byte == 1));
        Ok(opened.len())
    }

    #[tokio::test]
    async fn decrypts_complete_payloads() {
        let full = CHUNK_BYTES;
        assert_eq!(opened(payload(&[(0, true, 0)])).await.unwrap(), 0);
        assert_eq!(opened(payload(&[(0, true, full)])).await.unwrap(), full);
        assert_eq!(opened(payload(&[(0, false, full), (1, true, 1)])).await.unwrap(), full + 1);
        let many: Vec<_> = (0..50).map(|number| (number, number == 49, full)).collect();
        assert_eq!(opened(payload(&many)).await.unwrap(), 50 * full);
    }

    /// Covers the cases that the C2SP test vectors call payload failures.
    #[tokio::test]
    async fn rejects_invalid_payloads() {
        let full = CHUNK_BYTES;
        for (what, chunks) in [
            ("no chunk", &[][..]),
            ("no last chunk", &[(0, false, full)]),
            ("an empty chunk that is not the last", &[(0, false, 0)]),
            ("an empty last chunk after others", &[(0, false, full), (1, true, 0)]),
            ("a short chunk in between", &[(0, false, full - 1), (1, true, 1)]),
            ("two last chunks", &[(0, true, full), (1, true, full)]),
            ("the last chunk first", &[(0, true, full), (1, false, full)]),
            ("a missing chunk", &[(0, false, full), (2, true, 1)]),
            ("a chunk twice", &[(0, false, full), (0, false, full), (1, true, 1)]),
            ("a number that begins at one", &[(1, true, 1)]),
        ] {
            assert!(opened(payload(chunks)).await.is_err(), "{what}");
        }
    }

    #[tokio::test]
    async fn rejects_payload_truncated_anywhere() {
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
