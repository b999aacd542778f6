//! A dump, compared with the last full backup while it passes.

use std::fs::File;
use std::io::{self, BufRead, Write};

use bytes::Bytes;
use longshore_rdiff::{Encoder, Key, Signature, SignatureWriter, Summary};
use tokio::sync::oneshot;

use crate::compress::Compression;
use crate::digest::Digest;
use crate::error::{Error, Stage};
use crate::key::BackupName;
use crate::stream::{ByteStream, CHUNK_BYTES, OnEnd, StreamReader, StreamWriter, transform};

/// The number of bytes of a dump that are held back until the kind of the backup is decided.
pub const HELD_BYTES: usize = 4 << 20;

/// The full backup that a dump is compared with.
pub struct FullBlocks {
    /// The backup's name.
    pub name: BackupName,
    /// The digest of its plaintext.
    pub plaintext: Digest,
    /// The digests of its blocks.
    pub signature: Signature<File>,
}

/// Stores a dump as a difference, or as a full backup with digests of its blocks.
pub struct Differ {
    /// The full backup; without one, the dump is stored as a full backup.
    pub full: Option<FullBlocks>,
    /// The key of the digests of a new full backup.
    pub key: Key,
    /// The size of its blocks in bytes.
    pub block_bytes: u32,
    /// The file for these digests.
    pub signature: File,
}

/// The kind of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The stream is the whole dump.
    Full,
    /// The stream is the difference from a full backup.
    Difference {
        /// The name of the full backup.
        full: BackupName,
        /// The digest of its plaintext.
        full_plaintext: Digest,
        /// The size of the compared blocks in bytes.
        block_bytes: u32,
    },
}

/// The result of a comparison.
#[derive(Debug)]
pub enum Outcome {
    /// A full backup, with the facts of its digests, or the error if they could not be written.
    Full(io::Result<Summary>),
    /// A difference.
    Difference,
}

/// A dump in its stored form, before compression.
pub struct Encoded {
    /// The dump or the difference.
    pub stream: ByteStream,
    /// The kind of the backup.
    pub choice: Choice,
    /// The result, known at the end of the stream.
    pub outcome: OnEnd<Outcome>,
}

impl Differ {
    /// Decides the kind of the backup by its size with this compression, and begins its stream.
    /// Reads at most [`HELD_BYTES`] and a chunk before that. An error of the dump becomes an error
    /// of the stream.
    pub async fn begin(self, dump: ByteStream, compression: Compression, subject: &str) -> Encoded {
        let outcome = OnEnd::new();
        let (on_end, subject) = (outcome.clone(), subject.to_owned());
        let (decided, decision) = oneshot::channel();
        let wrap = move |error| Error::io(Stage::Compress, subject, "cannot compare with the full backup", error);
        let stream = transform(dump, wrap, move |reader, writer| {
            on_end.set(self.encode(reader, writer, compression, decided)?);
            Ok(())
        });
        // A dump that fails early makes no decision: its stream has the error.
        let choice = decision.await.unwrap_or(Choice::Full);
        Encoded { stream, choice, outcome }
    }

    fn encode(
        self,
        reader: &mut StreamReader,
        writer: &mut StreamWriter,
        compression: Compression,
        decided: oneshot::Sender<Choice>,
    ) -> io::Result<Outcome> {
        let Self { full, key, block_bytes, signature } = self;
        // A caller that no longer waits has dropped the stream, too, which ends the work.
        let decide = |choice| drop(decided.send(choice));
        let (mut held, mut delta) = (Vec::new(), Vec::new());
        if let Some(FullBlocks { name, plaintext, signature }) = full {
            let block_bytes = signature.block_bytes();
            let mut encoder = Encoder::new(signature);
            let has_ended = hold(reader, &mut encoder, &mut held, &mut delta)?;
            let choice = Choice::Difference { full: name, full_plaintext: plaintext, block_bytes };
            if encoder.copied_bytes() > 0 && !has_ended {
                drop(held);
                decide(choice);
                return write_difference(reader, writer, encoder, delta);
            }
            if encoder.copied_bytes() > 0 {
                encoder.finish(&mut delta);
                let full_bytes = compression.compressed_bytes(held.iter().map(Bytes::as_ref))?;
                if 2 * compression.compressed_bytes([&*delta].into_iter())? <= full_bytes {
                    decide(choice);
                    writer.write_all(&delta)?;
                    return Ok(Outcome::Difference);
                }
            }
        }
        decide(Choice::Full);
        write_full(reader, writer, held, SignatureWriter::new(&key, block_bytes, signature))
    }
}

/// Encodes the beginning of a dump, and holds it. Returns true if the dump has ended.
fn hold(
    reader: &mut StreamReader,
    encoder: &mut Encoder<File>,
    held: &mut Vec<Bytes>,
    delta: &mut Vec<u8>,
) -> io::Result<bool> {
    let mut held_bytes = 0;
    while held_bytes < HELD_BYTES {
        let chunk = next_chunk(reader)?;
        if chunk.is_empty() {
            return Ok(true);
        }
        encoder.push(&chunk, delta);
        held_bytes += chunk.len();
        held.push(chunk);
    }
    Ok(false)
}

/// Returns the next chunk without copying it, or none at the end.
fn next_chunk(reader: &mut StreamReader) -> io::Result<Bytes> {
    let bytes = reader.fill_buf()?.len();
    reader.take_bytes(bytes)
}

fn write_difference(
    reader: &mut StreamReader,
    writer: &mut StreamWriter,
    mut encoder: Encoder<File>,
    mut delta: Vec<u8>,
) -> io::Result<Outcome> {
    loop {
        let chunk = next_chunk(reader)?;
        encoder.push(&chunk, &mut delta);
        if chunk.is_empty() {
            break;
        }
        if delta.len() >= CHUNK_BYTES {
            writer.write_all(&delta)?;
            delta.clear();
            delta.shrink_to(2 * CHUNK_BYTES);
        }
    }
    encoder.finish(&mut delta);
    writer.write_all(&delta)?;
    Ok(Outcome::Difference)
}

fn write_full(
    reader: &mut StreamReader,
    writer: &mut StreamWriter,
    held: Vec<Bytes>,
    signature: SignatureWriter<File>,
) -> io::Result<Outcome> {
    // Without the digests, the backup is good all the same.
    let mut signature = Ok(signature);
    let mut pass = |chunk: Bytes| {
        if let Ok(writer) = &mut signature
            && let Err(error) = writer.push(&chunk)
        {
            signature = Err(error);
        }
        writer.write_chunk(chunk)
    };
    held.into_iter().try_for_each(&mut pass)?;
    loop {
        let chunk = next_chunk(reader)?;
        if chunk.is_empty() {
            break;
        }
        pass(chunk)?;
    }
    let finished = signature.and_then(|signature| {
        let (file, summary) = signature.finish()?;
        file.sync_all()?;
        Ok(summary)
    });
    Ok(Outcome::Full(finished))
}
