//! Words: keywords, unquoted names, numbers.

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

/// Returns true if a word may contain this byte, though not necessarily begin with it.
pub(crate) fn is_in_word(byte: u8) -> bool {
    IN_WORD[usize::from(byte)]
}

/// Returns the length of the word at the beginning of `bytes`.
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
