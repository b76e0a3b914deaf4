//! Error answers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use std::borrow::Cow;

pub(crate) type Answer = Response<Full<Bytes>>;

/// A status of 400 or above, and the reason in words for the client.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    why: Cow<'static, str>,
    allow: Option<&'static str>,
    /// Closes the connection, in case the rest of a request is still in it.
    close: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            why: why.into(),
            allow: None,
            close: false,
        }
    }

    pub(crate) fn bad_request(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, why)
    }

    pub(crate) fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed")
        }
    }

    /// Closes the connection after the answer.
    pub(crate) fn and_close(self) -> Self {
        Self {
            close: true,
            ..self
        }
    }

    pub(crate) fn answer(self) -> Answer {
        let text = serde_json::json!({ "error": self.why }).to_string();
        let mut answer = Response::new(Full::new(Bytes::from(text)));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}
