//! The work of one event: parse, count, write the answer, compress it.

use crate::document::{Document, Place};
use crate::normal::{Normal, Order};
use crate::parts::Parts;
use crate::refusal::Refusal;
use crate::source::Source;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Crc;
use hyper::StatusCode;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};

/// Below this many bytes, compressing costs more than it saves on the wire.
const WORTH_COMPRESSING: usize = 512;

/// RFC 1952: magic number, deflate, no flags, no time, no extra flags, unknown system.
const GZIP: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// What goes to the client.
pub(crate) struct Reply {
    pub(crate) bytes: Bytes,
    pub(crate) gzip: bool,
}

/// Handles one event.
pub(crate) fn answer<S: Source>(body: &[u8], gzip: bool) -> Result<Reply, Refusal> {
    let parts = S::parts();
    let document = Document::parse(body, parts.place())
        .map_err(|error| Refusal::bad_request(format!("not a JSON document: {error}")))?;
    let document = &*parts.root(document);
    let counts = count::<S, _>(document, body.len());
    // Escapes may make it longer than its body.
    let expected = body.len() + 512;
    if !gzip {
        let mut reply = S::reply(expected);
        write::<S, _>(&counts, document, &mut reply)?;
        return Ok(plainly::<S>(reply));
    }

    let mut text = S::text(expected);
    write::<S, _>(&counts, document, &mut text)?;
    if text.len() < WORTH_COMPRESSING {
        let mut reply = S::reply(text.len());
        reply.extend_from_slice(&text);
        return Ok(plainly::<S>(reply));
    }
    // JSON usually shrinks to a quarter; `compress` makes room if it does not.
    let mut reply = S::reply(text.len() / 4 + 256);
    compress::<S>(&text, &mut reply)?;
    Ok(Reply {
        bytes: S::freeze(reply),
        gzip: true,
    })
}

fn plainly<S: Source>(reply: S::Buffer) -> Reply {
    Reply {
        bytes: S::freeze(reply),
        gzip: false,
    }
}

#[derive(serde::Serialize)]
struct Answer<'c, N> {
    counts: &'c Counts,
    event: N,
}

fn write<'a, S: Source, P: Place<'a>>(
    counts: &Counts,
    document: &Document<'a, P>,
    reply: &mut BytesMut,
) -> Result<(), Refusal> {
    let mut order = S::order();
    let order = &Order::new(&mut order);
    let event = Normal { document, order };
    serde_json::to_writer(reply.writer(), &Answer { counts, event }).map_err(|error| failed(&error))
}

fn compress<S: Source>(text: &[u8], reply: &mut BytesMut) -> Result<(), Refusal> {
    reply.put_slice(&GZIP);
    S::compressor()
        .pack(text, reply)
        .map_err(|error| failed(&error))?;
    let mut check = Crc::new();
    check.update(text);
    reply.put_u32_le(check.sum());
    reply.put_u32_le(check.amount());
    Ok(())
}

fn failed(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// The counts of a document.
#[derive(Debug, Default, serde::Serialize)]
struct Counts {
    /// The length of the body, as received.
    bytes: usize,
    /// 0 for a document without lists and maps.
    depth: usize,
    keys: usize,
    /// Counted by a hash of 64 bits.
    distinct_keys: usize,
    nulls: usize,
    bools: usize,
    numbers: usize,
    texts: usize,
    text_bytes: usize,
    lists: usize,
    maps: usize,
    median: Option<f64>,
    least: Option<f64>,
    most: Option<f64>,
}

fn count<'a, S: Source, P: Place<'a>>(document: &Document<'a, P>, bytes: usize) -> Counts {
    let mut counts = Counts {
        bytes,
        ..Counts::default()
    };
    let (mut numbers, mut keys) = (S::numbers(), S::keys());
    counts.add(document, 0, &mut numbers, &mut keys);
    counts.distinct_keys = keys.len();
    counts.numbers = numbers.len();
    numbers.sort_unstable_by(f64::total_cmp);
    counts.least = numbers.first().copied();
    counts.median = numbers.get(numbers.len() / 2).copied();
    counts.most = numbers.last().copied();
    counts
}

impl Counts {
    /// As deep as the parser allows, which is 127 levels.
    fn add<'a, P: Place<'a>>(
        &mut self,
        document: &Document<'a, P>,
        depth: usize,
        numbers: &mut Vec<f64>,
        keys: &mut HashSet<u64>,
    ) {
        match document {
            Document::Null => self.nulls += 1,
            Document::Bool(_) => self.bools += 1,
            Document::Signed(number) => numbers.push(*number as f64),
            Document::Unsigned(number) => numbers.push(*number as f64),
            Document::Float(number) => numbers.push(*number),
            Document::Text(text) => {
                self.texts += 1;
                self.text_bytes += text.len();
            }
            Document::List(items) => {
                self.lists += 1;
                self.depth = self.depth.max(depth + 1);
                for item in items.iter() {
                    self.add(item, depth + 1, numbers, keys);
                }
            }
            Document::Map(fields) => {
                self.maps += 1;
                self.depth = self.depth.max(depth + 1);
                self.keys += fields.len();
                for (key, value) in fields.iter() {
                    let mut hasher = DefaultHasher::new();
                    hasher.write(key.as_bytes());
                    keys.insert(hasher.finish());
                    self.add(value, depth + 1, numbers, keys);
                }
            }
        }
    }
}
