//! The possible programs for a `BufferPool`.

use super::workers::Ops;
use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
pub(crate) struct Program {
    pub(crate) settings: Settings,
    /// Whether the figures are read after each operation. That is a visit to every thread, so
    /// programs without it show what happens when no pass looks.
    pub(crate) looks: bool,
    /// Whether the pool is dropped before what is still out.
    pub(crate) pool_first: bool,
    pub(crate) ops: Ops<Op>,
}

#[derive(Arbitrary, Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) max_class: Option<u8>,
    pub(crate) max_idle: Option<u8>,
    pub(crate) max_idle_bytes: Option<u16>,
    pub(crate) max_object_bytes: Option<u16>,
    pub(crate) budget: Option<u16>,
    #[cfg(feature = "zeroize")]
    pub(crate) wipes: bool,
}

/// [`size`] interprets the sizes.
#[derive(Arbitrary, Debug)]
pub(crate) enum Op {
    Get {
        asked: u16,
        how: How,
    },
    /// Requests more than possible.
    TryGetHuge {
        less: u8,
    },
    /// Through the buffer's own traits.
    Write {
        at: u8,
        size: u16,
        how: Writing,
    },
    /// As a `BytesMut`.
    Edit {
        at: u8,
        edit: Edit,
    },
    EditPart {
        part: u8,
        edit: Edit,
    },
    Unsplit {
        at: u8,
        part: u8,
    },
    /// Swaps a buffer's `BytesMut` with a part.
    Swap {
        at: u8,
        part: u8,
    },
    /// Swaps the `BytesMut` of two buffers.
    SwapBuffers {
        at: u8,
        other: u8,
    },
    /// Swaps a buffer's `BytesMut` with an empty one.
    Empty {
        at: u8,
    },
    /// A part that was never in the pool.
    Foreign {
        size: u16,
    },
    Freeze {
        at: u8,
        unwinding: bool,
    },
    FreezePart {
        part: u8,
    },
    /// Turns a frozen part back into a `BytesMut`, if there is no other handle.
    Thaw {
        part: u8,
    },
    Slice {
        part: u8,
        from: u16,
        size: u16,
    },
    IntoInner {
        at: u8,
    },
    Drop {
        at: u8,
        unwinding: bool,
    },
    DropPart {
        part: u8,
        unwinding: bool,
    },
    /// Left to the thread's own destructors.
    Leave {
        at: u8,
        freeze: bool,
    },
    /// Many buffers at the same time, and back.
    Burst {
        asked: u16,
        buffers: u8,
        freeze: bool,
    },
    Trim {
        level: u8,
    },
    Clear,
    Enable {
        on: bool,
    },
    Figures,
    EndThread,
    /// What is out is late then. Another pool takes the place of this one.
    DropPool,
}

#[derive(Arbitrary, Debug)]
pub(crate) enum How {
    Get,
    Try,
    /// From 1 MiB: the allocator is asked first.
    TryLarge,
    Unwinding,
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Writing {
    PutSlice,
    PutBytes,
    WriteAll,
    ReadFrom,
    Extend,
    /// In the other direction.
    CopyToBytes,
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Edit {
    Extend(u16),
    Fill,
    Resize(u16),
    Truncate(u16),
    Clear,
    Reserve(u16),
    Reclaim(u16),
    Advance(u16),
    Split,
    SplitTo(u16),
    SplitOff(u16),
}

/// Half of them are one of a few sizes, so that buffers meet in a class; others are up to 128 KiB.
pub(crate) fn size(raw: u16) -> usize {
    let rest = usize::from(raw & 0x1fff);
    match raw >> 13 {
        0..4 => [0, 1, 64, 100, 128, 1024, 5000, 8192][rest % 8],
        4 => rest % 130,
        5 => rest % 1100,
        6 => rest,
        _ => rest * 16,
    }
}
