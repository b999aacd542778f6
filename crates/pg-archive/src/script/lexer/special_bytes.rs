//! The bytes that are significant to the lexer anywhere outside of quotes and comments.

/// Returns the offset of the next significant byte, or the end.
pub(crate) fn position(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| IS_SPECIAL[usize::from(*byte)]).unwrap_or(bytes.len())
}

const IS_SPECIAL: [bool; 256] = {
    let special = b"'\"$-/;()\\";
    let mut table = [false; 256];
    let mut index = 0;
    while index < special.len() {
        table[special[index] as usize] = true;
        index += 1;
    }
    table
};
