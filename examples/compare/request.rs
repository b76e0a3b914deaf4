//! The work of one request, the same for all sides: parse a JSON body, pick numbers and names,
//! rewrite fields, serialise, compress, hash.
//!
//! Rewriting happens while serialising: null fields are left out, links go through a proxy, long
//! texts are cut.

use crate::document::{Document, Place};
use crate::parts::Parts;
use crate::source::Source;
use bytes::{BufMut, BytesMut};
use serde::ser::{Serialize, SerializeMap, Serializer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::DerefMut;

/// How often a field name occurred, and how much text its values had.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    count: u32,
    text: usize,
}

/// Texts are cut to this many bytes, or slightly fewer.
const LONGEST_TEXT: usize = 280;

/// Handles one request; returns the hash of its reply.
pub(crate) fn handle<S: Source>(body: &[u8]) -> Result<u64, String> {
    let reply = answer::<S>(body)?;
    // JSON usually shrinks to a quarter; `pack` makes room if it does not.
    let mut packed = S::packed(reply.len() / 4 + 256);
    S::compressor().pack(&reply, &mut packed)?;
    Ok(hash(&packed))
}

/// Like [`handle`] without compression, whose tables outweigh everything else that a request
/// allocates.
pub(crate) fn encode<S: Source>(body: &[u8]) -> Result<u64, String> {
    Ok(hash(&answer::<S>(body)?))
}

/// Returns the serialised reply.
fn answer<S: Source>(body: &[u8]) -> Result<impl DerefMut<Target = BytesMut>, String> {
    let parts = S::parts();
    let document = Document::parse(body, parts.place()).map_err(|error| error.to_string())?;
    let document = &*parts.root(document);

    let summary = {
        let mut numbers = S::numbers(128);
        let mut tallies = S::tallies(64);
        pick(document, &mut numbers, &mut tallies);
        Summary::of(&mut numbers, &tallies)
    };

    // A rewritten reply is about as long as its body; escapes need a little more.
    let mut reply = S::reply(body.len() + 256);
    {
        let mut text = S::text(LONGEST_TEXT);
        let text = RefCell::new(&mut *text);
        let rewritten = Reply {
            summary: &summary,
            body: Rewritten {
                document,
                text: &text,
            },
        };
        serde_json::to_writer((&mut *reply).writer(), &rewritten)
            .map_err(|error| error.to_string())?;
    }
    Ok(reply)
}

fn hash(reply: &[u8]) -> u64 {
    // Not `RandomState`: both sides have to compute the same hash.
    let mut hasher = DefaultHasher::new();
    hasher.write(reply);
    hasher.finish()
}

/// Collects all numbers, and counts the fields by the hash of their name.
fn pick<'a, P: Place<'a>>(
    document: &Document<'a, P>,
    numbers: &mut Vec<f64>,
    tallies: &mut HashMap<u64, Tally>,
) {
    match document {
        Document::Signed(number) => numbers.push(*number as f64),
        Document::Unsigned(number) => numbers.push(*number as f64),
        Document::Float(number) => numbers.push(*number),
        Document::List(items) => items.iter().for_each(|item| pick(item, numbers, tallies)),
        Document::Map(fields) => {
            for (name, value) in fields.iter() {
                let tally = tallies.entry(fnv(name)).or_default();
                tally.count += 1;
                if let Document::Text(text) = value {
                    tally.text += text.len();
                }
                pick(value, numbers, tallies);
            }
        }
        Document::Null | Document::Bool(_) | Document::Text(_) => {}
    }
}

fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[derive(serde::Serialize)]
struct Summary {
    names: usize,
    fields: u32,
    commonest: u32,
    text: usize,
    numbers: usize,
    median: Option<f64>,
    largest: Option<f64>,
}

impl Summary {
    fn of(numbers: &mut [f64], tallies: &HashMap<u64, Tally>) -> Self {
        numbers.sort_unstable_by(f64::total_cmp);
        Self {
            names: tallies.len(),
            fields: tallies.values().map(|tally| tally.count).sum(),
            commonest: tallies.values().map(|tally| tally.count).max().unwrap_or(0),
            text: tallies.values().map(|tally| tally.text).sum(),
            numbers: numbers.len(),
            median: numbers.get(numbers.len() / 2).copied(),
            largest: numbers.last().copied(),
        }
    }
}

#[derive(serde::Serialize)]
struct Reply<'r, B> {
    summary: &'r Summary,
    body: B,
}

/// Serialises as the rewritten document.
struct Rewritten<'r, 'a, P: Place<'a>> {
    document: &'r Document<'a, P>,
    /// Holds the text that is being rewritten: the only scratch string of this request.
    text: &'r RefCell<&'r mut String>,
}

impl<'a, P: Place<'a>> Serialize for Rewritten<'_, 'a, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let part = |document| Rewritten {
            document,
            text: self.text,
        };
        match self.document {
            Document::Null => serializer.serialize_unit(),
            Document::Bool(value) => serializer.serialize_bool(*value),
            Document::Signed(value) => serializer.serialize_i64(*value),
            Document::Unsigned(value) => serializer.serialize_u64(*value),
            Document::Float(value) => serializer.serialize_f64(*value),
            Document::Text(value) => {
                let mut text = self.text.borrow_mut();
                serializer.serialize_str(rewrite(value, &mut text))
            }
            Document::List(items) => serializer.collect_seq(items.iter().map(part)),
            Document::Map(fields) => {
                let mut map = serializer.serialize_map(None)?;
                for (name, value) in fields.iter() {
                    if !matches!(value, Document::Null) {
                        map.serialize_entry(&**name, &part(value))?;
                    }
                }
                map.end()
            }
        }
    }
}

fn rewrite<'t>(value: &'t str, text: &'t mut String) -> &'t str {
    if let Some(("http" | "https", rest)) = value.split_once("://") {
        text.clear();
        text.push_str("https://proxy.example/");
        text.push_str(rest);
        return text;
    }
    if value.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT)
            .rev()
            .find(|&end| value.is_char_boundary(end))
            .unwrap_or(0);
        text.clear();
        text.push_str(&value[..end]);
        text.push('…');
        return text;
    }
    value
}
