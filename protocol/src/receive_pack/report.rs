//! The report of a push; `report-status-v2` adds option lines for rewritten refs, which this server never has.

use crate::pktline::{write_flush, write_line};

/// What became of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The ref is updated.
    Ok,
    /// It is not, for this reason.
    Refused(String),
}

/// Writes a report with its flush: whether the pack was taken, then each ref by the name that the client wrote.
///
/// Control bytes in reasons become spaces, so that no text from elsewhere can forge a line. The caller frames it with
/// `write_band` where the client asked for side-bands.
pub fn write_report(out: &mut Vec<u8>, unpack: Result<(), &str>, results: &[(Vec<u8>, Outcome)]) {
    match unpack {
        Ok(()) => write_line(out, &[b"unpack ok"]),
        Err(reason) => write_line(out, &[b"unpack ", one_line(reason).as_bytes()]),
    }
    for (name, outcome) in results {
        match outcome {
            Outcome::Ok => write_line(out, &[b"ok ", name]),
            Outcome::Refused(reason) => write_line(out, &[b"ng ", name, b" ", one_line(reason).as_bytes()]),
        }
    }
    write_flush(out);
}

fn one_line(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_cannot_forge_a_line() {
        let mut out = Vec::new();
        let refused = Outcome::Refused("no\n\x1b[1mok refs/heads/b".into());
        let results = [(b"refs/heads/a".to_vec(), Outcome::Ok), (b"refs/heads/b".to_vec(), refused)];
        write_report(&mut out, Ok(()), &results);
        let want = "000eunpack ok\n0014ok refs/heads/a\n002bng refs/heads/b no  [1mok refs/heads/b\n0000";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }
}
