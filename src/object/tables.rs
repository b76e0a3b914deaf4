//! What a hash table holds, for tables of the kind that std and `hashbrown` have.
//!
//! Such a table is one allocation: a power of two of buckets, filled to seven eighths (four buckets
//! hold three entries, eight hold seven), then a control byte for each, and as many more as are
//! looked at together.

/// Control bytes that are looked at together.
const GROUP: usize = if cfg!(all(
    any(target_arch = "x86", target_arch = "x86_64"),
    target_feature = "sse2"
)) {
    16
} else if cfg!(any(
    target_pointer_width = "64",
    target_arch = "aarch64",
    target_arch = "wasm32"
)) {
    8
} else {
    4
};

/// Bytes of a table of `Entry`s that has this `capacity()`. Exact for one that is empty: in others,
/// removed entries may hide some of the capacity.
pub(crate) fn table_bytes<Entry>(capacity: usize) -> usize {
    let buckets = match capacity {
        0 => return 0,
        1..=3 => 4,
        4..=7 => 8,
        _ => match capacity
            .saturating_mul(8)
            .div_ceil(7)
            .checked_next_power_of_two()
        {
            Some(buckets) => buckets,
            None => return usize::MAX,
        },
    };
    let align = align_of::<Entry>().max(GROUP);
    buckets
        .saturating_mul(size_of::<Entry>())
        .div_ceil(align)
        .saturating_mul(align)
        .saturating_add(buckets + GROUP)
}

/// What `len` entries take of a table's bytes.
pub(crate) fn used_bytes<Entry>(len: usize) -> usize {
    len.saturating_mul(size_of::<Entry>() + 1)
}
