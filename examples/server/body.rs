//! Reading a request's body within limits.

use crate::refusal::Refusal;
use crate::source::Source;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use std::ops::Deref;

/// A complete body.
pub(crate) enum Body<B> {
    /// It came in one part, which hyper already holds in memory: nothing is copied, and no
    /// pooled buffer is needed. Nearly all small bodies arrive like this.
    Part(Bytes),
    /// Its parts, joined.
    Gathered(B),
}

impl<B: Deref<Target = bytes::BytesMut>> Deref for Body<B> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Part(bytes) => bytes,
            Self::Gathered(buffer) => buffer,
        }
    }
}

/// Reads `incoming` to its end, unless it is longer than `limit` bytes.
pub(crate) async fn read<S: Source>(
    mut incoming: Incoming,
    limit: usize,
) -> Result<Body<S::Buffer>, Refusal> {
    let declared = incoming.size_hint().exact().map(usize::try_from);
    let expected = match declared {
        Some(Ok(length)) if length <= limit => length,
        Some(_) => return Err(too_large(limit)),
        None => 0,
    };
    let mut body = Body::Part(Bytes::new());
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        // Trailers are ignored.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = body.len() + data.len();
        if length > limit {
            return Err(too_large(limit));
        }
        body = match body {
            Body::Part(none) if none.is_empty() => Body::Part(data),
            Body::Part(first) => {
                let mut buffer = S::body(expected.max(length));
                buffer.extend_from_slice(&first);
                buffer.extend_from_slice(&data);
                Body::Gathered(buffer)
            }
            Body::Gathered(mut buffer) => {
                buffer.extend_from_slice(&data);
                Body::Gathered(buffer)
            }
        };
    }
    Ok(body)
}

fn too_large(limit: usize) -> Refusal {
    let why = format!("the body must not be larger than {limit} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why).and_close()
}

fn broken(error: &hyper::Error) -> Refusal {
    let why = match error.is_incomplete_message() {
        true => "the body is shorter than announced".into(),
        false => format!("the body is malformed: {error}"),
    };
    Refusal::bad_request(why).and_close()
}
