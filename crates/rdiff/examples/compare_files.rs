//! Prints the size of the difference between two files, and the speed of the signature and of the
//! encoder on one core: `compare_files OLD NEW`.
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::fs::File;
use std::io::{self, Read};
use std::time::Instant;

use longshore_rdiff::{Encoder, Key, Signature, SignatureWriter};

const BLOCK_BYTES: u32 = 512;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or_else(|| io::Error::other("two files are needed"));
    let (old, new) = (next()?, next()?);
    let key = Key([1; 32]);
    let mut writer = SignatureWriter::new(&key, BLOCK_BYTES, Vec::new());
    let (bytes, seconds) = read(&old, |piece| writer.push(piece))?;
    let (signature, summary) = writer.finish()?;
    println!("signature: {:.0} MB/s, {} bytes of {bytes}", bytes as f64 / 1e6 / seconds, signature.len());
    let mut encoder = Encoder::new(Signature::open(signature, &key, BLOCK_BYTES, &summary)?);
    let (mut delta, mut encoded_bytes) = (Vec::new(), 0);
    let (bytes, seconds) = read(&new, |piece| {
        encoder.push(piece, &mut delta);
        encoded_bytes += delta.len();
        delta.clear();
        Ok(())
    })?;
    encoder.finish(&mut delta);
    encoded_bytes += delta.len();
    println!("difference: {:.0} MB/s, {encoded_bytes} bytes of {bytes}", bytes as f64 / 1e6 / seconds);
    Ok(())
}

/// Passes a file on in pieces. Returns its size and the seconds that `work` took.
fn read(path: &str, mut work: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, f64)> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; 256 << 10]);
    let (mut bytes, mut seconds) = (0, 0.0);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((bytes, seconds));
        }
        let begun = Instant::now();
        work(&piece[..read])?;
        seconds += begun.elapsed().as_secs_f64();
        bytes += read as u64;
    }
}
