//! What a ceiling is: a constant, its name with the unit in it, and what it bounds; and the macro that declares the
//! constants of a file and the table of them together, so that neither can lack what the other has.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One ceiling.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The constant's name, with the unit in it.
    pub name: &'static str,
    /// What it bounds and why, in one line.
    pub about: &'static str,
    /// What it is where nothing is set.
    pub value: fn() -> Value,
    /// The flag that sets it, with its dashes; none where it is fixed.
    pub set: Option<&'static str>,
    /// Tests that try it at the limit and one past it, as `file::function`.
    pub tests: &'static [&'static str],
    /// Why there is nothing to try at it, such as of a buffer; none where tests are named.
    pub inner: Option<&'static str>,
}

/// The number of a ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// So many of the unit.
    Number(i128),
    /// Milliseconds, whatever the name says.
    Millis(u128),
    /// From the one to the other of the unit.
    Range(u64, u64),
}

/// Declares constants and `ALL`, the table of them. Each has a doc comment, and may have `#[set = "--flag"]` for the flag
/// that sets it. Then follows `#[test_at = "file::function"]` for each test that tries it at the limit and one past it, or
/// `#[inner = "why"]` where nobody outside meets an edge: of a buffer, a batch, a number of threads, a time to wait.
/// Relations stand behind the constants.
#[macro_export]
macro_rules! limits {
    ($(
        $(#[doc = $doc:literal])+
        $(#[set = $set:literal])?
        $(#[test_at = $test:literal])*
        $(#[inner = $inner:literal])?
        pub const $name:ident: $kind:ty = $value:expr;
        $(const _: () = $check:expr;)*
    )+) => {
        $(
            $(#[doc = $doc])+
            pub const $name: $kind = $value;
            $(const _: () = $check;)*
        )+
        /// All ceilings of this file, in its order.
        pub const ALL: &[$crate::limit::Limit] = &[$($crate::limit::Limit {
            name: stringify!($name),
            about: concat!($($doc),+),
            value: || $crate::limit::Value::from($name),
            set: $crate::limit::first(&[$($set)?]),
            tests: &[$($test),*],
            inner: $crate::limit::first(&[$($inner)?]),
        }),+];
    };
}

/// The first of `list`, where there is one.
#[doc(hidden)]
pub const fn first(list: &[&'static str]) -> Option<&'static str> {
    match list {
        [] => None,
        [first, ..] => Some(first),
    }
}

macro_rules! numbers {
    ($($kind:ty)+) => {$(
        impl From<$kind> for Value {
            fn from(number: $kind) -> Self {
                Self::Number(number as i128)
            }
        }
    )+};
}
numbers!(u8 u16 u32 u64 usize i32 i64);

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Millis(time.as_millis())
    }
}

impl From<RangeInclusive<u64>> for Value {
    fn from(range: RangeInclusive<u64>) -> Self {
        Self::Range(*range.start(), *range.end())
    }
}

impl Limit {
    /// The unit that the name tells: `bytes`, `KiB`, `ms`, `s`, `pages`, `%`, `per` something, or empty for a count.
    pub fn unit(&self) -> String {
        if matches!((self.value)(), Value::Millis(_)) {
            return "ms".into();
        }
        if let Some((_, rest)) = self.name.split_once("_PER_") {
            return format!("per {}", rest.trim_end_matches("_MAX").replace('_', " ").to_ascii_lowercase());
        }
        let units = [
            ("BYTES", "bytes"),
            ("KIB", "KiB"),
            ("MS", "ms"),
            ("SECONDS", "s"),
            ("PAGES", "pages"),
            ("PERCENT", "%"),
        ];
        // The unit stands last: `FIRST_BYTES_MS_MAX` is a time.
        let known = |part: &str| units.iter().find(|(word, _)| *word == part).map(|(_, unit)| *unit);
        self.name.rsplit('_').find_map(known).unwrap_or_default().to_owned()
    }

    /// What it bounds, without the space in front that comments have.
    pub fn about(&self) -> &'static str {
        self.about.trim()
    }

    /// The tests that try it, or why there are none, as the documents have it. Empty where it says neither.
    fn tried(&self) -> String {
        let tests: Vec<String> = self.tests.iter().map(|test| format!("`{test}`")).collect();
        match self.inner {
            Some(why) => format!("no edge: {why}"),
            None => tests.join(", "),
        }
    }

    /// The number with its unit, as people read it: `256 MiB`, `30 s`, `8,192`.
    pub fn shown(&self) -> String {
        let unit = self.unit();
        match (self.value)() {
            Value::Millis(ms) => shown(ms as i128, "ms"),
            Value::Number(number) => shown(number, &unit),
            Value::Range(from, to) => format!("{} to {}", shown(from.into(), &unit), shown(to.into(), &unit)),
        }
    }
}

/// A number in the largest unit in which it is whole.
fn shown(number: i128, unit: &str) -> String {
    let steps: &[(i128, &str)] = match unit {
        "bytes" => &[(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")],
        "KiB" => &[(1 << 10, "MiB")],
        "ms" => &[(86_400_000, "days"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")],
        "s" => &[(86_400, "days"), (3_600, "h"), (60, "min")],
        _ => &[],
    };
    let whole = |(step, _): &&(i128, &str)| number >= *step && number % step == 0;
    match steps.iter().find(whole) {
        Some((step, "days")) if number == *step => "1 day".to_owned(),
        Some((step, unit)) => format!("{} {unit}", grouped(number / step)),
        None => format!("{} {unit}", grouped(number)).trim_end().to_owned(),
    }
}

/// With a comma before every three digits.
fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A table of them in Markdown, as the documents have it: name, default, how it is set (`set` says for each), what it is,
/// and the tests that try it.
pub fn markdown(limits: &[Limit], set: impl Fn(&Limit) -> String) -> String {
    let row = |limit: &Limit| {
        let (name, default, set, about) = (limit.name, limit.shown(), set(limit), limit.about());
        format!("| `{name}` | {default} | {set} | {about} | {} |\n", limit.tried())
    };
    let rows: String = limits.iter().map(row).collect();
    format!("| name | default | set by | what it bounds | tested by |\n|---|---|---|---|---|\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::{Limit, Value};

    #[test]
    fn numbers_are_shown_in_the_largest_unit_in_which_they_are_whole() {
        type Case = (&'static str, fn() -> Value, &'static str);
        let cases: [Case; 10] = [
            ("A_BYTES_MAX", || Value::Number(256 << 20), "256 MiB"),
            ("A_BYTES_MAX", || Value::Number(65_516), "65,516 bytes"),
            ("FIRST_BYTES_MS_MAX", || Value::Number(86_400_000), "1 day"),
            ("A_MS_MAX", || Value::Number(30_000), "30 s"),
            ("A_MS", || Value::Number(500), "500 ms"),
            ("A_SECONDS", || Value::Number(31_536_000), "365 days"),
            ("A_TIMEOUT", || Value::Millis(90_000), "90 s"),
            ("A_CACHE_KIB", || Value::Number(4_096), "4 MiB"),
            ("ITEMS_PER_PACK_BYTE", || Value::Number(512), "512 per pack byte"),
            ("A_BYTES", || Value::Range(64, 512 << 10), "64 bytes to 512 KiB"),
        ];
        for (name, value, want) in cases {
            let limit = Limit { name, about: "", value, set: None, tests: &[], inner: None };
            assert_eq!(limit.shown(), want, "{name}");
        }
    }
}
