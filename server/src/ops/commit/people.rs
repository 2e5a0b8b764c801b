//! Author and committer, as git writes them.

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;

use crate::error::Error;
use crate::limits::PERSON_BYTES_MAX;

/// Who, in the words of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Not empty.
    pub name: String,
    /// May be empty.
    pub email: String,
    /// RFC 3339, whose offset is kept; now where absent.
    pub date: Option<String>,
}

/// `Name <address> seconds offset`. `field` is the pointer of the person in the request.
pub fn signature(field: &str, person: &Person, now_ms: i64) -> Result<String, Error> {
    let checked = |part: &str, text: &str| -> Result<String, Error> {
        let text = text.trim();
        let at = format!("{field}/{part}");
        if text.len() > PERSON_BYTES_MAX {
            return Err(Error::input(
                at,
                format!("{part} of {} bytes, {PERSON_BYTES_MAX} are allowed", text.len()),
            ));
        }
        if text.contains(['<', '>', '\n', '\0']) {
            return Err(Error::input(at, format!("{part} may not hold <, >, NUL or a line break")));
        }
        Ok(text.to_owned())
    };
    let name = checked("name", &person.name)?;
    if name.is_empty() {
        return Err(Error::input(format!("{field}/name"), "must not be empty"));
    }
    let email = checked("email", &person.email)?;
    let (seconds, offset) = match &person.date {
        None => (now_ms.div_euclid(1_000), 0),
        Some(date) => moment(date).ok_or_else(|| {
            Error::input(format!("{field}/date"), "must be an RFC 3339 time with an offset, from 1970 on")
        })?,
    };
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.abs() / 60;
    Ok(format!("{name} <{email}> {seconds} {sign}{:02}{:02}", minutes / 60, minutes % 60))
}

/// Seconds since 1970 and seconds east of UTC.
fn moment(text: &str) -> Option<(i64, i32)> {
    let time: Timestamp = text.parse().ok()?;
    let offset = Pieces::parse(text).ok()?.to_numeric_offset()?;
    let seconds = time.as_second();
    (seconds >= 0).then(|| (seconds, offset.seconds()))
}

#[cfg(test)]
mod tests {
    use super::{Person, signature};

    fn line(name: &str, email: &str, date: Option<&str>) -> Result<String, String> {
        let person = Person { name: name.into(), email: email.into(), date: date.map(str::to_owned) };
        signature("/author", &person, 1_700_000_000_999)
            .map_err(|error| error.pointer.unwrap_or_default().into_owned())
    }

    #[test]
    fn people_are_written_as_git_writes_them() {
        assert_eq!(line("A", "a@x", None).as_deref(), Ok("A <a@x> 1700000000 +0000"));
        let cases = [
            ("1970-01-01T01:00:05+01:00", "A <a@x> 5 +0100"),
            ("2023-11-14T17:43:20-04:30", "A <a@x> 1700000000 -0430"),
            ("2023-11-14T22:13:20.5Z", "A <a@x> 1700000000 +0000"),
        ];
        for (date, want) in cases {
            assert_eq!(line(" A ", "a@x", Some(date)).as_deref(), Ok(want), "{date}");
        }
    }

    #[test]
    fn what_git_cannot_write_is_refused_where_it_is() {
        let long = "x".repeat(crate::limits::PERSON_BYTES_MAX + 1);
        for (name, email, date, at) in [
            (" ", "a@x", None, "/author/name"),
            ("a<b", "a@x", None, "/author/name"),
            (long.as_str(), "a@x", None, "/author/name"),
            ("a", "a\nb", None, "/author/email"),
            ("a", "", Some("yesterday"), "/author/date"),
            ("a", "", Some("1969-12-31T23:59:59Z"), "/author/date"),
            ("a", "", Some("2023-11-14T22:13:20"), "/author/date"),
        ] {
            assert_eq!(line(name, email, date), Err(at.to_owned()), "{name} {email} {date:?}");
        }
    }
}
