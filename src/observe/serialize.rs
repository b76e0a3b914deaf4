//! `Serialize` for the figures: maps with the names of the fields.

#![cfg(feature = "serde")]

use crate::background::worker::JanitorStats;
#[cfg(feature = "bytes")]
use crate::buffer::ClassStats;
use crate::object::registry::PoolKind;
use crate::observe::pools::PoolInfo;
use crate::raw::stats::{Discarded, Stats, Trimmed};
use serde::ser::{Serialize, SerializeStruct, Serializer};

/// Serialises a struct as its fields. The pattern names all of them, so none can be forgotten.
macro_rules! serialize {
    ($($Type:ident { $($field:ident),* $(,)? })*) => {$(
        impl Serialize for $Type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let Self { $($field),* } = self;
                let fields = [$(stringify!($field)),*].len();
                let mut map = serializer.serialize_struct(stringify!($Type), fields)?;
                $(map.serialize_field(stringify!($field), $field)?;)*
                map.end()
            }
        }
    )*};
}

serialize! {
    Stats {
        created, reused, returned, adopted, taken, discarded, discarded_by, trimmed, idle, idle_bytes, in_use,
        peak_idle, peak_in_use, looked_at_bytes, used_bytes, unweighed,
    }
    Discarded { oversize, full, budget, reset, panic, closed, switched_off, user, underused }
    Trimmed { objects, bytes }
    JanitorStats { running, passes, wake_ups, pools }
}

#[cfg(feature = "bytes")]
serialize! {
    ClassStats { capacity, requests, created, reused, oversize, idle, idle_bytes, in_use, lent, lent_bytes }
}

impl Serialize for PoolInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            kind,
            name,
            enabled,
            stats,
        } = self;
        let mut map = serializer.serialize_struct("PoolInfo", 4)?;
        map.serialize_field("kind", kind)?;
        map.serialize_field("name", name.as_str())?;
        map.serialize_field("enabled", enabled)?;
        map.serialize_field("stats", stats)?;
        map.end()
    }
}

/// `objects`, `buffers`, `arenas`.
impl Serialize for PoolKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
