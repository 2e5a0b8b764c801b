//! How many descriptors the process may have, and how many connections that leaves room for.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::limits::DESCRIPTORS_KEPT;

/// Raises the process's limit of open descriptors as far as the system lets it; what it is then. Most systems start a
/// process with 1,024 and allow far more.
pub fn raise() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(current.unwrap_or(u64::MAX));
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// How many connections `descriptors` leave room for. Where they are few, a quarter of them.
pub fn connections(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(DESCRIPTORS_KEPT).max(descriptors / 4);
    usize::try_from(left).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::{connections, raise};

    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let raised = raise().expect("raising to what is allowed is allowed");
        assert!(raised > 0);
        assert_eq!(raise().expect("the same again"), raised);
    }

    #[test]
    fn connections_leave_descriptors_for_files() {
        let cases = [(1_048_576, 1_045_504), (20_000, 16_928), (4_096, 1_024), (1_024, 256), (0, 0)];
        for (descriptors, want) in cases {
            assert_eq!(connections(descriptors), want, "{descriptors}");
        }
    }
}
