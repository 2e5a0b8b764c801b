//! Making a delta: blocks of the base are indexed by their hash, a window of the same width runs over the target.

/// Width of the window, and the shortest stretch that is copied.
const BLOCK_BYTES: usize = 16;
/// Blocks of one hash that are tried at one place, so that no input makes this quadratic.
const CANDIDATES_MAX: usize = 8;
/// Longest literal of one instruction.
const LITERAL_BYTES_MAX: usize = 127;
/// Longest copy of one instruction that every git reads.
const COPY_BYTES_MAX: usize = 0x1_0000;
const FACTOR: u32 = 0x0100_0193;
/// `FACTOR` to the power of `BLOCK_BYTES - 1`: what the byte that leaves the window was multiplied with.
const LEAVING: u32 = {
    let (mut power, mut at) = (1_u32, 1);
    while at < BLOCK_BYTES {
        power = power.wrapping_mul(FACTOR);
        at += 1;
    }
    power
};
const NONE: u32 = u32::MAX;

fn hash(block: &[u8]) -> u32 {
    block.iter().fold(0, |hash, byte| hash.wrapping_mul(FACTOR).wrapping_add(u32::from(*byte)))
}

/// The blocks of a base by their hash. Later blocks hide earlier ones but for `next`.
struct Index<'a> {
    base: &'a [u8],
    bits: u32,
    heads: Vec<u32>,
    next: Vec<u32>,
}

impl<'a> Index<'a> {
    fn new(base: &'a [u8]) -> Self {
        let blocks = base.len() / BLOCK_BYTES;
        let bits = (blocks.max(8) as u32).next_power_of_two().trailing_zeros() + 1;
        let mut index = Self { base, bits, heads: vec![NONE; 1 << bits], next: vec![NONE; blocks] };
        for (at, block) in base.as_chunks::<BLOCK_BYTES>().0.iter().enumerate().rev() {
            let slot = index.slot(hash(block));
            let head = index.heads.get_mut(slot).expect("slots are within the table");
            let next = index.next.get_mut(at).expect("one for each block");
            // A run of one byte would fill the chain with blocks that are all the same.
            let older = *head as usize;
            *next = match older == at + 1
                && base.get(older * BLOCK_BYTES..(older + 1) * BLOCK_BYTES) == Some(block)
            {
                true => NONE,
                false => *head,
            };
            *head = at as u32;
        }
        index
    }

    fn slot(&self, hash: u32) -> usize {
        (hash.wrapping_mul(0x9e37_79b1) >> (32 - self.bits)) as usize
    }

    /// The longest stretch of the base that the target goes on with: its start and its length.
    fn longest(&self, hash: u32, target: &[u8]) -> Option<(usize, usize)> {
        let mut block = *self.heads.get(self.slot(hash))?;
        let mut best: Option<(usize, usize)> = None;
        for _ in 0..CANDIDATES_MAX {
            let from = (block != NONE).then_some(block as usize * BLOCK_BYTES)?;
            let bytes = common_prefix(self.base.get(from..)?, target);
            if bytes >= BLOCK_BYTES && best.is_none_or(|(_, longest)| bytes > longest) {
                best = Some((from, bytes));
            }
            match self.next.get(block as usize) {
                Some(next) if *next != NONE => block = *next,
                _ => break,
            }
        }
        best
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
    for part in bytes.chunks(LITERAL_BYTES_MAX) {
        out.push(part.len() as u8);
        out.extend_from_slice(part);
    }
}

fn copy(out: &mut Vec<u8>, mut from: usize, mut bytes: usize) {
    while bytes > 0 {
        let part = bytes.min(COPY_BYTES_MAX);
        let start = out.len();
        out.push(0x80);
        let mut op = 0x80;
        for (bit, byte) in (from as u32).to_le_bytes().into_iter().enumerate().filter(|(_, byte)| *byte != 0)
        {
            op |= 1 << bit;
            out.push(byte);
        }
        // 0 stands for the longest copy.
        let size = if part == COPY_BYTES_MAX { 0 } else { part as u16 };
        for (bit, byte) in size.to_le_bytes().into_iter().enumerate().filter(|(_, byte)| *byte != 0) {
            op |= 0x10 << bit;
            out.push(byte);
        }
        if let Some(first) = out.get_mut(start) {
            *first = op;
        }
        from += part;
        bytes -= part;
    }
}

/// A delta that makes `target` of `base`, in at most `bytes_max` bytes; `None` where that cannot be found. Both are below
/// 4 GiB.
pub fn make(base: &[u8], target: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    if base.len() >= NONE as usize || target.len() >= NONE as usize {
        return None;
    }
    let index = Index::new(base);
    let mut out = Vec::with_capacity(64);
    varint(&mut out, base.len());
    varint(&mut out, target.len());
    // What is before `told` is in `out`; the window starts at `at`.
    let (mut told, mut at) = (0, 0);
    let mut window = None;
    while let Some(block) = target.get(at..at + BLOCK_BYTES) {
        if out.len() + (at - told) > bytes_max {
            return None;
        }
        let here = window.unwrap_or_else(|| hash(block));
        let rest = target.get(at..).unwrap_or_default();
        if let Some((mut from, mut bytes)) = index.longest(here, rest) {
            // Backwards too, over what would have been literal.
            let before = target.get(told..at).unwrap_or_default().iter().rev();
            let back = before.zip(base.get(..from).unwrap_or_default().iter().rev());
            let back = back.take_while(|(a, b)| a == b).count();
            (from, bytes) = (from - back, bytes + back);
            literal(&mut out, target.get(told..at - back).unwrap_or_default());
            copy(&mut out, from, bytes);
            at = at - back + bytes;
            told = at;
            window = None;
            continue;
        }
        let leaving = block.first().map_or(0, |byte| u32::from(*byte));
        window = target.get(at + BLOCK_BYTES).map(|entering| {
            here.wrapping_sub(leaving.wrapping_mul(LEAVING))
                .wrapping_mul(FACTOR)
                .wrapping_add(u32::from(*entering))
        });
        at += 1;
    }
    literal(&mut out, target.get(told..).unwrap_or_default());
    (out.len() <= bytes_max).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::apply;
    use super::make;

    fn check(base: &[u8], target: &[u8]) -> usize {
        let delta = make(base, target, usize::MAX).expect("no limit");
        let mut made = Vec::new();
        apply(base, &delta, &mut made, u64::MAX).expect("it applies");
        assert!(made == target, "another result");
        delta.len()
    }

    fn noise(len: usize, mut seed: u32) -> Vec<u8> {
        let mut byte = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        (0..len).map(|_| byte()).collect()
    }

    #[test]
    fn shapes_of_change_make_small_deltas() {
        let base = noise(200_000, 1);
        let inserted = [&base[..70_001], b"new".as_slice(), &base[70_001..]].concat();
        let moved = [&base[100_000..], &base[..100_000]].concat();
        let cases: [(&str, &[u8], usize); 6] = [
            ("the same", &base, 64),
            ("three bytes more", &inserted, 96),
            ("halves changed places", &moved, 96),
            ("cut", &base[5..199_999], 64),
            ("doubled", &[base.as_slice(), &base].concat(), 96),
            ("empty", b"", 8),
        ];
        for (why, target, most) in cases {
            let bytes = check(&base, target);
            assert!(bytes <= most, "{why}: {bytes}");
        }
    }

    #[test]
    fn edges_are_taken() {
        let long = noise(300_000, 2);
        let zeros = vec![0; 100_000];
        for (base, target) in [
            (&b""[..], &b""[..]),
            (b"", b"something"),
            (b"short", b"shorter"),
            (&long[..16], &long[..16]),
            (&long[..65_536], &long[..65_536]),
            (&long[..65_537], &long[..65_537]),
            (&long, &long[1..]),
            (&zeros, &zeros[..99_999]),
            (&zeros, &long),
        ] {
            check(base, target);
        }
    }

    #[test]
    fn a_delta_that_would_be_too_large_is_not_made() {
        let (base, target) = (noise(10_000, 3), noise(10_000, 4));
        assert_eq!(make(&base, &target, 5_000), None);
        assert!(make(&base, &target, 11_000).is_some());
    }

    proptest! {
        #[test]
        fn every_delta_makes_its_target(
            parts in prop::collection::vec((any::<bool>(), 0_usize..400, 0_usize..90), 0..12),
            period in 1_usize..200,
        ) {
            let base: Vec<u8> = noise(period, 5).into_iter().cycle().take(1_000).collect();
            let mut target = Vec::new();
            for (copied, from, bytes) in parts {
                match copied {
                    true => target.extend_from_slice(&base[from..from + bytes]),
                    false => target.extend(noise(bytes, from as u32)),
                }
            }
            check(&base, &target);
        }
    }
}
