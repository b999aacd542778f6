//! Headers apart from their payload: their exact length, the key in them, and new headers for other
//! recipients.
//!
//! The key of a payload depends on the file's key and on the nonce before the payload, and not on
//! the header ([C2SP](https://c2sp.org/age)), so any header with the same key opens the payload.
//! The age crate parses headers, wraps and unwraps keys, and rejects combinations of recipients
//! that age forbids. It has no operation for a header with a given key, so [`write`] lets it write
//! one, exchanges the key on its way to the recipients, and replaces the MAC.

use std::collections::HashSet;
use std::io;

use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::hkdf;
use age_core::secrecy::ExposeSecret;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use longshore_core::stage;
use secrecy::SecretSlice;
use zeroize::Zeroizing;

use crate::encrypt::begin;
use crate::payload::NONCE_BYTES;
use crate::recipient::AgeRecipient;

/// The first line.
const VERSION_LINE: &[u8] = b"age-encryption.org/v1\n";
/// The beginning of the first line, of every version.
const MAGIC: &[u8] = b"age-encryption.org/";
/// The beginning of a stanza.
const STANZA: &[u8] = b"-> ";
/// The beginning of the last line.
const MAC: &[u8] = b"---";
/// The length of the last line: `---`, a space, 32 bytes in Base64 and the line feed.
const MAC_LINE_BYTES: usize = 48;
/// The length of a full line of a stanza's body.
const BODY_LINE_BYTES: usize = 65;
/// The length of a body that contains 32 bytes: a file's key and its authentication.
const KEY_BODY_BYTES: usize = 44;
/// The length of the shortest stanza that contains a key: its type has one letter.
const KEY_STANZA_BYTES: usize = 5 + KEY_BODY_BYTES;

/// The length of the first line and the minimum length of the body, of stanzas of known types.
/// Without them, long stanzas would take many short reads.
const KNOWN_STANZAS: [(&[u8], usize, usize); 5] = [
    (b"-> X25519 ", 54, KEY_BODY_BYTES),
    (b"-> ssh-ed25519 ", 66, KEY_BODY_BYTES),
    (b"-> ssh-rsa ", 18, 348),
    (b"-> p256tag ", 106, KEY_BODY_BYTES),
    (b"-> mlkem768p256tag ", 1565, KEY_BODY_BYTES),
];

/// The part of a header that is expected next.
#[derive(Clone, Copy)]
enum Part {
    Version,
    /// A stanza or the MAC.
    Stanza,
    /// The rest of the body of a stanza, of at least this many bytes.
    Body(usize),
}

impl Part {
    /// Returns the minimum number of bytes from the beginning of this part to the end of a header.
    fn rest_bytes(self) -> usize {
        match self {
            Self::Version => VERSION_LINE.len() + KEY_STANZA_BYTES + MAC_LINE_BYTES,
            Self::Stanza => MAC_LINE_BYTES,
            Self::Body(bytes) => bytes + MAC_LINE_BYTES,
        }
    }
}

/// Returns the number of bytes by which a header that begins with `begin` certainly continues, or 0
/// if it is complete. Never counts a byte after the header.
pub(crate) fn missing_bytes(begin: &[u8]) -> io::Result<usize> {
    let mut part = Part::Version;
    for line in begin.split_inclusive(|byte| *byte == b'\n') {
        if !line.ends_with(b"\n") {
            return rest_of_line(part, line);
        }
        part = match part {
            Part::Version if line == VERSION_LINE => Part::Stanza,
            Part::Version if line.starts_with(MAGIC) => return Err(invalid("it names an unsupported version of age")),
            Part::Version => return Err(invalid("not an age file")),
            Part::Stanza if line.starts_with(MAC) => return Ok(0),
            Part::Stanza if line.starts_with(STANZA) => {
                let known = KNOWN_STANZAS.iter().find(|(start, ..)| line.starts_with(start));
                Part::Body(known.map_or(1, |(_, _, body)| *body))
            }
            Part::Stanza => return Err(invalid("neither a stanza nor the MAC of a header")),
            Part::Body(bytes) if line.len() == BODY_LINE_BYTES => {
                Part::Body(bytes.saturating_sub(BODY_LINE_BYTES).max(1))
            }
            Part::Body(_) if line.len() < BODY_LINE_BYTES => Part::Stanza,
            Part::Body(_) => return Err(invalid("a line of a stanza is too long")),
        };
    }
    Ok(part.rest_bytes())
}

/// Returns the minimum number of bytes from the end of an incomplete line to the end of a header.
fn rest_of_line(part: Part, line: &[u8]) -> io::Result<usize> {
    let is_start_of = |text: &[u8]| text.starts_with(line) || line.starts_with(text);
    match part {
        Part::Version if is_start_of(MAGIC) => Ok(part.rest_bytes().saturating_sub(line.len()).max(1)),
        Part::Version => Err(invalid("not an age file")),
        Part::Stanza if is_start_of(MAC) => Ok(MAC_LINE_BYTES.saturating_sub(line.len()).max(1)),
        Part::Stanza if is_start_of(STANZA) => {
            let known = KNOWN_STANZAS.iter().find(|(start, ..)| line.starts_with(start));
            let rest = known.map_or(2, |(_, first, body)| first.saturating_sub(line.len()).max(1) + body);
            Ok(rest + MAC_LINE_BYTES)
        }
        Part::Stanza => Err(invalid("neither a stanza nor the MAC of a header")),
        Part::Body(_) if line.len() >= BODY_LINE_BYTES => Err(invalid("a line of a stanza is too long")),
        Part::Body(bytes) => Ok(bytes.saturating_sub(line.len()).max(1) + MAC_LINE_BYTES),
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the header is invalid: {message}"))
}

/// Reads a header into the age crate, whose files have a nonce after it.
pub(crate) fn parse(header: &[u8]) -> Result<age::Decryptor<io::Cursor<Vec<u8>>>, age::DecryptError> {
    let mut head = Vec::with_capacity(header.len() + NONCE_BYTES);
    head.extend_from_slice(header);
    head.extend_from_slice(&[0; NONCE_BYTES]);
    age::Decryptor::new_buffered(io::Cursor::new(head))
}

/// Returns true if a file's key authenticates this header: the header is of the same file.
pub(crate) fn is_authenticated_by(header: &[u8], key: &FileKey) -> bool {
    let known = KnownKey(key);
    parse(header).is_ok_and(|parsed| parsed.decrypt([&known as &dyn age::Identity].into_iter()).is_ok())
}

/// An identity that returns a known key without looking at the stanzas. The age crate then
/// authenticates the header with it.
struct KnownKey<'a>(&'a FileKey);

impl age::Identity for KnownKey<'_> {
    fn unwrap_stanza(&self, _: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        Some(Ok(copy(self.0)))
    }
}

/// A recipient that delegates to another, but wraps this key instead of a new one.
struct ForKey<'a> {
    recipient: &'a dyn age::Recipient,
    key: &'a FileKey,
}

impl age::Recipient for ForKey<'_> {
    fn wrap_file_key(&self, _: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        self.recipient.wrap_file_key(self.key)
    }
}

/// Returns a header that contains this key, for these recipients.
pub(crate) fn write(recipients: &[AgeRecipient], key: &FileKey, subject: &str) -> io::Result<Vec<u8>> {
    let recipients: Vec<_> = recipients.iter().map(|recipient| ForKey { recipient: &**recipient, key }).collect();
    let encryptor = begin(recipients.iter().map(|recipient| recipient as &dyn age::Recipient), subject)?;
    let mut header = Vec::new();
    drop(encryptor.wrap_output(&mut header)?);
    // The crate has authenticated the header with a key of its own.
    let authenticated = header.len().saturating_sub(NONCE_BYTES + MAC_LINE_BYTES) + MAC.len();
    header.truncate(authenticated);
    if !header.ends_with(MAC) {
        return Err(io::Error::other("the header has an unexpected end"));
    }
    let mac_key = Zeroizing::new(hkdf(&[], b"header", key.expose_secret()));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*mac_key), &header);
    header.push(b' ');
    header.extend_from_slice(BASE64_STANDARD_NO_PAD.encode(mac).as_bytes());
    header.push(b'\n');
    if !is_authenticated_by(&header, key) {
        return Err(io::Error::other("the new header cannot be read back"));
    }
    Ok(header)
}

fn copy(key: &FileKey) -> FileKey {
    FileKey::init_with_mut(|copy| copy.copy_from_slice(key.expose_secret()))
}

/// Returns a key in the form that other stages pass on.
pub(crate) fn to_stage(key: &FileKey) -> stage::FileKey {
    stage::FileKey::new(SecretSlice::from(key.expose_secret().to_vec()))
}

/// Returns a key in the form of the age crate.
pub(crate) fn from_stage(key: &stage::FileKey) -> io::Result<FileKey> {
    let bytes = key.expose();
    if bytes.len() != FILE_KEY_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the key of an age file"));
    }
    Ok(FileKey::init_with_mut(|copy| copy.copy_from_slice(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "age-encryption.org/v1\n\
        -> X25519 CJM36AHmTbdHSuOQL+NESqyVQE75f2e610iRdLPEN20\n\
        C3ZAeY64NXS4QFrksLm3EGz+uPRyI0eQsWw7LWbbYig\n\
        -> ^-grease 7 x\n\
        0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01\n\
        \n\
        --- ytazqsbmUnPwVWMVx0c1X9iUtGdY4yAB08UQTY2hNCI\n";

    /// Reads a header as a caller of `missing_bytes` does. Returns its length and the number of
    /// reads.
    fn reads(file: &[u8]) -> io::Result<(usize, usize)> {
        let (mut end, mut reads) = (0, 0);
        loop {
            match missing_bytes(&file[..end])? {
                0 => return Ok((end, reads)),
                missing => {
                    end += missing;
                    reads += 1;
                    if end > file.len() {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    #[test]
    fn header_is_read_exactly() {
        let payload = vec![b'\n'; 100];
        let file = [HEADER.as_bytes(), &payload].concat();
        let (bytes, reads) = reads(&file).unwrap();
        assert_eq!(bytes, HEADER.len());
        assert!(reads <= 6, "{reads} reads");
        for end in 0..HEADER.len() {
            let missing = missing_bytes(&file[..end]).unwrap();
            assert!(missing > 0 && end + missing <= HEADER.len(), "at {end}: {missing}");
        }
        assert_eq!(missing_bytes(HEADER.as_bytes()).unwrap(), 0);
    }

    #[test]
    fn malformed_headers_are_errors_or_end() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        for _ in 0..20_000 {
            let mut bytes = [HEADER.as_bytes(), &[b'x'; 40]].concat();
            for _ in 0..=random(4) {
                let place = random(bytes.len());
                match random(4) {
                    0 => bytes[place] = random(256) as u8,
                    1 => bytes.truncate(place),
                    2 => bytes.insert(place, b'\n'),
                    _ => {
                        bytes.remove(place);
                    }
                }
                bytes.push(b'-');
            }
            // Every read makes progress, so this ends.
            drop(reads(&bytes));
            assert!(!is_authenticated_by(&bytes, &FileKey::new(Box::new([7; 16]))));
        }
        for text in ["x", "age-encryption.org/v2\n", "age-encryption.org/v1\nx\n", "-----BEGIN AGE ENCRYPTED FILE-----"]
        {
            assert_eq!(missing_bytes(text.as_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text}");
        }
    }

    #[test]
    fn lengths_of_known_stanzas_are_lower_bounds() {
        let tagpq = include_str!("../tests/behaviour/tagpq-recipient.txt");
        for text in [
            "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa",
            "age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN",
            tagpq,
        ] {
            let recipient = crate::recipient::Recipient::parse(text, "").unwrap();
            let crate::recipient::Implementation::Native(recipient) = recipient.implementation else { unreachable!() };
            for _ in 0..20 {
                let header = write(std::slice::from_ref(&recipient), &FileKey::new(Box::new([7; 16])), "").unwrap();
                let file = [&header, &b"x".repeat(100)[..]].concat();
                let (bytes, reads) = reads(&file).unwrap();
                assert_eq!(bytes, header.len(), "{text}");
                assert!(reads <= 8, "{reads} reads: {text}");
            }
        }
    }
}
