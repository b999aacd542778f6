//! An old file and a delta, merged into the new file.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use crate::command::{Command, MAGIC, Opcode};

/// Writes the new file. Reads the old file and the delta forward, each once, and holds neither. The
/// old file is read only as far as the delta copies from it. Returns the size of the new file in
/// bytes.
///
/// # Errors
///
/// Fails with [`InvalidData`](ErrorKind::InvalidData) if the delta is malformed or truncated, has
/// trailing bytes, copies from a position before the end of an earlier copy, or copies from beyond
/// the end of the old file. Errors of readers and of the writer are returned as they are.
pub fn patch(base: &mut impl BufRead, delta: &mut impl BufRead, out: &mut impl Write) -> io::Result<u64> {
    let mut magic = [0; MAGIC.len()];
    delta.read_exact(&mut magic).map_err(truncated)?;
    if magic != MAGIC {
        return Err(invalid("not a delta of rdiff"));
    }
    let (mut position, mut written) = (0_u64, 0_u64);
    loop {
        match read_command(delta)? {
            Command::End => break,
            Command::Literal { bytes: 0 } | Command::Copy { bytes: 0, .. } => {
                return Err(invalid("the delta has a command of no bytes"));
            }
            Command::Literal { bytes } => {
                copy(delta, bytes, out, "the delta is truncated")?;
                written = written.saturating_add(bytes);
            }
            Command::Copy { offset, bytes } => {
                let skipped = offset.checked_sub(position).ok_or_else(|| invalid("the delta copies backward"))?;
                let beyond = "the delta copies from beyond the end of its base";
                copy(base, skipped, &mut io::sink(), beyond)?;
                copy(base, bytes, out, beyond)?;
                position = offset.checked_add(bytes).ok_or_else(|| invalid(beyond))?;
                written = written.saturating_add(bytes);
            }
        }
    }
    if !delta.fill_buf()?.is_empty() {
        return Err(invalid("the delta has trailing bytes"));
    }
    Ok(written)
}

fn read_command(delta: &mut impl Read) -> io::Result<Command> {
    let mut first = [0];
    delta.read_exact(&mut first).map_err(truncated)?;
    match Opcode::of(first[0]) {
        Some(Opcode::Complete(command)) => Ok(command),
        Some(Opcode::Has(parameters)) => {
            let offset = parameters.offset.map(|width| read_number(delta, width)).transpose()?;
            let bytes = read_number(delta, parameters.length)?;
            Ok(offset.map_or(Command::Literal { bytes }, |offset| Command::Copy { offset, bytes }))
        }
        None => Err(invalid("the delta has an unknown command")),
    }
}

/// Reads a number of 1, 2, 4 or 8 bytes.
fn read_number(delta: &mut impl Read, width: usize) -> io::Result<u64> {
    let mut bytes = [0; 8];
    delta.read_exact(&mut bytes[8 - width..]).map_err(truncated)?;
    Ok(u64::from_be_bytes(bytes))
}

/// Copies a number of bytes, or fails with the message if the reader ends before.
fn copy(reader: &mut impl BufRead, mut bytes: u64, out: &mut impl Write, ended: &str) -> io::Result<()> {
    while bytes > 0 {
        let ready = match reader.fill_buf() {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            ready => ready?,
        };
        if ready.is_empty() {
            return Err(invalid(ended));
        }
        let taken = usize::try_from(bytes).unwrap_or(usize::MAX).min(ready.len());
        out.write_all(&ready[..taken])?;
        reader.consume(taken);
        bytes -= taken as u64;
    }
    Ok(())
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

fn truncated(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => invalid("the delta is truncated"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &[u8] = b"0123456789";

    fn patched(commands: &[u8]) -> io::Result<Vec<u8>> {
        let (mut out, delta) = (Vec::new(), [&MAGIC[..], commands].concat());
        patch(&mut &BASE[..], &mut &delta[..], &mut out).inspect(|bytes| assert_eq!(*bytes, out.len() as u64))?;
        Ok(out)
    }

    #[test]
    fn copies_and_literals_alternate() {
        assert_eq!(patched(&[0x45, 1, 3, 2, b'a', b'b', 0x45, 8, 2, 0]).unwrap(), b"123ab89");
        assert_eq!(patched(&[0x54, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap(), b"4");
        assert_eq!(patched(&[0x44, 0, 0, 0, 0, 0, 0, 0, 1, b'x', 0]).unwrap(), b"x");
        assert_eq!(patched(&[0]).unwrap(), b"");
    }

    #[test]
    fn malformed_deltas_are_refused() {
        let far = [0x54, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        let long = [0x48, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0];
        let cases: [(&[u8], &str); 12] = [
            (&[], "truncated"),
            (&[0x45], "truncated"),
            (&[0x45, 1], "truncated"),
            (&[0x45, 1, 3], "truncated"),
            (&[3, b'a', 0], "truncated"),
            (&[0x45, 5, 3, 0x45, 7, 1, 0], "backward"),
            (&[0x45, 9, 2, 0], "beyond"),
            (&far, "beyond"),
            (&long, "beyond"),
            (&[0x41, 0, 0], "no bytes"),
            (&[0x55, 0], "unknown command"),
            (&[0, 0], "trailing"),
        ];
        for (commands, word) in cases {
            let error = patched(commands).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{commands:?}");
            assert!(error.to_string().contains(word), "{commands:?}: {error}");
        }
        for delta in [&b""[..], b"rs\x02", b"rs\x026", b"rs\x0266"] {
            let error = patch(&mut &BASE[..], &mut &delta[..], &mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{delta:?}");
        }
    }
}
