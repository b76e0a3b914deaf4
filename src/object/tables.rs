//! The memory of a hash table as implemented by std and `hashbrown`.
//!
//! Such a table is one allocation: a power of two of buckets, filled up to seven eighths (four
//! buckets hold three entries, eight hold seven), then one control byte per bucket, and as many
//! more as are probed together.

/// Control bytes that are probed together.
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

/// Returns the bytes of a table of `Entry`s with this `capacity()`. Exact for an empty table; in
/// others, removed entries may hide part of the capacity.
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

/// Returns the bytes that `len` entries take in a table.
pub(crate) fn used_bytes<Entry>(len: usize) -> usize {
    len.saturating_mul(size_of::<Entry>() + 1)
}
