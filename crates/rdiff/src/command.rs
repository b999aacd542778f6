//! The commands of a delta.
//!
//! ```text
//! 72 73 02 36                    the magic number
//! 01 … 40                        literal data of 1 to 64 bytes, which follow
//! 41 … 44  length                literal data; the length has 1, 2, 4 or 8 bytes, big-endian
//! 45 … 54  offset length         a copy from the old file, with all pairs of these widths
//! 00                             the end
//! ```

/// The first bytes of a delta.
pub const MAGIC: [u8; 4] = [0x72, 0x73, 0x02, 0x36];

/// The command that ends a delta.
pub const END: u8 = 0;

/// The longest literal whose length is in the command itself.
const MAX_SHORT_LITERAL: u64 = 64;
/// The first command of a literal with a length.
const FIRST_LITERAL: u8 = 0x41;
/// The first command of a copy.
const FIRST_COPY: u8 = 0x45;
/// The last command of a copy.
const LAST_COPY: u8 = 0x54;

/// A command of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The next bytes of the delta are part of the new file.
    Literal {
        /// The number of bytes.
        bytes: u64,
    },
    /// A part of the old file is part of the new file.
    Copy {
        /// The position in the old file.
        offset: u64,
        /// The number of bytes.
        bytes: u64,
    },
    /// The new file is complete.
    End,
}

/// The parameters that follow the first byte of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameters {
    /// The width of the offset of a copy, in bytes.
    pub(crate) offset: Option<usize>,
    /// The width of the length, in bytes.
    pub(crate) length: usize,
}

/// The meaning of the first byte of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    /// The whole command.
    Complete(Command),
    /// A command with parameters.
    Has(Parameters),
}

impl Opcode {
    /// Returns the meaning of a byte, or `None` if it begins no command.
    pub(crate) fn of(byte: u8) -> Option<Self> {
        match byte {
            END => Some(Self::Complete(Command::End)),
            1..FIRST_LITERAL => Some(Self::Complete(Command::Literal { bytes: byte.into() })),
            FIRST_LITERAL..FIRST_COPY => {
                Some(Self::Has(Parameters { offset: None, length: 1 << (byte - FIRST_LITERAL) }))
            }
            FIRST_COPY..=LAST_COPY => {
                let number = byte - FIRST_COPY;
                Some(Self::Has(Parameters { offset: Some(1 << (number / 4)), length: 1 << (number % 4) }))
            }
            _ => None,
        }
    }
}

impl Command {
    /// Appends the command in its shortest form. The bytes of a literal are not part of it.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::End => out.push(END),
            Self::Literal { bytes: bytes @ 1..=MAX_SHORT_LITERAL } => out.push(bytes as u8),
            Self::Literal { bytes } => {
                let width = width_index(bytes);
                out.push(FIRST_LITERAL + width);
                write_number(bytes, width, out);
            }
            Self::Copy { offset, bytes } => {
                let (offset_width, width) = (width_index(offset), width_index(bytes));
                out.push(FIRST_COPY + 4 * offset_width + width);
                write_number(offset, offset_width, out);
                write_number(bytes, width, out);
            }
        }
    }
}

/// Returns the binary logarithm of the number of bytes that a number needs.
fn width_index(number: u64) -> u8 {
    match number {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

fn write_number(number: u64, width_index: u8, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    out.extend_from_slice(&bytes[bytes.len() - (1 << width_index)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(command: Command) -> Vec<u8> {
        let mut out = Vec::new();
        command.write(&mut out);
        out
    }

    #[test]
    fn commands_have_the_bytes_of_librsync() {
        let literal = |bytes| written(Command::Literal { bytes });
        assert_eq!(literal(1), [0x01]);
        assert_eq!(literal(64), [0x40]);
        assert_eq!(literal(65), [0x41, 65]);
        assert_eq!(literal(0x1234), [0x42, 0x12, 0x34]);
        assert_eq!(literal(0x12_3456), [0x43, 0, 0x12, 0x34, 0x56]);
        assert_eq!(literal(1 << 32), [0x44, 0, 0, 0, 1, 0, 0, 0, 0]);
        let copy = |offset, bytes| written(Command::Copy { offset, bytes });
        assert_eq!(copy(0, 255), [0x45, 0, 255]);
        assert_eq!(copy(0, 256), [0x46, 0, 1, 0]);
        assert_eq!(copy(256, 1), [0x49, 1, 0, 1]);
        assert_eq!(copy(1 << 16, 1 << 16), [0x4f, 0, 1, 0, 0, 0, 1, 0, 0]);
        assert_eq!(copy(1 << 32, 1 << 32).first(), Some(&0x54));
        assert_eq!(written(Command::End), [0]);
    }

    #[test]
    fn opcodes_cover_all_bytes() {
        for byte in 0..=u8::MAX {
            assert_eq!(Opcode::of(byte).is_some(), byte <= LAST_COPY, "{byte:#x}");
        }
        assert_eq!(Opcode::of(0x49), Some(Opcode::Has(Parameters { offset: Some(2), length: 1 })));
        assert_eq!(Opcode::of(0x54), Some(Opcode::Has(Parameters { offset: Some(8), length: 8 })));
    }
}
