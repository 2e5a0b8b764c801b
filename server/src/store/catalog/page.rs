//! Which part of a list is asked for.

/// Part of a list: `skip` items left out, at most `take` returned.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Items to leave out.
    pub skip: u64,
    /// Items wanted.
    pub take: u64,
}

impl Window {
    pub(super) fn sql(self) -> (i64, i64) {
        (i64::try_from(self.take).unwrap_or(i64::MAX), i64::try_from(self.skip).unwrap_or(i64::MAX))
    }
}

/// Part of a list, and how long the whole is.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The part.
    pub items: Vec<T>,
    /// Length of the whole.
    pub total: u64,
}
