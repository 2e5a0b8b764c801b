//! Where logs and traces go.
//!
//! Logs go to stderr. Spans (one for each request, with its large steps below it) go to an OpenTelemetry collector, where the
//! operator names one: OTLP over HTTP with protobuf. Without one no span is made. Attributes name routes, paths, statuses
//! and request ids, and never headers, queries or bodies, in which tokens are.

use std::io::IsTerminal as _;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Status, TraceContextExt, TracerProvider};
use opentelemetry_http::{HeaderExtractor, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};
use ureq::Agent;

use crate::cli;
use crate::limits::{TRACE_ANSWER_BYTES_MAX, TRACE_STOP_MS_MAX};

/// Why traces cannot be sent.
pub type TraceError = Box<dyn std::error::Error + Send + Sync>;

/// The way to the collector, if there is one.
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends what was not sent yet; gives up after a while.
    pub fn stop(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(Duration::from_millis(TRACE_STOP_MS_MAX))
        {
            eprintln!("cairn: the last traces were not sent: {error}");
        }
    }
}

/// Sets up logs alone: for commands that end soon.
pub fn start_logs() -> Result<Traces, TraceError> {
    set_up(None)
}

/// Sets up logs, and traces to the collector at the origin `endpoint` or at that of the standard variables.
pub fn start(endpoint: Option<&str>) -> Result<Traces, TraceError> {
    set_up(traces_url(endpoint, |name| std::env::var(name).ok()))
}

fn set_up(url: Option<String>) -> Result<Traces, TraceError> {
    let filter = EnvFilter::try_from_env("CAIRN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Colours are for people: journals and containers keep what they are given.
    let is_seen =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let logs = fmt::layer().with_writer(std::io::stderr).with_ansi(is_seen).with_filter(filter);
    let provider = url.map(|url| provider(&url)).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("cairn_server"));
        // Without what only says where in the program a span was made.
        let layer =
            tracing_opentelemetry::layer().with_location(false).with_threads(false).with_target(false);
        layer.with_tracked_inactivity(false).with_tracer(provider.tracer("cairn")).with_filter(ours)
    });
    tracing_subscriber::registry().with(logs).with(spans).init();
    Ok(Traces(provider))
}

/// Where traces go; `None` for nowhere. `variable` reads the environment (opentelemetry.io, "OTLP Exporter").
fn traces_url(endpoint: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let variable = |name| variable(name).filter(|value| !value.is_empty());
    let below = |origin: &str| format!("{}/v1/traces", origin.trim_end_matches('/'));
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return None;
    }
    let whole = || variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let origin = || variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|origin| below(&origin));
    endpoint.map(below).or_else(whole).or_else(origin)
}

fn provider(url: &str) -> Result<SdkTracerProvider, TraceError> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector(cli::agent(url.starts_with("https://"))))
        .with_endpoint(url)
        .build()?;
    let mut resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("cairn");
    }
    // Its queue is bounded: where the collector is slow, spans are dropped, and no request waits.
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

/// The collector. Asked on the exporter's own thread, where blocking holds nobody up.
#[derive(Debug)]
struct Collector(Agent);

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let answer = self.0.run(Request::from_parts(head, body.to_vec())).inspect_err(|error| {
            tracing::warn!(%error, "the collector of traces cannot be reached");
        });
        let (head, mut body) = answer?.into_parts();
        if !head.status.is_success() {
            tracing::warn!(status = head.status.as_u16(), "the collector of traces refuses them");
        }
        let bytes = body.with_config().limit(TRACE_ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Response::from_parts(head, bytes.into()))
    }
}

/// Makes `span` part of the trace that a caller names in `traceparent` and `tracestate` (W3C Trace Context).
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    if headers.contains_key("traceparent") {
        // Fails where no traces are sent.
        let _ = span.set_parent(TraceContextPropagator::new().extract(&HeaderExtractor(headers)));
    }
}

/// Notes what became of a request, in a span with the field `http.response.status_code`.
pub fn answered(span: &Span, operation: &str, status: u16) {
    if span.is_disabled() {
        return;
    }
    span.record("http.response.status_code", status);
    span.context().span().update_name(operation.to_owned());
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

/// Work for another thread, as a part of the current span.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = Span::current();
    move || span.in_scope(work)
}

#[cfg(test)]
mod tests {
    use super::traces_url;

    type Variables<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn the_option_wins_over_the_variables() {
        let all = [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://b/own"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c/"),
        ];
        let cases: [(&str, Option<&str>, Variables<'_>, Option<&str>); 6] = [
            ("nothing is said", None, &[], None),
            ("the option is an origin", Some("http://a:4318"), &all, Some("http://a:4318/v1/traces")),
            ("the variable of traces is a whole URL", None, &all, Some("http://b/own")),
            ("the variable of all signals is an origin", None, &all[1..], Some("http://c/v1/traces")),
            ("an empty variable says nothing", None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], None),
            ("switched off", Some("http://a"), &[("OTEL_SDK_DISABLED", "true")], None),
        ];
        for (why, option, variables, want) in cases {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(traces_url(option, variable).as_deref(), want, "{why}");
        }
    }
}
