//! Prints the size of the difference between two files, and the speed of the signature and of the
//! encoder on one core: `compare_files OLD NEW [BLOCK [DIFFERENCE]]`. Writes the difference to a
//! file if one is named.
#![allow(clippy::print_stdout, reason = "its purpose")]

use std::fs::File;
use std::io::{self, Read, Write};

use longshore_rdiff::{Encoder, Key, Signature, SignatureWriter};

/// The default size of a block in bytes.
const BLOCK_BYTES: u32 = 512;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or_else(|| io::Error::other("two files are needed"));
    let (old, new) = (next()?, next()?);
    let block_bytes = next().ok().map_or(Ok(BLOCK_BYTES), |text| text.parse()).map_err(io::Error::other)?;
    let mut out = next().ok().map(File::create).transpose()?;
    let key = Key([1; 32]);
    let mut writer = SignatureWriter::new(&key, block_bytes, Vec::new());
    let (bytes, seconds) = read(&old, |piece| writer.push(piece))?;
    let (signature, summary) = writer.finish()?;
    println!("signature: {:.0} MB/s, {} bytes of {bytes}", bytes as f64 / 1e6 / seconds, signature.len());
    let mut keep = |delta: &[u8]| out.as_mut().map_or(Ok(()), |out| out.write_all(delta));
    let mut encoder = Encoder::new(Signature::open(signature, &key, block_bytes, &summary)?);
    let (mut delta, mut encoded_bytes) = (Vec::new(), 0);
    let (bytes, seconds) = read(&new, |piece| {
        encoder.push(piece, &mut delta);
        encoded_bytes += delta.len();
        keep(&delta)?;
        delta.clear();
        Ok(())
    })?;
    encoder.finish(&mut delta);
    encoded_bytes += delta.len();
    keep(&delta)?;
    println!("difference: {:.0} MB/s, {encoded_bytes} bytes of {bytes}", bytes as f64 / 1e6 / seconds);
    Ok(())
}

/// Returns the processor time of this thread in seconds. Other processes do not count.
fn processor_seconds() -> io::Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
    nanoseconds.map(|number| number / 1e9).ok_or_else(|| io::Error::other("unknown form of schedstat"))
}

/// Passes a file on in pieces. Returns its size and the processor seconds that `work` took.
fn read(path: &str, mut work: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<(u64, f64)> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; 256 << 10]);
    let (mut bytes, mut seconds) = (0, 0.0);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((bytes, seconds));
        }
        let begun = processor_seconds()?;
        work(&piece[..read])?;
        seconds += processor_seconds()? - begun;
        bytes += read as u64;
    }
}
