//! The digests of a block.

/// The size of an entry in a signature, in bytes: the rolling digest and the strong one.
pub const ENTRY_BYTES: usize = 16;

/// The size of a strong digest in bytes.
const STRONG_BYTES: usize = 12;

/// A strong digest: the beginning of the keyed BLAKE3 of a block.
pub(crate) type Strong = [u8; STRONG_BYTES];

/// A secret key. Without it, the digest of a block does not help to guess its content, and no
/// other content of the same digest can be found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// The digests of one block, of 128 bits together. Both are keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The rolling digest.
    pub rolling: u32,
    /// The first 96 bits of the keyed BLAKE3 of the block.
    pub strong: [u8; STRONG_BYTES],
}

impl Entry {
    /// Returns the bytes of the entry in a signature.
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let (rolling, strong) = bytes.split_at_mut(4);
        rolling.copy_from_slice(&self.rolling.to_le_bytes());
        strong.copy_from_slice(&self.strong);
        bytes
    }

    /// Reads an entry of a signature.
    pub(crate) fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [a, b, c, d, strong @ ..] = *bytes;
        Self { rolling: u32::from_le_bytes([a, b, c, d]), strong }
    }
}

/// Computes the digests of blocks of one size.
///
/// The rolling digest is a polynomial of the bytes modulo 2⁶⁴ at a secret point, of which the upper
/// half counts. A match of it is always confirmed by the strong digest.
#[derive(Clone)]
pub struct BlockHasher {
    key: [u8; 32],
    block_bytes: usize,
    multiplier: u64,
    /// The first eight powers of the multiplier.
    powers: [u64; 9],
    /// The part of each byte value that leaves the block when it rolls.
    leaving: Box<[u64; 256]>,
}

impl BlockHasher {
    /// Creates a hasher.
    pub fn new(key: &Key, block_bytes: usize) -> Self {
        let derived = blake3::derive_key("longshore rdiff 2026 block digest", &key.0);
        let seed = blake3::derive_key("longshore rdiff 2026 rolling digest", &key.0);
        let [a, b, c, d, e, f, g, h, ..] = seed;
        // An odd number loses no byte.
        let multiplier = u64::from_le_bytes([a, b, c, d, e, f, g, h]) | 1;
        let power = |exponent: usize| (0..exponent).fold(1_u64, |power, _| power.wrapping_mul(multiplier));
        let leaving_power = power(block_bytes);
        let mut leaving = Box::new([0; 256]);
        for (byte, leaving) in (0_u64..).zip(leaving.iter_mut()) {
            *leaving = value(byte as u8).wrapping_mul(leaving_power);
        }
        Self { key: derived, block_bytes, multiplier, powers: std::array::from_fn(power), leaving }
    }

    /// Returns the size of a block in bytes.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// Returns both digests of a block.
    pub fn entry(&self, block: &[u8]) -> Entry {
        Entry { rolling: upper(self.rolling(block)), strong: self.strong(block) }
    }

    /// Returns the strong digest of a block.
    #[inline]
    pub(crate) fn strong(&self, block: &[u8]) -> Strong {
        let digest = blake3::keyed_hash(&self.key, block);
        let mut strong = [0; STRONG_BYTES];
        strong.copy_from_slice(&digest.as_bytes()[..STRONG_BYTES]);
        strong
    }

    /// Returns the state of the rolling digest for a block.
    pub(crate) fn rolling(&self, block: &[u8]) -> u64 {
        let [_, p1, p2, p3, p4, p5, p6, p7, p8] = self.powers;
        let (eights, rest) = block.as_chunks::<8>();
        let mut state = 0_u64;
        for &[a, b, c, d, e, f, g, h] in eights {
            let first = value(a).wrapping_mul(p7).wrapping_add(value(b).wrapping_mul(p6));
            let second = value(c).wrapping_mul(p5).wrapping_add(value(d).wrapping_mul(p4));
            let third = value(e).wrapping_mul(p3).wrapping_add(value(f).wrapping_mul(p2));
            let fourth = value(g).wrapping_mul(p1).wrapping_add(value(h));
            let sum = first.wrapping_add(second).wrapping_add(third.wrapping_add(fourth));
            state = state.wrapping_mul(p8).wrapping_add(sum);
        }
        rest.iter().fold(state, |state, byte| state.wrapping_mul(self.multiplier).wrapping_add(value(*byte)))
    }

    /// Returns the state for the block that begins one byte later.
    #[inline]
    pub(crate) fn roll(&self, state: u64, leaving: u8, entering: u8) -> u64 {
        let entered = state.wrapping_mul(self.multiplier).wrapping_add(value(entering));
        entered.wrapping_sub(self.leaving[usize::from(leaving)])
    }
}

/// Returns a number for a byte. Zero bytes count, so that runs of them differ in length.
#[inline]
fn value(byte: u8) -> u64 {
    u64::from(byte) + 1
}

/// Returns the digest for the state of a rolling one.
#[inline]
pub(crate) fn upper(state: u64) -> u32 {
    (state >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolled_digest_equals_the_computed_one() {
        let mut random = fastrand::Rng::with_seed(7);
        let bytes: Vec<u8> = (0..4000).map(|_| random.u8(..)).collect();
        for block_bytes in [128, 512, 1000, 1024] {
            let hasher = BlockHasher::new(&Key([9; 32]), block_bytes);
            let mut state = hasher.rolling(&bytes[..block_bytes]);
            for start in 1..bytes.len() - block_bytes {
                state = hasher.roll(state, bytes[start - 1], bytes[start + block_bytes - 1]);
                assert_eq!(state, hasher.rolling(&bytes[start..start + block_bytes]), "{block_bytes} {start}");
            }
        }
    }

    #[test]
    fn digests_depend_on_the_key() {
        let block = [5; 512];
        let entry = |key| BlockHasher::new(&Key([key; 32]), 512).entry(&block);
        assert_eq!(entry(1), entry(1));
        assert_ne!(entry(1).strong, entry(2).strong);
        assert_ne!(entry(1).rolling, entry(2).rolling);
        assert_eq!(Entry::from_bytes(&entry(1).to_bytes()), entry(1));
        assert_eq!(format!("{:?}", Key([1; 32])), "Key(..)");
    }
}
