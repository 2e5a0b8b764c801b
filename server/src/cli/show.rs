//! What people see: tables, fields, times, sizes and progress.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::http::Problem;

/// Prints a line; a reader that went away (`| head`) is no fault of the command.
pub(super) fn line(text: &str) -> Result<(), Problem> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Problem> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Problem::Exit(0)),
        done => Ok(done?),
    }
}

/// A result as JSON, on one line.
pub(super) fn json(value: &Value) -> Result<(), Problem> {
    line(&value.to_string())
}

/// What control characters of names and messages become: a terminal obeys them.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

/// A field as text; nothing for null and what is not there.
pub(super) fn text(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => clean(text),
        Some(other) => clean(&other.to_string()),
    }
}

/// Rows in aligned columns under their heads. Columns whose head starts with `#` are numbers.
pub(super) fn table(heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Problem> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(heads.iter().map(|head| head.trim_start_matches('#').to_uppercase()));
    rows.into_iter().for_each(|row| {
        table.add_row(row);
    });
    for (column, head) in table.column_iter_mut().zip(heads) {
        column.set_padding((0, 2));
        if head.starts_with('#') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    line(&text.join("\n"))
}

/// A list of items as a table of some of their fields, or as JSON.
pub(super) fn list(as_json: bool, items: &[Value], fields: &[&str]) -> Result<(), Problem> {
    if as_json {
        return json(&Value::Array(items.to_vec()));
    }
    if items.is_empty() {
        return line("nothing found");
    }
    let heads: Vec<String> = fields.iter().map(|field| field.replace('_', " ")).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let row = |item: &Value| {
        fields.iter().map(|field| text(item, field.trim_start_matches('#'))).collect::<Vec<_>>()
    };
    table(&heads, items.iter().map(row))
}

/// The fields of a result, one a line, or as JSON.
pub(super) fn fields(as_json: bool, value: &Value) -> Result<(), Problem> {
    let Some(fields) = value.as_object().filter(|_| !as_json) else { return json(value) };
    let width = fields.keys().map(String::len).max().unwrap_or_default() + 1;
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line(&format!("{:<width$} {}", format!("{name}:"), clean(&text)))?;
    }
    Ok(())
}

/// Seconds since 1970 as RFC 3339.
pub(super) fn time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// A bar for so many bytes, or a sign of life where the number is unknown. Nothing is drawn but on a terminal.
pub(super) fn progress(what: &str, bytes: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, style) = match bytes {
        Some(bytes) => {
            (ProgressBar::new(bytes), "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes} {elapsed}"),
    };
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
