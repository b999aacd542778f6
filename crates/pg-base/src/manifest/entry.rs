//! The entry of one file.

use serde::Deserialize;

use super::{NAME, path};
use crate::error::{Error, Result};

/// The entry of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The path below the data directory, in bytes of any encoding, such as `base/1/2619`.
    pub path: &'a [u8],
    /// The size of the file.
    pub size_bytes: u64,
    /// The checksum of the file's content.
    pub checksum: Checksum,
    /// The number of bytes of the manifest before the end of the entry.
    pub offset: u64,
}

/// The checksum of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// No checksum: the server was asked for `MANIFEST_CHECKSUMS 'NONE'`.
    None,
    /// A CRC-32C. The manifest prints its bytes in little-endian order.
    Crc32c(u32),
    /// A digest of the SHA-2 family, of the algorithm's length.
    Sha2(Sha2, Vec<u8>),
}

/// An algorithm of the SHA-2 family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sha2 {
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Sha2 {
    /// Returns the algorithm's name in manifests and in the option `MANIFEST_CHECKSUMS`
    /// (`src/common/checksum_helper.c`).
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    /// Returns the length of a digest in bytes.
    pub fn digest_bytes(self) -> usize {
        match self {
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Returns the algorithm of a name, in letters of any case as in `pg_checksum_parse_type`.
    fn named(name: &str) -> Option<Self> {
        let all = [Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];
        all.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }
}

/// An entry as the JSON has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryFields {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    /// The time of the last change, which nothing depends on.
    #[serde(rename = "Last-Modified")]
    _last_modified: Option<String>,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

impl EntryFields {
    /// Checks the fields and calls `on_entry`. `offset` is the place of the entry's end.
    pub(super) fn resolve(self, offset: u64, on_entry: &mut dyn FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        let damaged = |message: String| Error::damaged(NAME, offset, message);
        let path = match (self.path, self.encoded_path) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(encoded)) => {
                decode_hex(&encoded).ok_or_else(|| damaged(format!("path `{encoded}`: not hexadecimal")))?
            }
            (None, None) => return Err(damaged("entry without a path".to_owned())),
            (Some(path), Some(_)) => return Err(damaged(format!("entry of `{path}`: two paths"))),
        };
        let name = String::from_utf8_lossy(&path);
        if let Some(fault) = path::fault(&path) {
            return Err(damaged(format!("entry of `{name}`: {fault}")));
        }
        let algorithm = self.algorithm.as_deref();
        let checksum = match (algorithm, self.checksum.as_deref()) {
            (None, None) => Checksum::None,
            (Some(algorithm), None | Some("")) if algorithm.eq_ignore_ascii_case("NONE") => Checksum::None,
            (Some(algorithm), Some(digits)) => checksum(algorithm, digits).map_err(|fault| match fault {
                Fault::Algorithm => {
                    Error::unsupported(NAME, offset, format!("entry of `{name}`: checksum algorithm `{algorithm}`"))
                }
                Fault::Digits => damaged(format!("entry of `{name}`: `{digits}` is no {algorithm}")),
            })?,
            (None, Some(_)) => return Err(damaged(format!("entry of `{name}`: checksum without an algorithm"))),
            (Some(_), None) => return Err(damaged(format!("entry of `{name}`: algorithm without a checksum"))),
        };
        on_entry(Entry { path: &path, size_bytes: self.size, checksum, offset })
    }
}

/// The reason why a checksum cannot be parsed.
enum Fault {
    Algorithm,
    Digits,
}

fn checksum(algorithm: &str, digits: &str) -> Result<Checksum, Fault> {
    let bytes = decode_hex(digits);
    if algorithm.eq_ignore_ascii_case("CRC32C") {
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).ok_or(Fault::Digits)?;
        return Ok(Checksum::Crc32c(u32::from_le_bytes(bytes)));
    }
    let algorithm = Sha2::named(algorithm).ok_or(Fault::Algorithm)?;
    match bytes {
        Some(digest) if digest.len() == algorithm.digest_bytes() => Ok(Checksum::Sha2(algorithm, digest)),
        _ => Err(Fault::Digits),
    }
}

/// Decodes hexadecimal digits of either case. Returns `None` if there are others, or an odd number.
pub(super) fn decode_hex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks(2).map(|pair| match pair {
        [upper, lower] => Some(digit(*upper)? << 4 | digit(*lower)?),
        _ => None,
    });
    pairs.collect()
}
