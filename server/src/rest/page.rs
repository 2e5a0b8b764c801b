//! Pagination: page numbers, or cursors, or neither, and the `result_info` that each is answered with.

use std::collections::HashMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::Error;
use crate::limits::{CURSOR_BYTES_MAX, PAGE_NUMBER_MAX};
use crate::store::catalog::Window;

/// Parameters that name files and refs, which need not be UTF-8.
const BYTES: [&str; 3] = ["path", "ref", "prefix"];

/// The query, decoded; empty values are absent.
#[derive(Clone, Debug, Default)]
pub struct Query {
    texts: HashMap<String, String>,
    bytes: HashMap<String, Vec<u8>>,
}

impl Query {
    /// The value of `name`; of `path`, `ref` and `prefix` only where it is UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(String::as_str)
    }

    /// The value of `path`, `ref` or `prefix`, in bytes.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.bytes.get(name).map(Vec::as_slice)
    }

    /// `true` or `false`; false where it is absent.
    pub fn flag(&self, pointer: &'static str) -> Result<bool, Error> {
        match self.get(pointer.trim_start_matches('/')) {
            None | Some("false" | "0") => Ok(false),
            Some("true" | "1") => Ok(true),
            Some(_) => Err(Error::input(pointer, "must be true or false")),
        }
    }

    /// A number from 0 on; 0 where it is absent.
    pub fn offset(&self, pointer: &'static str) -> Result<u64, Error> {
        let Some(text) = self.get(pointer.trim_start_matches('/')) else { return Ok(0) };
        let number = text.parse().ok().filter(|number| *number <= PAGE_NUMBER_MAX);
        number.ok_or_else(|| Error::input(pointer, format!("must be a number from 0 to {PAGE_NUMBER_MAX}")))
    }

    fn number(&self, pointer: &'static str, max: u64) -> Result<Option<u64>, Error> {
        let Some(text) = self.get(pointer.trim_start_matches('/')) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.map(Some).ok_or_else(|| Error::input(pointer, format!("must be a number from 1 to {max}")))
    }
}

impl FromRequestParts<App> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Error> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8().map(std::borrow::Cow::into_owned)
        };
        let mut query = Self::default();
        for pair in parts.uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if BYTES.contains(&name) {
                let value: Vec<u8> = percent_decode_str(&value.replace('+', " ")).collect();
                if !value.is_empty() {
                    if let Ok(text) = std::str::from_utf8(&value) {
                        query.texts.insert(name.to_owned(), text.to_owned());
                    }
                    query.bytes.insert(name.to_owned(), value);
                }
                continue;
            }
            let (Ok(name), Ok(value)) = (decode(name), decode(value)) else {
                return Err(Error::input("/query", "the query is not UTF-8"));
            };
            if !value.is_empty() {
                query.texts.insert(name, value);
            }
        }
        Ok(query)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Page,
    Cursor,
    Neither,
}

/// Which part of a list was asked for, and how.
#[derive(Clone, Debug)]
pub struct Paging {
    mode: Mode,
    per_page: u64,
    /// Items before the part.
    before: u64,
    /// The item that the part follows, where a cursor named one.
    pub after: Option<String>,
}

impl Paging {
    /// Reads `page`, `cursor`, `limit` and `per_page`.
    pub fn new(query: &Query, usual: u64, max: u64) -> Result<Self, Error> {
        let limit = query.number("/limit", max)?;
        let per_page = query.number("/per_page", max)?.or(limit).unwrap_or(usual);
        if let Some(page) = query.number("/page", PAGE_NUMBER_MAX)? {
            return Ok(Self { mode: Mode::Page, per_page, before: (page - 1) * per_page, after: None });
        }
        if let Some(cursor) = query.get("cursor") {
            let (before, after) =
                decode_cursor(cursor).ok_or_else(|| Error::input("/cursor", "Invalid cursor"))?;
            return Ok(Self { mode: Mode::Cursor, per_page, before, after: Some(after) });
        }
        let mode = if limit.is_some() { Mode::Cursor } else { Mode::Neither };
        Ok(Self { mode, per_page, before: 0, after: None })
    }

    /// The part, counted from `after` where there is one.
    pub fn window(&self) -> Window {
        Window { skip: if self.after.is_some() { 0 } else { self.before }, take: self.per_page }
    }

    /// Items before the part, as far as the request tells.
    pub fn before(&self) -> u64 {
        self.before
    }

    /// The part, counted from the start of the list.
    pub fn window_from_start(&self) -> Window {
        Window { skip: self.before, take: self.per_page }
    }

    /// A cursor that goes on behind `last`, which `before` items precede.
    pub fn cursor(before: u64, last: &str) -> String {
        encode_cursor(before, last)
    }

    /// Items on a page.
    pub fn per_page(&self) -> u64 {
        self.per_page
    }

    /// `result_info` for `count` items of `total`, the last of which is `last`.
    pub fn info(&self, count: usize, total: u64, last: Option<&str>) -> Value {
        let count = count as u64;
        let end = self.before + count;
        let cursor = last.filter(|_| end < total).map(|last| encode_cursor(end, last));
        let offset = json!({
            "page": self.before / self.per_page + 1,
            "per_page": self.per_page,
            "total_pages": total.div_ceil(self.per_page),
            "count": count,
            "total_count": total,
        });
        match (self.mode, cursor) {
            (Mode::Cursor, Some(cursor)) => {
                json!({ "cursor": cursor, "per_page": self.per_page, "count": count })
            }
            (Mode::Neither, Some(cursor)) => {
                let mut both = offset;
                if let Some(fields) = both.as_object_mut() {
                    fields.insert("cursor".into(), cursor.into());
                }
                both
            }
            _ => offset,
        }
    }
}

fn encode_cursor(before: u64, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{before}:{last}"))
}

fn decode_cursor(cursor: &str) -> Option<(u64, String)> {
    let bytes = (cursor.len() <= CURSOR_BYTES_MAX).then(|| URL_SAFE_NO_PAD.decode(cursor).ok())??;
    let text = String::from_utf8(bytes).ok()?;
    let (before, last) = text.split_once(':')?;
    let before = before.parse().ok().filter(|before| *before <= PAGE_NUMBER_MAX)?;
    Some((before, last.to_owned()))
}
