//! The bodies of requests: one from a file, or generated ones of mixed sizes.

use crate::document::{Document, Heap};
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use std::{fs, io};

pub(crate) enum Payload {
    File { name: String, body: Vec<u8> },
    Generated,
}

/// The number of different generated bodies.
const BODIES: usize = 96;

/// Returns the file's body after checking it, or the generator; or a one-line error.
pub(crate) fn load(input: Option<&Path>) -> Result<Payload, String> {
    let Some(path) = input else {
        return Ok(Payload::Generated);
    };
    let name = path.display().to_string();
    let expected = "expected a file with one JSON document";
    let body = fs::read(path).map_err(|error| format!("--input {name}: {error}; {expected}"))?;
    match Document::parse(&body, Heap) {
        Ok(_) => Ok(Payload::File { name, body }),
        Err(error) => Err(format!("--input {name}: not JSON ({error}); {expected}")),
    }
}

impl Payload {
    /// Returns what goes to a child's stdin.
    pub(crate) fn stdin(&self) -> Option<&[u8]> {
        match self {
            Self::File { body, .. } => Some(body),
            Self::Generated => None,
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Self::File { name, body } => format!("{name}, {} bytes", body.len()),
            Self::Generated => {
                let bodies = generate();
                let sizes = || bodies.iter().map(Vec::len);
                format!(
                    "{} generated bodies of {} to {} bytes, {} on average",
                    bodies.len(),
                    sizes().min().unwrap_or(0),
                    sizes().max().unwrap_or(0),
                    sizes().sum::<usize>() / bodies.len(),
                )
            }
        }
    }
}

/// Returns a child's bodies.
pub(crate) fn bodies(on_stdin: bool) -> Result<Vec<Vec<u8>>, String> {
    if !on_stdin {
        return Ok(generate());
    }
    let mut body = Vec::new();
    io::stdin()
        .read_to_end(&mut body)
        .map_err(|error| format!("no body on stdin: {error}"))?;
    Ok(vec![body])
}

/// Generates orders with 1 to 256 lines, small and large ones equally frequent on a logarithmic
/// scale. The result is the same in every process.
fn generate() -> Vec<Vec<u8>> {
    let mut random = Random(0x5eed);
    (0..BODIES)
        .map(|_| order(&mut random).to_string().into_bytes())
        .collect()
}

fn order(random: &mut Random) -> Value {
    let magnitude = random.below(9);
    let lines = 1 + random.below(1 << magnitude);
    json!({
        "id": random.next() >> 12,
        "customer": {
            "name": words(random, 2),
            "mail": format!("{}@mail.example", words(random, 1)),
            "vip": random.below(10) == 0,
            "referrer": null,
        },
        "lines": (0..lines).map(|_| line(random)).collect::<Vec<_>>(),
        "note": words(random, 60),
    })
}

fn line(random: &mut Random) -> Value {
    json!({
        "sku": format!("{:08x}", random.next() as u32),
        "title": words(random, 5),
        "count": 1 + random.below(9),
        "price": random.below(100_000) as f64 / 100.0,
        "link": format!("https://shop.example/items/{}", random.below(1_000_000)),
        "discount": if random.below(4) == 0 { json!(0.1) } else { Value::Null },
        "tags": [words(random, 1), words(random, 1)],
    })
}

/// Words from a small vocabulary, as in natural text: it compresses, and some words need escapes.
fn words(random: &mut Random, count: usize) -> String {
    const WORDS: [&str; 16] = [
        "amber", "bolt", "cedar", "dune", "ember", "fjord", "grove", "härte", "iris", "\"joy\"",
        "kiln", "lumen", "moss", "north", "opal", "pine",
    ];
    let words: Vec<_> = (0..count)
        .map(|_| WORDS[random.below(16) as usize])
        .collect();
    words.join(" ")
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
