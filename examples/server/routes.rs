//! What a request asks for, and whether it may.

use crate::event::{self, Reply};
use crate::figures::Figures;
use crate::refusal::{Answer, Refusal};
use crate::source::Source;
use crate::{body, figures};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST,
    HeaderMap, HeaderName, HeaderValue, VARY,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use std::time::Duration;

const PAGE: &str = include_str!("page.html");

/// The page is a single file and requests its figures only.
const PAGE_MAY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A larger document goes to another thread: the other requests of this worker would wait for it.
const LARGE: usize = 64 << 10;

pub(crate) async fn answer<S: Source>(
    request: Request<Incoming>,
    figures: &'static Figures,
) -> Answer {
    let answer = match route::<S>(request, figures).await {
        Ok(answer) => answer,
        Err(refusal) => refusal.answer(),
    };
    figures.answered(answer.status());
    answer
}

async fn route<S: Source>(
    request: Request<Incoming>,
    figures: &'static Figures,
) -> Result<Answer, Refusal> {
    check(&request)?;
    match request.uri().path() {
        "/v1/events" => match *request.method() {
            Method::POST => event::<S>(request, figures).await,
            _ => Err(Refusal::method("POST")),
        },
        path @ ("/healthz" | "/metrics" | "/debug/pools" | "/debug/pools.json") => {
            if !matches!(*request.method(), Method::GET | Method::HEAD) {
                return Err(Refusal::method("GET, HEAD"));
            }
            Ok(match path {
                "/healthz" => text("text/plain; charset=utf-8", "ok\n"),
                "/metrics" => text(figures::PROMETHEUS, figures.metrics()),
                "/debug/pools" => page(),
                _ => text("application/json", figures.json()?),
            })
        }
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "no such path")),
    }
}

/// Rejects what HTTP forbids and hyper accepts.
fn check(request: &Request<Incoming>) -> Result<(), Refusal> {
    let headers = request.headers();
    let hosts = headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Err(Refusal::bad_request("the request needs exactly one Host header").and_close());
    }
    Ok(())
}

async fn event<S: Source>(
    request: Request<Incoming>,
    figures: &'static Figures,
) -> Result<Answer, Refusal> {
    let headers = request.headers();
    if !is_json(headers) {
        let why = "the body has to be application/json in UTF-8";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let why = "a compressed body is not accepted";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, why));
    }
    let gzip = accepts_gzip(headers);
    let limits = &figures.limits;
    let body = body::read::<S>(request.into_body(), limits.max_body);
    let Ok(body) = tokio::time::timeout(limits.patience, body).await else {
        return Err(late(limits.patience));
    };
    let body = body?;
    figures.received(body.len());
    let reply = match body.len() {
        0..LARGE => event::answer::<S>(&body, gzip),
        _ => tokio::task::spawn_blocking(move || event::answer::<S>(&body, gzip))
            .await
            .unwrap_or_else(|_| {
                let why = "handling the event failed";
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, why))
            }),
    }?;
    Ok(reply.answer())
}

impl Reply {
    fn answer(self) -> Answer {
        let mut answer = text("application/json", self.bytes);
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        answer
    }
}

/// The answer to a client that let `patience` pass in the middle of a request.
pub(crate) fn late(patience: Duration) -> Refusal {
    let why = format!("the request did not arrive within {patience:?}");
    Refusal::new(StatusCode::REQUEST_TIMEOUT, why).and_close()
}

/// Returns whether the body is declared as JSON, or not declared at all.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(value) = types.next() else {
        return true;
    };
    let (Ok(value), None) = (value.to_str(), types.next()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = match essence.split_once('/') {
        Some(("application", "json")) => true,
        Some(("application", kind)) => kind.len() > "+json".len() && kind.ends_with("+json"),
        _ => false,
    };
    is_json
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
                let value = value.trim_matches('"');
                value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("us-ascii")
            }
            _ => true,
        })
}

/// Returns whether `gzip` has a weight above 0, or `*` has if `gzip` is not named (RFC 9110,
/// 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut named, mut any) = (None, None);
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    for coding in values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let name = name.trim();
        let weight = parameters
            .split(';')
            .filter_map(|parameter| parameter.trim().split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(1.0, |(_, weight)| weight.trim().parse().unwrap_or(0.0));
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            named = Some(weight > 0.0);
        } else if name == "*" {
            any = Some(weight > 0.0);
        }
    }
    named.or(any).unwrap_or(false)
}

fn text(kind: &'static str, content: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(content.into()));
    let headers = answer.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, kind);
    set(CACHE_CONTROL, "no-store");
    answer
}

fn page() -> Answer {
    let mut page = text("text/html; charset=utf-8", PAGE);
    page.headers_mut()
        .insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_MAY));
    page
}
