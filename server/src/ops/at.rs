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

/// A moment as a place in a log: the log that was being written then, own or a base's, and its last entry.
#[derive(Clone, Debug)]
pub struct Moment {
    /// That log, then those below it.
    pub chain: Vec<Pin>,
    /// The last entry; 0 before the first.
    pub seq: u64,
}

impl Moment {
    /// The prefixes of logs that a repository shows which is forked at this moment.
    pub fn pinned(self) -> Vec<Pin> {
        let mut chain = self.chain;
        if let Some(first) = chain.first_mut() {
            first.seq = Some(self.seq);
        }
        chain
    }
}

/// Opens the repository as of `at`; as it is now where `at` is `None`. Blocks.
///
/// A time before a fork was made shows its base as of that time. `Request` where the log ends before an entry.
pub fn open(app: &App, row: &RepoRow, at: Option<At>) -> Result<(Served, Snapshot), OpError> {
    let served = app.served(row)?;
    if at.is_none() {
        let snapshot = served.repo.snapshot(None)?;
        return Ok((served, snapshot));
    }
    let moment = moment(app, row, at)?;
    let repo = app.files.repo(row.object_format, &moment.chain)?;
    let snapshot = repo.snapshot(Some(moment.seq))?;
    Ok((Served { repo, as_of: Some(snapshot.seq()), ..served }, snapshot))
}

/// Where in which log `at` is; the end of the own log where it is `None`. Blocks. `Request` where the log ends before
/// an entry.
pub fn moment(app: &App, row: &RepoRow, at: Option<At>) -> Result<Moment, OpError> {
    let own = app.files.repo(row.object_format, &row.pins)?;
    let head = own.snapshot(None)?.seq();
    let seq = match at {
        None => head,
        Some(At::Seq(seq)) if seq > head => {
            let text = format!("the repository's log ends with entry {head}, before {seq}");
            return Err(OpError::Request(text));
        }
        Some(At::Seq(seq)) => seq,
        Some(At::Time(time)) => return Ok(as_of(app, row, &own, time)?),
    };
    Ok(Moment { chain: row.pins.clone(), seq })
}

/// The chain that starts with the log at `index` of `pins`, which is read to any entry.
pub fn chain_from(pins: &[Pin], index: usize) -> Vec<Pin> {
    let mut chain = pins.get(index..).unwrap_or_default().to_vec();
    if let Some(first) = chain.first_mut() {
        first.seq = None;
    }
    chain
}

fn as_of(app: &App, row: &RepoRow, own: &Repo, time: i64) -> Result<Moment, StoreError> {
    let seq = own.seq_at(time)?;
    let mut last = Moment { chain: row.pins.clone(), seq };
    if seq > 0 || time >= row.created_at_ms {
        return Ok(last);
    }
    for (index, pin) in row.pins.iter().enumerate().skip(1) {
        let chain = chain_from(&row.pins, index);
        let repo = app.files.repo(row.object_format, &chain)?;
        let seq = repo.seq_at(time)?.min(pin.seq.unwrap_or(0));
        last = Moment { chain, seq };
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
