//! Text in the encoding that an archive declares.

/// The encodings that the checks distinguish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8: invalid bytes are damage.
    Utf8,
    /// Any other encoding, or an unknown one.
    Other,
}

/// Invalid text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidText {
    /// The offset in the piece, or 0 for a character of an earlier piece that is not continued.
    pub(crate) at: usize,
    /// The number of bytes of that character in earlier pieces.
    pub(crate) earlier_bytes: usize,
    message: &'static str,
}

impl std::fmt::Display for InvalidText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.message)
    }
}

impl From<InvalidText> for String {
    fn from(invalid: InvalidText) -> Self {
        invalid.to_string()
    }
}

/// A checker of text in pieces: no zero bytes, and valid UTF-8 if that is the encoding.
#[derive(Debug, Clone)]
pub(crate) struct TextChecker {
    encoding: Encoding,
    /// The beginning of an incomplete character.
    partial_character: Vec<u8>,
}

impl TextChecker {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, partial_character: Vec::new() }
    }

    /// Checks the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), InvalidText> {
        let zero =
            memchr::memchr(0, piece).map(|at| InvalidText { at, earlier_bytes: 0, message: "there is a zero byte" });
        let checked = &piece[..zero.as_ref().map_or(piece.len(), |zero| zero.at)];
        if self.encoding == Encoding::Utf8 {
            let message = "there are bytes that are not UTF-8";
            self.characters(checked).map_err(|(at, earlier_bytes)| InvalidText { at, earlier_bytes, message })?;
        }
        zero.map_or(Ok(()), Err)
    }

    /// Checks the characters of a piece. Fails with the offset of the first invalid one, and its
    /// number of bytes in earlier pieces.
    fn characters(&mut self, piece: &[u8]) -> Result<(), (usize, usize)> {
        let (earlier_bytes, mut checked) = (self.partial_character.len(), 0);
        while !self.partial_character.is_empty() {
            let Some(byte) = piece.get(checked) else { return Ok(()) };
            self.partial_character.push(*byte);
            checked += 1;
            match std::str::from_utf8(&self.partial_character) {
                Ok(_) => self.partial_character.clear(),
                Err(error) if error.error_len().is_some() => return Err((0, earlier_bytes)),
                Err(_) => {}
            }
        }
        if let Err(error) = simdutf8::compat::from_utf8(&piece[checked..]) {
            let at = checked + error.valid_up_to();
            if error.error_len().is_some() {
                return Err((at, 0));
            }
            self.partial_character.extend_from_slice(&piece[at..]);
        }
        Ok(())
    }

    /// Checks the end.
    pub(crate) fn finish(&self) -> Result<(), &'static str> {
        if self.partial_character.is_empty() { Ok(()) } else { Err("it ends within a character") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(pieces: &[&[u8]]) -> Result<(), &'static str> {
        let mut text = TextChecker::new(Encoding::Utf8);
        pieces.iter().try_for_each(|piece| text.push(piece).map_err(|invalid| invalid.message))?;
        text.finish()
    }

    #[test]
    fn accepts_characters_split_between_pieces() {
        let text = "aé€😀z".as_bytes();
        for first in 0..text.len() {
            for second in first..text.len() {
                checked(&[&text[..first], &text[first..second], &text[second..]]).unwrap();
            }
        }
    }

    #[test]
    fn invalid_text_offset_does_not_depend_on_piece_sizes() {
        let text = "a\u{6e6a}".as_bytes();
        let text = [text, b"\xb1\xbc\xab", text].concat();
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut checker = TextChecker::new(Encoding::Utf8);
                let mut offset = 0;
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let found = pieces.iter().find_map(|piece| {
                    let found = checker.push(piece).err().map(|invalid| offset + invalid.at - invalid.earlier_bytes);
                    offset += piece.len();
                    found
                });
                assert_eq!(found, Some(4), "{first} {second}");
            }
        }
    }

    #[test]
    fn rejects_invalid_text() {
        for pieces in [&[&b"a\0"[..]][..], &[b"\xff"], &[b"\xe2\x82", b"a"], &[b"\xe2", b"\x82"], &[b"\xed\xa0\x80"]] {
            assert!(checked(pieces).is_err(), "{pieces:?}");
        }
        assert!(TextChecker::new(Encoding::Other).push(b"\xff").is_ok());
    }
}
