//! Moments of a repository: "as of entry N" and "as of time T".

use jiff::Timestamp;

use super::{OpError, Served};
use crate::app::App;
use crate::error::Error;
use crate::store::catalog::RepoRow;
use crate::store::repo::{Repo, Snapshot};
use crate::store::{Pin, StoreError};

/// A moment that a caller names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The end of an entry of the repository's own log; 0 is before its first.
    Seq(u64),
    /// Milliseconds since 1970.
    Time(i64),
}

impl At {
    /// The number of an entry, or an RFC 3339 time.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::input("/at", "must be the number of an entry or an RFC 3339 time");
        if text.bytes().all(|digit| digit.is_ascii_digit()) {
            return text.parse().map(Self::Seq).map_err(|_| bad());
        }
        let time: Timestamp = text.parse().map_err(|_| bad())?;
        Ok(Self::Time(time.as_millisecond()))
    }
}

/// Opens the repository as of `at`; as it is now where `at` is `None`. Blocks.
///
/// A time before a fork was made shows its base as of that time. `Request` where the log ends before an entry.
pub fn open(app: &App, row: &RepoRow, at: Option<At>) -> Result<(Served, Snapshot), OpError> {
    let served = app.served(row)?;
    let (repo, seq) = match at {
        None => return Ok((served.clone(), served.repo.snapshot(None)?)),
        Some(At::Seq(seq)) => {
            let head = served.repo.snapshot(None)?.seq();
            if seq > head {
                return Err(OpError::Request(format!(
                    "the repository's log ends with entry {head}, before {seq}"
                )));
            }
            (served.repo.clone(), seq)
        }
        Some(At::Time(time)) => as_of(app, row, &served.repo, time)?,
    };
    let snapshot = repo.snapshot(Some(seq))?;
    Ok((Served { repo, ..served }, snapshot))
}

/// The log that was being written at `time`, own or a base's, and its last entry then.
fn as_of(app: &App, row: &RepoRow, own: &Repo, time: i64) -> Result<(Repo, u64), StoreError> {
    let seq = own.seq_at(time)?;
    if seq > 0 || time >= row.created_at_ms {
        return Ok((own.clone(), seq));
    }
    let mut last = (own.clone(), 0);
    for at in 1..row.pins.len() {
        let Some((base, below)) = row.pins.get(at..).and_then(<[Pin]>::split_first) else { break };
        let chain: Vec<Pin> =
            std::iter::once(Pin { id: base.id, seq: None }).chain(below.iter().copied()).collect();
        let repo = app.files.repo(row.object_format, &chain)?;
        let seq = repo.seq_at(time)?.min(base.seq.unwrap_or(0));
        last = (repo, seq);
        if seq > 0 {
            break;
        }
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::At;

    #[test]
    fn a_moment_is_a_number_or_a_time() {
        assert_eq!(At::parse("0").ok(), Some(At::Seq(0)));
        assert_eq!(At::parse("17").ok(), Some(At::Seq(17)));
        assert_eq!(At::parse("1970-01-01T00:00:01.5Z").ok(), Some(At::Time(1_500)));
        assert_eq!(At::parse("1970-01-01T01:00:00+01:00").ok(), Some(At::Time(0)));
        for bad in ["-1", "yesterday", "99999999999999999999", "2024-01-01"] {
            assert!(At::parse(bad).is_err(), "{bad}");
        }
    }
}
