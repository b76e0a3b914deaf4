//! The normal form of a document: sorted keys, the last of equal keys only, no whitespace, no
//! needless escapes.

use crate::document::{Document, Place};
use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use std::cell::RefCell;

/// Serialises as the normal form of `document`.
pub(crate) struct Normal<'r, 'a, P: Place<'a>> {
    pub(crate) document: &'r Document<'a, P>,
    pub(crate) order: &'r Order<'r>,
}

/// The fields of the maps that are being written, as indices in the order of their keys. Those of a
/// map follow those of the map that contains it.
pub(crate) struct Order<'r>(RefCell<&'r mut Vec<u32>>);

impl<'a, P: Place<'a>> Serialize for Normal<'_, 'a, P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let order = self.order;
        match self.document {
            Document::Null => serializer.serialize_unit(),
            Document::Bool(value) => serializer.serialize_bool(*value),
            Document::Signed(value) => serializer.serialize_i64(*value),
            Document::Unsigned(value) => serializer.serialize_u64(*value),
            Document::Float(value) => serializer.serialize_f64(*value),
            Document::Text(value) => serializer.serialize_str(value),
            Document::List(items) => {
                serializer.collect_seq(items.iter().map(|document| Normal { document, order }))
            }
            Document::Map(fields) => {
                let mut map = serializer.serialize_map(None)?;
                let key = |index: u32| &*fields[index as usize].0;
                let first = order.push(fields.len()).map_err(S::Error::custom)?;
                order.sort(first, |a, b| (key(a), a).cmp(&(key(b), b)));
                for at in first..first + fields.len() {
                    let index = order.at(at);
                    let is_last = at + 1 == first + fields.len();
                    if is_last || key(index) != key(order.at(at + 1)) {
                        let document = &fields[index as usize].1;
                        map.serialize_entry(key(index), &Normal { document, order })?;
                    }
                }
                order.pop(first);
                map.end()
            }
        }
    }
}

impl<'r> Order<'r> {
    /// `scratch` must be empty.
    pub(crate) fn new(scratch: &'r mut Vec<u32>) -> Self {
        Self(RefCell::new(scratch))
    }

    /// Appends `fields` indices, and returns where they start.
    fn push(&self, fields: usize) -> Result<usize, &'static str> {
        let fields = u32::try_from(fields).map_err(|_| "more fields than fit 32 bits")?;
        let mut order = self.0.borrow_mut();
        let first = order.len();
        order.extend(0..fields);
        Ok(first)
    }

    fn sort(&self, first: usize, compare: impl Fn(u32, u32) -> std::cmp::Ordering) {
        self.0.borrow_mut()[first..].sort_unstable_by(|&a, &b| compare(a, b));
    }

    fn at(&self, at: usize) -> u32 {
        self.0.borrow()[at]
    }

    fn pop(&self, first: usize) {
        self.0.borrow_mut().truncate(first);
    }
}
