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
pub(crate) struct Invalid {
    /// The offset in the piece, or 0 for a character of an earlier piece that is not continued.
    pub(crate) at: usize,
    /// The number of bytes of that character in earlier pieces.
    pub(crate) before: usize,
    what: &'static str,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.what)
    }
}

impl From<Invalid> for String {
    fn from(invalid: Invalid) -> Self {
        invalid.to_string()
    }
}

/// A checker of text in pieces: no zero bytes, and valid UTF-8 if that is the encoding.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    encoding: Encoding,
    /// The beginning of an incomplete character.
    begun: Vec<u8>,
}

impl Text {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, begun: Vec::new() }
    }

    /// Checks the next piece.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Invalid> {
        let zero = memchr::memchr(0, piece).map(|at| Invalid { at, before: 0, what: "there is a zero byte" });
        let judged = &piece[..zero.as_ref().map_or(piece.len(), |zero| zero.at)];
        if self.encoding == Encoding::Utf8 {
            let what = "there are bytes that are not UTF-8";
            self.characters(judged).map_err(|(at, before)| Invalid { at, before, what })?;
        }
        zero.map_or(Ok(()), Err)
    }

    /// Checks the characters of a piece. Fails with the offset of the first invalid one, and its
    /// number of bytes in earlier pieces.
    fn characters(&mut self, piece: &[u8]) -> Result<(), (usize, usize)> {
        let (before, mut judged) = (self.begun.len(), 0);
        while !self.begun.is_empty() {
            let Some(byte) = piece.get(judged) else { return Ok(()) };
            self.begun.push(*byte);
            judged += 1;
            match std::str::from_utf8(&self.begun) {
                Ok(_) => self.begun.clear(),
                Err(error) if error.error_len().is_some() => return Err((0, before)),
                Err(_) => {}
            }
        }
        if let Err(error) = simdutf8::compat::from_utf8(&piece[judged..]) {
            let at = judged + error.valid_up_to();
            if error.error_len().is_some() {
                return Err((at, 0));
            }
            self.begun.extend_from_slice(&piece[at..]);
        }
        Ok(())
    }

    /// Checks the end.
    pub(crate) fn finish(&self) -> Result<(), &'static str> {
        if self.begun.is_empty() { Ok(()) } else { Err("it ends within a character") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pieces: &[&[u8]]) -> Result<(), &'static str> {
        let mut text = Text::new(Encoding::Utf8);
        pieces.iter().try_for_each(|piece| text.push(piece).map_err(|invalid| invalid.what))?;
        text.finish()
    }

    #[test]
    fn characters_may_be_cut_anywhere() {
        let text = "aé€😀z".as_bytes();
        for first in 0..text.len() {
            for second in first..text.len() {
                judged(&[&text[..first], &text[first..second], &text[second..]]).unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_text_has_one_place_however_it_is_cut() {
        let text = "a\u{6e6a}".as_bytes();
        let text = [text, b"\xb1\xbc\xab", text].concat();
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut judge = Text::new(Encoding::Utf8);
                let mut offset = 0;
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let found = pieces.iter().find_map(|piece| {
                    let found = judge.push(piece).err().map(|invalid| offset + invalid.at - invalid.before);
                    offset += piece.len();
                    found
                });
                assert_eq!(found, Some(4), "{first} {second}");
            }
        }
    }

    #[test]
    fn what_is_no_text_is_found() {
        for pieces in [&[&b"a\0"[..]][..], &[b"\xff"], &[b"\xe2\x82", b"a"], &[b"\xe2", b"\x82"], &[b"\xed\xa0\x80"]] {
            assert!(judged(pieces).is_err(), "{pieces:?}");
        }
        assert!(Text::new(Encoding::Other).push(b"\xff").is_ok());
    }
}
