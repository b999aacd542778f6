//! Words: keywords, names without quotes, numbers.

/// The longest word that matters.
const LONGEST: usize = "procedure".len();

/// A word that may go on in the next piece.
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

    /// The word, or nothing if it is longer than any that matters.
    pub(crate) fn text(&self) -> &[u8] {
        self.head.get(..self.bytes).unwrap_or_default()
    }
}

/// Whether a word may hold this byte; not whether it may begin with it.
pub(crate) fn is_in_word(byte: u8) -> bool {
    IN_WORD[usize::from(byte)]
}

/// How much of this is a word.
pub(crate) fn length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is_in_word(*byte)).unwrap_or(bytes.len())
}

const IN_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        let is_letter = (byte as u8).is_ascii_alphanumeric() || byte >= 0x80;
        table[byte] = is_letter || byte == b'_' as usize || byte == b'$' as usize;
        byte += 1;
    }
    table
};
