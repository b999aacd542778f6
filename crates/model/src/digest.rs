//! Digests of bytes.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// The number of bytes and their hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Digest {
    /// The number of bytes.
    pub bytes: u64,
    /// The hash of the bytes.
    #[serde(flatten)]
    pub hash: Hash,
}

/// A hash in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// SHA-256, as `sha256sum` prints it.
    Sha256(String),
    /// BLAKE3, as `b3sum` prints it.
    Blake3(String),
}

/// A hash algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// For files in destinations: every host has a tool to check them.
    Sha256,
    /// For the contents of databases, which are many times larger than the files: ten times faster.
    Blake3,
}

impl Digest {
    /// Returns the SHA-256 digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.len() as u64, hash: Hash::Sha256(hex(digest(&SHA256, bytes).as_ref())) }
    }

    /// Returns the hexadecimal digits.
    pub fn hex(&self) -> &str {
        let (Hash::Sha256(hex) | Hash::Blake3(hex)) = &self.hash;
        hex
    }

    /// Returns the algorithm of the hash.
    pub fn algorithm(&self) -> Algorithm {
        match self.hash {
            Hash::Sha256(_) => Algorithm::Sha256,
            Hash::Blake3(_) => Algorithm::Blake3,
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.hash {
            Hash::Sha256(_) => "SHA-256",
            Hash::Blake3(_) => "BLAKE3",
        };
        write!(f, "{} bytes, {name} {}", self.bytes, self.hex())
    }
}

/// Returns bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
