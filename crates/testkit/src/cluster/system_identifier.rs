//! Unique system identifiers for copied data directories, so that a test that confuses two clusters
//! fails.
//!
//! The identifier is the first field of `global/pg_control` and is repeated in the header of each
//! WAL segment. The control file ends with a CRC-32C of its fields, at a position that differs
//! between versions and has to be searched.

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The position of the identifier in the control file.
const IN_CONTROL: std::ops::Range<usize> = 0..8;
/// The position of the identifier in a WAL segment, after the 24 bytes of the page header.
const IN_WAL: u64 = 24;

/// Changes the identifier of a data directory whose server does not run.
pub(super) fn renew(data: &Path) -> io::Result<()> {
    let identifier = new_identifier().to_ne_bytes();
    let path = data.join("global/pg_control");
    let mut control = fs::read(&path)?;
    let crc_at = crc_offset(&control).ok_or_else(|| io::Error::other("no checksum found in pg_control"))?;
    control[IN_CONTROL].copy_from_slice(&identifier);
    let crc = crc32c(&control[..crc_at]).to_ne_bytes();
    control[crc_at..crc_at + 4].copy_from_slice(&crc);
    fs::write(&path, control)?;
    for entry in fs::read_dir(data.join("pg_wal"))? {
        let segment = entry?;
        if segment.file_type()?.is_file() {
            let segment = OpenOptions::new().write(true).open(segment.path())?;
            segment.write_all_at(&identifier, IN_WAL)?;
        }
    }
    Ok(())
}

/// Returns an identifier in PostgreSQL's format: the time in the upper half, random bits in the
/// lower.
fn new_identifier() -> u64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    seconds << 32 | RandomState::new().hash_one(std::process::id()) >> 32
}

fn crc_offset(control: &[u8]) -> Option<usize> {
    let is_crc = |&at: &usize| crc32c(&control[..at]).to_ne_bytes() == control[at..at + 4];
    (64..control.len().saturating_sub(4).min(512)).step_by(4).find(is_crc)
}

fn crc32c(bytes: &[u8]) -> u32 {
    let fold = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    };
    !bytes.iter().fold(u32::MAX, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
