//! A guard serialises as its object does.

#![cfg(feature = "serde")]

use crate::object::guard::Pooled;
use serde::{Serialize, Serializer};

impl<T: Send + Serialize> Serialize for Pooled<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}
