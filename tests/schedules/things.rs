//! What is pooled, and what a thread holds of it. Each object knows whether it is where it should
//! be.

use super::world::Random;
use bytes::{Bytes, BytesMut};
use repool::{Arena, Buffer, Pooled, Recycle};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering::SeqCst};

/// The test's own counts for one pool.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    #[expect(dead_code, reason = "there to be printed")]
    pub(crate) name: String,
    /// For things only: how many exist.
    pub(crate) alive: AtomicI64,
    /// Their weight.
    pub(crate) alive_bytes: AtomicI64,
    /// Guards held, in a channel, in an object or in a thread-local.
    pub(crate) out: AtomicI64,
    pub(crate) out_bytes: AtomicI64,
    /// Views and parts of buffers.
    pub(crate) views: AtomicI64,
}

impl Tally {
    /// Returns whether everything that came has gone.
    pub(crate) fn is_even(&self) -> bool {
        let figures = [
            &self.alive,
            &self.alive_bytes,
            &self.out,
            &self.out_bytes,
            &self.views,
        ];
        figures.iter().all(|figure| figure.load(SeqCst) == 0)
    }
}

/// Runs something whose callbacks may panic on purpose.
pub(crate) fn quietly<R>(f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<OnPurpose>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

#[derive(Debug)]
struct OnPurpose;

fn panic_on_purpose() {
    if !std::thread::panicking() {
        resume_unwind(Box::new(OnPurpose));
    }
}

const CANARY: u64 = 0x7265_706f_6f6c_2021;
const IDLE: u8 = 1;
const HELD: u8 = 2;
const DEAD: u8 = 3;

/// An object of a `Pool<Thing>`.
#[derive(Debug)]
pub(crate) struct Thing {
    canary: [u64; 3],
    state: AtomicU8,
    weight: usize,
    /// 1: its reset panics; 2: its destructor panics; 3: its reset refuses it.
    fault: u8,
    /// Left by a user: must be gone for the next one.
    dirt: u64,
    /// An object of another pool.
    inner: Option<Box<Held>>,
    tally: Arc<Tally>,
}

impl Thing {
    pub(crate) fn new(tally: &Arc<Tally>) -> Self {
        tally.alive.fetch_add(1, SeqCst);
        let canary = CANARY ^ std::ptr::from_ref(&**tally).addr() as u64;
        Self {
            canary: [canary; 3],
            state: AtomicU8::new(IDLE),
            weight: 0,
            fault: 0,
            dirt: 0,
            inner: None,
            tally: tally.clone(),
        }
    }

    fn check(&self) {
        let canary = CANARY ^ std::ptr::from_ref(&*self.tally).addr() as u64;
        assert_eq!(self.canary, [canary; 3], "overwritten: {self:?}");
    }

    /// Called when a caller has got it.
    fn hold(&mut self, random: &mut Random, faults: bool) {
        self.check();
        let before = self.state.swap(HELD, SeqCst);
        assert_eq!(before, IDLE, "handed out twice, or after its end: {self:?}");
        assert_eq!(self.dirt, 0, "not reset: {self:?}");
        self.tally.out.fetch_add(1, SeqCst);
        let weight = match random.below(16) {
            0 => 70_000,
            1..3 => 5_000,
            _ => random.below(300),
        };
        let more = weight as i64 - self.weight as i64;
        self.weight = weight;
        self.tally.alive_bytes.fetch_add(more, SeqCst);
        self.tally.out_bytes.fetch_add(weight as i64, SeqCst);
        self.dirt = random.below(usize::MAX) as u64 | 1;
        self.fault = if faults && random.below(100) == 0 {
            1 + random.below(3) as u8
        } else {
            0
        };
    }

    /// Called when the caller is about to give it up.
    fn let_go(&mut self) {
        self.check();
        let before = self.state.swap(IDLE, SeqCst);
        assert_eq!(before, HELD, "let go twice: {self:?}");
        self.tally.out_bytes.fetch_sub(self.weight as i64, SeqCst);
        self.tally.out.fetch_sub(1, SeqCst);
    }

    pub(crate) fn reset(&mut self) -> bool {
        self.check();
        assert_eq!(
            self.state.load(SeqCst),
            IDLE,
            "reset while it is held: {self:?}"
        );
        self.dirt = 0;
        if self.fault == 1 {
            panic_on_purpose();
        }
        self.fault != 3
    }
}

impl Recycle for Thing {
    fn recycle(&mut self) {
        let _ = self.reset();
    }

    fn retained_bytes(&self) -> usize {
        self.check();
        self.weight
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        self.check();
        let before = self.state.swap(DEAD, SeqCst);
        assert_eq!(before, IDLE, "dropped twice, or while it is held: {self:?}");
        self.canary = [0; 3];
        self.tally.alive_bytes.fetch_sub(self.weight as i64, SeqCst);
        self.tally.alive.fetch_sub(1, SeqCst);
        if self.fault == 2 {
            panic_on_purpose();
        }
    }
}

/// Something of a pool, and the counts that include it.
#[derive(Debug)]
pub(crate) struct Held {
    item: Option<Item>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
enum Item {
    Thing(Pooled<Thing>),
    Vec(Pooled<Vec<u8>>, Filled),
    Buffer(Buffer, Filled),
    View(Bytes, Filled),
    Part(BytesMut, Filled),
    Arena(Arena, Vec<InArena>),
}

/// Checks that all bytes are `mark`.
#[derive(Clone, Copy, Debug)]
struct Filled {
    len: usize,
    mark: u8,
}

impl Filled {
    fn check(self, content: &[u8]) {
        assert_eq!(content.len(), self.len, "of another length");
        // The first is right, and each equals the next.
        let same = content.first().is_none_or(|&byte| byte == self.mark)
            && content
                .get(1..)
                .is_none_or(|rest| *rest == content[..rest.len()]);
        assert!(same, "overwritten, was {self:?}");
    }
}

#[derive(Debug)]
struct InArena {
    at: *mut u8,
    filled: Filled,
}

// SAFETY: into the arena next to it, which moves with it.
unsafe impl Send for InArena {}

impl Held {
    pub(crate) fn thing(
        mut thing: Pooled<Thing>,
        tally: &Arc<Tally>,
        random: &mut Random,
        faults: bool,
    ) -> Self {
        thing.hold(random, faults);
        Self {
            item: Some(Item::Thing(thing)),
            tally: tally.clone(),
        }
    }

    pub(crate) fn vec(mut vec: Pooled<Vec<u8>>, tally: &Arc<Tally>, random: &mut Random) -> Self {
        assert!(vec.is_empty(), "not cleared");
        tally.out.fetch_add(1, SeqCst);
        let filled = Filled {
            len: random.size(),
            mark: random.below(256) as u8,
        };
        vec.resize(filled.len, filled.mark);
        Self {
            item: Some(Item::Vec(vec, filled)),
            tally: tally.clone(),
        }
    }

    pub(crate) fn buffer(
        mut buffer: Buffer,
        asked: usize,
        tally: &Arc<Tally>,
        random: &mut Random,
    ) -> Self {
        assert!(
            buffer.is_empty() && buffer.capacity() >= asked,
            "not as it was asked for"
        );
        tally.out.fetch_add(1, SeqCst);
        // Sometimes it grows.
        let len = if random.below(8) == 0 {
            random.size()
        } else {
            random.below(asked + 1)
        };
        let filled = Filled {
            len,
            mark: random.below(256) as u8,
        };
        buffer.resize(len, filled.mark);
        Self {
            item: Some(Item::Buffer(buffer, filled)),
            tally: tally.clone(),
        }
    }

    pub(crate) fn arena(arena: Arena, tally: &Arc<Tally>) -> Self {
        assert_eq!(arena.chunk_capacity(), arena.allocated_bytes(), "not empty");
        tally.out.fetch_add(1, SeqCst);
        Self {
            item: Some(Item::Arena(arena, Vec::new())),
            tally: tally.clone(),
        }
    }

    /// Returns whether its content is as it was written.
    pub(crate) fn check(&self) {
        match self.item.as_ref().expect("until it is dropped") {
            Item::Thing(thing) => thing.check(),
            Item::Vec(vec, filled) => filled.check(vec),
            Item::Buffer(buffer, filled) => filled.check(buffer),
            Item::View(view, filled) => filled.check(view),
            Item::Part(part, filled) => filled.check(part),
            Item::Arena(_, all) => {
                for one in all {
                    // SAFETY: allocated in the arena next to it, and initialised.
                    one.filled
                        .check(unsafe { std::slice::from_raw_parts(one.at, one.filled.len) });
                }
            }
        }
    }

    /// Uses it in a random way; returns what else came of it.
    pub(crate) fn use_it(&mut self, random: &mut Random) -> Option<Held> {
        self.check();
        let tally = self.tally.clone();
        let also = |item| {
            tally.views.fetch_add(1, SeqCst);
            Some(Held {
                item: Some(item),
                tally: tally.clone(),
            })
        };
        match self.item.take().expect("until it is dropped") {
            Item::Buffer(buffer, filled) if random.below(2) == 0 => {
                let view = buffer.freeze();
                self.tally.views.fetch_add(1, SeqCst);
                self.tally.out.fetch_sub(1, SeqCst);
                self.item = Some(Item::View(view, filled));
                None
            }
            Item::Buffer(mut buffer, mut filled) => {
                let at = random.below(filled.len + 1);
                let part = if random.below(2) == 0 {
                    buffer.split_to(at)
                } else {
                    buffer.split_off(filled.len - at)
                };
                filled.len -= at;
                let of_part = Filled { len: at, ..filled };
                self.item = Some(Item::Buffer(buffer, filled));
                also(Item::Part(part, of_part))
            }
            Item::View(view, filled) => {
                let at = random.below(filled.len + 1);
                let part = view.slice(..at);
                self.item = Some(Item::View(view, filled));
                also(Item::View(part, Filled { len: at, ..filled }))
            }
            Item::Part(part, filled) => {
                self.item = Some(Item::View(part.freeze(), filled));
                None
            }
            Item::Arena(arena, mut all) => {
                let filled = Filled {
                    len: random.size(),
                    mark: random.below(256) as u8,
                };
                let slice = arena.alloc_slice_fill_copy(filled.len, filled.mark);
                all.push(InArena {
                    at: slice.as_mut_ptr(),
                    filled,
                });
                self.item = Some(Item::Arena(arena, all));
                None
            }
            Item::Vec(mut vec, mut filled) => {
                filled.mark = filled.mark.wrapping_add(1);
                vec.fill(filled.mark);
                self.item = Some(Item::Vec(vec, filled));
                None
            }
            item @ Item::Thing(_) => {
                self.item = Some(item);
                None
            }
        }
    }

    /// Puts something of another pool into it, which is dropped with it.
    pub(crate) fn stuff(&mut self, other: Held) {
        match &mut self.item {
            Some(Item::Thing(thing)) if !matches!(other.item, Some(Item::Thing(_))) => {
                thing.inner = Some(Box::new(other));
            }
            _ => drop(other),
        }
    }

    /// Takes the object out of the pool.
    pub(crate) fn take_out(mut self) {
        self.before_it_goes();
        let item = self.item.take();
        let _ = quietly(|| match item {
            Some(Item::Thing(thing)) => drop(Pooled::into_inner(thing)),
            Some(Item::Vec(vec, filled)) => filled.check(&Pooled::into_inner(vec)),
            Some(Item::Buffer(buffer, filled)) => filled.check(&buffer.into_inner()),
            other => drop(other),
        });
    }

    /// Makes the pool drop it.
    pub(crate) fn discard(mut self) {
        self.before_it_goes();
        let item = self.item.take();
        let _ = quietly(|| match item {
            Some(Item::Thing(thing)) => Pooled::discard(thing),
            Some(Item::Vec(vec, _)) => Pooled::discard(vec),
            other => drop(other),
        });
    }

    fn before_it_goes(&mut self) {
        self.check();
        match &mut self.item {
            Some(Item::Thing(thing)) => thing.let_go(),
            Some(Item::View(..) | Item::Part(..)) => {
                self.tally.views.fetch_sub(1, SeqCst);
            }
            _ => {
                self.tally.out.fetch_sub(1, SeqCst);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.item.is_some() {
            self.before_it_goes();
            let item = self.item.take();
            let _ = quietly(|| drop(item));
        }
    }
}
