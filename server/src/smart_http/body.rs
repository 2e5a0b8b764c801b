//! Bodies of requests, read within limits.

use std::path::Path;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use cairn_protocol::pack::PackBytes;
use flate2::write::GzDecoder;
use http_body_util::BodyExt;

use super::{failed, refuse};
use crate::limits::FETCH_REQUEST_BYTES_MAX;
use crate::ops::spool::Spool;

/// Takes a request body apart: inflates it where the client compressed it, within a limit on both sides.
pub struct Inflow {
    body: Body,
    gzip: Option<GzDecoder<Vec<u8>>>,
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
        Ok(Self { body, gzip })
    }

    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Response> {
        use std::io::Write;
        loop {
            let Some(frame) = self.body.frame().await else {
                let Some(gzip) = self.gzip.take() else { return Ok(None) };
                let rest = gzip.finish().map_err(|_| bad_gzip())?;
                return Ok(Some(rest.into()).filter(|rest: &Bytes| !rest.is_empty()));
            };
            let frame = frame.map_err(|_| refuse(StatusCode::BAD_REQUEST, "the request body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let Some(gzip) = &mut self.gzip else { return Ok(Some(data)) };
            let mut out = Vec::new();
            // Small steps, so that a bomb is stopped by whoever counts what comes out.
            for piece in data.chunks(4096) {
                gzip.write_all(piece).map_err(|_| bad_gzip())?;
                out.append(gzip.get_mut());
                if out.len() > FETCH_REQUEST_BYTES_MAX {
                    return Err(refuse(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "the compressed body inflates too far",
                    ));
                }
            }
            if !out.is_empty() {
                return Ok(Some(out.into()));
            }
        }
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
