//! The checksums of a file's content, computed while it passes.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::digest::DynDigest;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::manifest::Sha2;

/// The checksums of one file after another.
pub(super) struct Hasher {
    crc32c: Crc,
    sha2: Option<Box<dyn DynDigest + Send>>,
}

/// The checksums of a file.
pub(super) struct Sums {
    /// The CRC-32C.
    pub(super) crc32c: u32,
    /// The digest of the algorithm asked for, or nothing.
    pub(super) sha2: Box<[u8]>,
}

impl Hasher {
    pub(super) fn new(sha2: Option<Sha2>) -> Self {
        let sha2: Option<Box<dyn DynDigest + Send>> = sha2.map(|algorithm| match algorithm {
            Sha2::Sha224 => Box::<Sha224>::default() as _,
            Sha2::Sha256 => Box::<Sha256>::default() as _,
            Sha2::Sha384 => Box::<Sha384>::default() as _,
            Sha2::Sha512 => Box::<Sha512>::default() as _,
        });
        Self { crc32c: Crc::new(CrcAlgorithm::Crc32Iscsi), sha2 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.crc32c.update(bytes);
        if let Some(sha2) = &mut self.sha2 {
            sha2.update(bytes);
        }
    }

    /// Returns the checksums of a file, and begins with the next one.
    pub(super) fn finish(&mut self) -> Sums {
        let crc32c = u32::try_from(self.crc32c.finalize_reset()).expect("a CRC of 32 bits");
        let sha2 = self.sha2.as_mut().map(|sha2| sha2.finalize_reset()).unwrap_or_default();
        Sums { crc32c, sha2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hasher_computes_crc32c_and_starts_again() {
        let mut hasher = Hasher::new(Some(Sha2::Sha224));
        for _ in 0..2 {
            hasher.update(b"1234");
            hasher.update(b"56789");
            let sums = hasher.finish();
            assert_eq!(sums.crc32c, 0xE306_9283, "the check value of CRC-32/ISCSI");
            assert_eq!(sums.sha2.len(), 28);
        }
    }
}
