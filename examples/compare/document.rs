//! A JSON document as a tree: strings borrow from the body; a [`Place`] holds lists and maps.
//!
//! The tree lives as long as its body, so no pool of `'static` objects can hold its parts. The
//! place is the heap, part by part, or an arena, which holds all parts together.

use bumpalo::Bump;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::ops::Deref;

/// `'a` is the lifetime of the place, which is at most that of the body.
pub(crate) enum Document<'a, P: Place<'a>> {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(Text<'a, P>),
    List(P::List<Document<'a, P>>),
    Map(P::List<(Text<'a, P>, Document<'a, P>)>),
}

/// A string as it reads in the body; one with escapes is copied.
pub(crate) enum Text<'a, P: Place<'a>> {
    Borrowed(&'a str),
    Owned(P::Text),
}

/// Where the parts of a document are created.
pub(crate) trait Place<'a>: Copy + 'a {
    type Text: Deref<Target = str>;
    /// A list while it grows, and when it is complete.
    type Growing<T: 'a>;
    type List<T: 'a>: Deref<Target = [T]>;

    fn text(self, text: &str) -> Self::Text;
    fn grow<T: 'a>(self) -> Self::Growing<T>;
    fn push<T: 'a>(list: &mut Self::Growing<T>, item: T);
    fn done<T: 'a>(list: Self::Growing<T>) -> Self::List<T>;
}

/// Each part is a separate heap allocation.
#[derive(Clone, Copy)]
pub(crate) struct Heap;

impl<'a> Place<'a> for Heap {
    type Text = String;
    type Growing<T: 'a> = Vec<T>;
    type List<T: 'a> = Vec<T>;

    fn text(self, text: &str) -> String {
        text.to_owned()
    }

    fn grow<T: 'a>(self) -> Vec<T> {
        Vec::new()
    }

    fn push<T: 'a>(list: &mut Vec<T>, item: T) {
        list.push(item);
    }

    fn done<T: 'a>(list: Vec<T>) -> Vec<T> {
        list
    }
}

/// All parts in one arena. They are not dropped: they own nothing outside of it.
impl<'a> Place<'a> for &'a Bump {
    type Text = &'a str;
    type Growing<T: 'a> = bumpalo::collections::Vec<'a, T>;
    type List<T: 'a> = &'a [T];

    fn text(self, text: &str) -> &'a str {
        self.alloc_str(text)
    }

    fn grow<T: 'a>(self) -> Self::Growing<T> {
        bumpalo::collections::Vec::new_in(self)
    }

    fn push<T: 'a>(list: &mut Self::Growing<T>, item: T) {
        list.push(item);
    }

    fn done<T: 'a>(list: Self::Growing<T>) -> &'a [T] {
        list.into_bump_slice()
    }
}

impl<'a, P: Place<'a>> Document<'a, P> {
    pub(crate) fn parse(body: &'a [u8], place: P) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let document = Values(place).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(document)
    }
}

impl<'a, P: Place<'a>> Deref for Text<'a, P> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

struct Values<P>(P);

impl<'de, P: Place<'de>> DeserializeSeed<'de> for Values<P> {
    type Value = Document<'de, P>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P: Place<'de>> Visitor<'de> for Values<P> {
    type Value = Document<'de, P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Document::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Document::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Document::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Document::Unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Document::Float(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Document::Text(Text::Borrowed(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Document::Text(Text::Owned(self.0.text(value))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = self.0.grow();
        while let Some(item) = items.next_element_seed(Values(self.0))? {
            P::push(&mut list, item);
        }
        Ok(Document::List(P::done(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut map = self.0.grow();
        while let Some(key) = fields.next_key_seed(Keys(self.0))? {
            P::push(&mut map, (key, fields.next_value_seed(Values(self.0))?));
        }
        Ok(Document::Map(P::done(map)))
    }
}

struct Keys<P>(P);

impl<'de, P: Place<'de>> DeserializeSeed<'de> for Keys<P> {
    type Value = Text<'de, P>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, P: Place<'de>> Visitor<'de> for Keys<P> {
    type Value = Text<'de, P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: de::Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Text::Borrowed(key))
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Text::Owned(self.0.text(key)))
    }
}
