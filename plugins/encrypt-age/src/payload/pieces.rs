//! A payload cut into pieces of several chunks, of which the last is known to be the last.

use std::io::{self, BufRead};

use longshore_core::stream::Pool;

use super::{CHUNK_BYTES, TAG_BYTES};

/// How many chunks make a piece: enough that handing it to a thread costs nothing beside sealing it.
const PIECE_CHUNKS: usize = 4;

/// What a piece takes that is sealed, or is to be.
pub(super) const PIECE_BYTES: usize = PIECE_CHUNKS * (CHUNK_BYTES + TAG_BYTES);

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
    pool: Pool,
    next_chunk: u64,
    ended: bool,
}

impl<R: BufRead> Pieces<R> {
    /// Cuts what `reader` gives into buffers of the pool.
    pub(super) fn new(reader: R, form: Form, pool: &Pool) -> Self {
        Self { reader, form, pool: pool.clone(), next_chunk: 0, ended: false }
    }

    /// The next piece, or nothing after the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if self.ended {
            return Ok(None);
        }
        // Whatever fails is the end, too.
        self.ended = true;
        let bytes = self.read()?;
        let last = self.reader.fill_buf()?.is_empty();
        self.ended = last;
        let first_chunk = self.next_chunk;
        self.next_chunk += PIECE_CHUNKS as u64;
        Ok(Some(Piece { first_chunk, bytes, last }))
    }

    /// Reads chunks until the piece is full or nothing more comes.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let (length, room) = match self.form {
            Form::Plain => (CHUNK_BYTES, TAG_BYTES),
            Form::Sealed => (CHUNK_BYTES + TAG_BYTES, 0),
        };
        let mut piece = self.pool.take();
        piece.clear();
        piece.reserve_exact(PIECE_BYTES);
        for _ in 0..PIECE_CHUNKS {
            let mut left = length;
            while left > 0 {
                let ready = self.reader.fill_buf()?;
                if ready.is_empty() {
                    break;
                }
                let taken = ready.len().min(left);
                piece.extend_from_slice(&ready[..taken]);
                self.reader.consume(taken);
                left -= taken;
            }
            if left < length {
                piece.resize(piece.len() + room, 0);
            }
            if left > 0 {
                break;
            }
        }
        Ok(piece)
    }
}
