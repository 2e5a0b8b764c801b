//! Deltas (gitformat-pack, "Deltified representation"): copies from a base, and literal bytes between them.

mod make;

pub use make::make;

/// Why a delta cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It ends inside of a number or an instruction.
    #[error("ends early")]
    Truncated,
    /// A size does not fit 64 bits.
    #[error("a size overflows 64 bits")]
    Overflow,
    /// It was made for a base of another size.
    #[error("is for a base of {wanted} bytes, not of {found}")]
    BaseSize {
        /// The size that the delta names.
        wanted: u64,
        /// The size of the base.
        found: u64,
    },
    /// The result would be too large.
    #[error("makes {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// The size that the delta names.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// It copies from beyond the base.
    #[error("copies from beyond its base")]
    Copy,
    /// Instruction 0 has no meaning.
    #[error("has an unknown instruction")]
    Reserved,
    /// It makes more or less bytes than it says.
    #[error("makes another size than it says")]
    ResultSize,
}

/// What a delta says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the base.
    pub base: u64,
    /// Bytes of the result.
    pub result: u64,
    /// Bytes of these two numbers at the delta's start; at most 20.
    pub header_bytes: usize,
}

/// Reads the two sizes at the start of a delta.
pub fn sizes(delta: &[u8]) -> Result<Sizes, DeltaError> {
    let (base, first) = varint(delta)?;
    let (result, second) = varint(delta.get(first..).unwrap_or_default())?;
    Ok(Sizes { base, result, header_bytes: first + second })
}

fn varint(bytes: &[u8]) -> Result<(u64, usize), DeltaError> {
    let mut value = 0_u64;
    for (at, &byte) in bytes.iter().enumerate() {
        let shift = 7 * at as u32;
        let part = u64::from(byte & 0x7f);
        if shift >= 64 || (part << shift) >> shift != part {
            return Err(DeltaError::Overflow);
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok((value, at + 1));
        }
    }
    Err(DeltaError::Truncated)
}

/// Replaces `out` with what `delta` makes of `base`. Refuses results of more than `max` bytes before making them.
pub fn apply(base: &[u8], delta: &[u8], out: &mut Vec<u8>, max: u64) -> Result<(), DeltaError> {
    let sizes = sizes(delta)?;
    if sizes.base != base.len() as u64 {
        return Err(DeltaError::BaseSize { wanted: sizes.base, found: base.len() as u64 });
    }
    let too_large = DeltaError::TooLarge { bytes: sizes.result, max };
    if sizes.result > max {
        return Err(too_large);
    }
    let result = usize::try_from(sizes.result).map_err(|_| too_large)?;
    out.clear();
    out.try_reserve_exact(result).map_err(|_| too_large)?;
    let mut rest = delta.get(sizes.header_bytes..).unwrap_or_default();
    while let Some((&op, tail)) = rest.split_first() {
        let part = if op & 0x80 != 0 {
            let (from, bytes, tail) = copy_args(op, tail).ok_or(DeltaError::Truncated)?;
            rest = tail;
            base.get(from..).and_then(|from| from.get(..bytes)).ok_or(DeltaError::Copy)?
        } else if op != 0 {
            let (literal, tail) = tail.split_at_checked(usize::from(op)).ok_or(DeltaError::Truncated)?;
            rest = tail;
            literal
        } else {
            return Err(DeltaError::Reserved);
        };
        if part.len() > result - out.len() {
            return Err(DeltaError::ResultSize);
        }
        out.extend_from_slice(part);
    }
    if out.len() == result { Ok(()) } else { Err(DeltaError::ResultSize) }
}

/// Where a copy starts, its bytes, and what follows the instruction.
fn copy_args(op: u8, mut tail: &[u8]) -> Option<(usize, usize, &[u8])> {
    let mut value = 0_u64;
    for bit in 0..7 {
        if op & (1 << bit) != 0 {
            let (&byte, more) = tail.split_first()?;
            value |= u64::from(byte) << (8 * bit);
            tail = more;
        }
    }
    let bytes = match value >> 32 {
        0 => 0x1_0000,
        bytes => bytes as usize,
    };
    Some(((value & 0xffff_ffff) as usize, bytes, tail))
}
