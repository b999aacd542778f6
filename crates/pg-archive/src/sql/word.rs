//! The bytes of words: keywords, unquoted names, numbers.

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
