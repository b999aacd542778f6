//! Words that may continue in the next piece.

/// The length of the longest relevant word.
const LONGEST: usize = "procedure".len();

/// A word that may continue in the next piece.
#[derive(Debug, Default)]
pub(crate) struct Word {
    bytes: usize,
    head: [u8; LONGEST],
}

impl Word {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn clear(&mut self) {
        self.bytes = 0;
    }

    pub(crate) fn extend(&mut self, piece: &[u8]) {
        if let Some(room) = self.head.get_mut(self.bytes..) {
            let kept = room.len().min(piece.len());
            room[..kept].copy_from_slice(&piece[..kept]);
        }
        self.bytes += piece.len();
    }

    /// Returns the word, or nothing if the word is longer than any relevant one.
    pub(crate) fn text(&self) -> &[u8] {
        self.head.get(..self.bytes).unwrap_or_default()
    }
}
