//! What every request passes before the routes and every answer after them: doubled slashes go, a panic becomes a 500,
//! errors get their envelope, and each answer its `X-Request-Id`.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, Response, Uri};
use axum::response::IntoResponse;
use tower_service::Service;

use crate::app::App;
use crate::error::{Error, http};
use crate::{peer, random, router};

/// The whole server as a service.
#[derive(Clone)]
pub struct Edge {
    app: App,
    router: Router,
    /// The other end of the connection; none in process.
    socket: Option<IpAddr>,
}

impl Edge {
    /// Around the routes of `router`.
    pub fn new(app: App) -> Self {
        Self { router: router::router(app.clone()), app, socket: None }
    }

    /// For the requests of one connection.
    pub fn for_connection(&self, socket: SocketAddr) -> Self {
        Self { socket: Some(socket.ip()), ..self.clone() }
    }
}

impl<B> Service<Request<B>> for Edge
where
    B: axum::body::HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        if let Some(uri) = without_doubled_slashes(request.uri()) {
            *request.uri_mut() = uri;
        }
        if let Some(socket) = self.socket {
            let peer = peer::client(socket, request.headers(), &self.app.config.trusted_proxies);
            request.extensions_mut().insert(peer);
        }
        let (mut router, app) = (self.router.clone(), self.app.clone());
        Box::pin(async move {
            let id = random::hex(&random::bytes::<12>());
            let (method, path, start) =
                (request.method().clone(), request.uri().path().to_owned(), Instant::now());
            let mut response = match caught(Service::call(&mut router, request)).await {
                Some(Ok(response)) => response,
                Some(Err(never)) => match never {},
                None => Error::internal("the handler panicked").into_response(),
            };
            http::finish(&mut response, &app.config.public_url, &id);
            let (status, took) = (response.status().as_u16(), start.elapsed());
            tracing::debug!(request_id = id, %method, path, status, ?took, "answered");
            if let Ok(id) = HeaderValue::from_str(&id) {
                response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
            }
            Ok(response)
        })
    }
}

/// Runs `work`; `None` if it panicked.
async fn caught<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = Box::pin(work);
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(out)) => Poll::Ready(Some(out)),
        Err(_) => Poll::Ready(None),
    })
    .await
}

fn without_doubled_slashes(uri: &Uri) -> Option<Uri> {
    if !uri.path().contains("//") {
        return None;
    }
    let parts: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let end = if uri.path().ends_with('/') && !parts.is_empty() { "/" } else { "" };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{end}{query}", parts.join("/")).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{caught, without_doubled_slashes};

    #[test]
    fn doubled_slashes_go_and_the_query_stays() {
        let cases = [("//a///b?x=//", "/a/b?x=//"), ("/a//", "/a/"), ("//", "/"), ("http://h//a", "/a")];
        for (given, want) in cases {
            let uri = given.parse().expect("a URI");
            assert_eq!(
                without_doubled_slashes(&uri).map(|uri| uri.to_string()).as_deref(),
                Some(want),
                "{given}"
            );
        }
    }

    #[tokio::test]
    async fn a_panic_is_caught() {
        assert_eq!(caught(async { 1 }).await, Some(1));
        assert_eq!(caught(async { assert!(std::hint::black_box(false), "on purpose") }).await, None);
    }
}
