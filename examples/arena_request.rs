//! One arena per request: parse a JSON body into a tree that borrows, answer, drop.
//!
//! ```sh
//! cargo run --example arena_request
//! ```
//!
//! A string of the tree is a slice of the body, or, if the body has it escaped, lives in the arena.
//! Lists and maps live in the arena. Nothing is freed individually, and once the arena has grown to
//! the size of a request, no part of the tree calls the allocator.

use bumpalo::Bump;
use bumpalo::collections::Vec as BumpVec;
use repool::ArenaPool;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

static ARENAS: ArenaPool = ArenaPool::new();

/// A JSON value. `'a` is the lifetime of the arena and the body.
#[derive(Debug)]
enum Json<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    List(&'a [Json<'a>]),
    Map(&'a [(&'a str, Json<'a>)]),
}

impl<'a> Json<'a> {
    fn parse(body: &'a str, arena: &'a Bump) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_str(body);
        let value = In(arena).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }

    fn get(&self, name: &str) -> &Json<'a> {
        match self {
            Json::Map(fields) => fields
                .iter()
                .find(|(field, _)| *field == name)
                .map_or(&Json::Null, |(_, value)| value),
            _ => &Json::Null,
        }
    }

    fn items(&self) -> &'a [Json<'a>] {
        match self {
            Json::List(items) => items,
            _ => &[],
        }
    }

    fn number(&self) -> f64 {
        match self {
            Json::Number(number) => *number,
            Json::Bool(yes) => f64::from(u8::from(*yes)),
            _ => 0.0,
        }
    }

    fn text(&self) -> &'a str {
        match self {
            Json::Text(text) => text,
            _ => "",
        }
    }
}

/// Handles one request. The answer is owned; everything else is dropped with the arena on return.
fn handle(body: &str) -> serde_json::Result<String> {
    let arena = ARENAS.get();
    let order = Json::parse(body, &arena)?;

    // Scratch memory with a lifetime, which no typed pool could hold.
    let mut lines: BumpVec<(&str, f64)> = BumpVec::new_in(&arena);
    for item in order.get("items").items() {
        let price = item.get("price").number() * item.get("count").number();
        lines.push((item.get("name").text(), price));
    }
    lines.sort_by(|(_, one), (_, other)| other.total_cmp(one));

    let total: f64 = lines.iter().map(|(_, price)| price).sum();
    let dearest = lines.first().map_or("nothing", |(name, _)| name);
    let customer = order.get("customer").text();
    Ok(format!("{customer}: {total:.2}, most of it for {dearest}"))
}

fn main() -> serde_json::Result<()> {
    let body = r#"{
        "customer": "Ada Lovelace",
        "items": [
            { "name": "Lochkarten \u2013 blank", "price": 0.05, "count": 1200 },
            { "name": "brass gears", "price": 7.5, "count": 16, "gift": true },
            { "name": "oil", "price": 3, "count": 2, "note": null }
        ]
    }"#;
    println!("{}", handle(body)?);

    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    handle(body).expect("it was fine before");
                }
            });
        }
    });
    println!("{}", ARENAS.stats());

    // The error path returns its arena as well.
    if let Err(error) = handle("{ \"items\": [") {
        println!("refused: {error}");
    }
    assert_eq!(ARENAS.stats().in_use, 0);
    Ok(())
}

/// Deserialises into this arena.
struct In<'a>(&'a Bump);

impl<'de> DeserializeSeed<'de> for In<'de> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for In<'de> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(text))
    }

    /// With escapes, the text is in the parser's scratch memory, and the arena has to copy it.
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(self.0.alloc_str(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut list = BumpVec::new_in(self.0);
        while let Some(item) = items.next_element_seed(In(self.0))? {
            list.push(item);
        }
        Ok(Json::List(list.into_bump_slice()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json<'de>, A::Error> {
        let mut map = BumpVec::new_in(self.0);
        while let Some(name) = fields.next_key_seed(In(self.0))? {
            map.push((name.text(), fields.next_value_seed(In(self.0))?));
        }
        Ok(Json::Map(map.into_bump_slice()))
    }
}
