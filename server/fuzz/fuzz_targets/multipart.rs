//! Multipart bodies: no panic, and the same parts however the body is cut into frames. The first byte is the length of a frame.

#![no_main]

use axum::body::{Body, Bytes};
use cairn_server::rest::multipart::Multipart;
use libfuzzer_sys::fuzz_target;

type Parts = Vec<(Option<String>, Vec<u8>)>;

async fn parts(body: &[u8], frame_bytes: usize) -> (Parts, bool) {
    let frames: Vec<_> =
        body.chunks(frame_bytes).map(|frame| Ok::<_, std::io::Error>(Bytes::copy_from_slice(frame))).collect();
    let mut multipart = Multipart::new(Body::from_stream(futures_util::stream::iter(frames)), "b");
    let mut parts = Vec::new();
    loop {
        match multipart.next_part().await {
            Ok(Some(name)) => parts.push((Some(name), Vec::new())),
            Ok(None) => return (parts, true),
            Err(_) => return (parts, false),
        }
        loop {
            match multipart.chunk().await {
                Ok(Some(bytes)) => parts.last_mut().expect("one was begun").1.extend_from_slice(&bytes),
                Ok(None) => break,
                Err(_) => {
                    // How much of a part came before the body broke off depends on the frames.
                    parts.pop();
                    return (parts, false);
                }
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&frame_bytes, body)) = data.split_first() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let whole = parts(body, body.len().max(1)).await;
        assert_eq!(whole, parts(body, usize::from(frame_bytes).max(1)).await);
    });
});
