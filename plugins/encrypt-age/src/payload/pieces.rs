//! A payload cut into pieces of several chunks, of which the last is known to be the last.

use std::io::{self, Read};

use super::{CHUNK_BYTES, TAG_BYTES};

/// How many chunks make a piece: enough that handing it to a thread costs nothing beside sealing it.
const PIECE_CHUNKS: usize = 8;

/// What is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Content: every chunk of it is followed by room for its tag.
    Plain,
    /// Sealed chunks.
    Sealed,
}

/// Some chunks of a payload, one after the other.
pub(super) struct Piece {
    pub(super) first_chunk: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether nothing comes after it.
    pub(super) last: bool,
}

/// Reads pieces. There is always one, were it empty.
pub(super) struct Pieces<R> {
    reader: R,
    form: Form,
    /// The piece that is next, if it was read: whether it is the last one is known when the next was tried.
    ahead: Option<Vec<u8>>,
    next_chunk: u64,
    ended: bool,
}

impl<R: Read> Pieces<R> {
    pub(super) fn new(reader: R, form: Form) -> Self {
        Self { reader, form, ahead: None, next_chunk: 0, ended: false }
    }

    /// The next piece, or nothing after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        let bytes = match self.ahead.take() {
            Some(bytes) => bytes,
            None => self.read()?,
        };
        let next = if bytes.len() < PIECE_CHUNKS * (CHUNK_BYTES + TAG_BYTES) { Vec::new() } else { self.read()? };
        let first_chunk = self.next_chunk;
        self.next_chunk += PIECE_CHUNKS as u64;
        self.ended = next.is_empty();
        self.ahead = Some(next);
        Ok(Some(Piece { first_chunk, bytes, last: self.ended }))
    }

    /// Reads chunks until the piece is full or nothing more comes.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let (length, room) = match self.form {
            Form::Plain => (CHUNK_BYTES, TAG_BYTES),
            Form::Sealed => (CHUNK_BYTES + TAG_BYTES, 0),
        };
        let mut piece = Vec::with_capacity(PIECE_CHUNKS * (CHUNK_BYTES + TAG_BYTES));
        for _ in 0..PIECE_CHUNKS {
            let read = self.reader.by_ref().take(length as u64).read_to_end(&mut piece)?;
            if read > 0 {
                piece.resize(piece.len() + room, 0);
            }
            if read < length {
                break;
            }
        }
        Ok(piece)
    }
}
