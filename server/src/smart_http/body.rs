//! Bodies of requests, read within limits.

use std::path::Path;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use cairn_protocol::pack::PackBytes;
use flate2::write::GzDecoder;
use http_body_util::BodyExt;

use super::{failed, refuse};
use crate::limits::{FETCH_REQUEST_BYTES_MAX, GZIP_STEP_BYTES, STREAM_STEP_BYTES};
use crate::ops::spool::Spool;

/// Takes a request body apart: inflates it where the client compressed it, within a limit on both sides.
pub struct Inflow {
    body: Body,
    gzip: Option<GzDecoder<Vec<u8>>>,
    /// Compressed bytes that came and were not inflated yet.
    rest: Bytes,
}

impl Inflow {
    /// Of a request with these headers.
    pub fn new(headers: &HeaderMap, body: Body) -> Result<Self, Response> {
        let encoding =
            headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes().to_ascii_lowercase());
        let gzip = match encoding.as_deref() {
            None | Some(b"identity") => None,
            Some(b"gzip" | b"x-gzip") => Some(GzDecoder::new(Vec::new())),
            Some(_) => {
                let text = "content-encoding must be gzip or absent";
                return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
            }
        };
        Ok(Self { body, gzip, rest: Bytes::new() })
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Response> {
        loop {
            if let Some(out) = self.inflate()? {
                return Ok(Some(out));
            }
            let Some(frame) = self.body.frame().await else {
                let Some(gzip) = self.gzip.take() else { return Ok(None) };
                let rest = gzip.finish().map_err(|_| bad_gzip())?;
                return Ok(Some(rest.into()).filter(|rest: &Bytes| !rest.is_empty()));
            };
            let frame = frame.map_err(|_| refuse(StatusCode::BAD_REQUEST, "the request body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            if self.gzip.is_none() {
                return Ok(Some(data));
            }
            self.rest = data;
        }
    }

    /// Inflates some of what came. Small steps: of a bomb, whoever counts what comes out sees a little at a time.
    fn inflate(&mut self) -> Result<Option<Bytes>, Response> {
        use std::io::Write;
        let Some(gzip) = &mut self.gzip else { return Ok(None) };
        let mut out = Vec::new();
        while !self.rest.is_empty() && out.len() < STREAM_STEP_BYTES {
            let piece = self.rest.split_to(self.rest.len().min(GZIP_STEP_BYTES));
            gzip.write_all(&piece).map_err(|_| bad_gzip())?;
            out.append(gzip.get_mut());
        }
        Ok((!out.is_empty()).then(|| out.into()))
    }

    /// The whole body, in a spool: what is large waits on disk in `dir` for its share of memory.
    pub async fn collect(mut self, dir: &Path) -> Result<Spool, Response> {
        let mut spool = Spool::default();
        while let Some(data) = self.next().await? {
            if spool.len() + data.len() as u64 > FETCH_REQUEST_BYTES_MAX as u64 {
                let text = format!("the request is larger than {FETCH_REQUEST_BYTES_MAX} bytes");
                return Err(refuse(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            spool = append(spool, dir, data).await?.map_err(|error| failed(&error.into()))?;
        }
        Ok(spool)
    }
}

/// Appends to a spool, on a blocking thread where that may block. The inner result is that of the disk.
pub async fn append(mut spool: Spool, dir: &Path, data: Bytes) -> Result<std::io::Result<Spool>, Response> {
    if !spool.is_on_disk(data.len()) {
        return Ok(spool.write(dir, &data).map(|()| spool));
    }
    let dir = dir.to_owned();
    let written = tokio::task::spawn_blocking(move || spool.write(&dir, &data).map(|()| spool)).await;
    written.map_err(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error"))
}

fn bad_gzip() -> Response {
    refuse(StatusCode::BAD_REQUEST, "the gzip body cannot be inflated")
}
