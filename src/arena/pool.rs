//! [`ArenaPool`] and [`Arena`]: a bump allocator for each request.
//!
//! An arena pool is a [`Pool`](crate::Pool) of [`PooledBump`]s, which are bump allocators with the pool's
//! bookkeeping. Caches, depot, passes, limits and figures are that pool's. `sizes` decides how
//! large an arena is; `pooled_bump` has the reset.

use super::factory;
use super::pooled_bump::PooledBump;
use super::registry;
use super::sizes::FIRST;
use crate::object::by_value::{ByValue, Leave};
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::settings::Role;
use crate::raw::stats::{Stats, Trimmed};
use crate::sync::{AtomicBool, Ordering};
use crate::sys::memory::Level;
use bumpalo::Bump;
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Deref;

/// Bump arenas, one per request, for everything that a request builds and throws away together.
///
/// [`get`](ArenaPool::get) hands out an [`Arena`], which dereferences to a [`bumpalo::Bump`]. Parse
/// trees, header maps, temporary strings and scratch vectors live as long as the arena. Dropping
/// the arena frees all of them at once and keeps the memory for the next request.
///
/// # Examples
/// ```
/// use repool::ArenaPool;
///
/// static ARENAS: ArenaPool = ArenaPool::new();
///
/// let arena = ARENAS.get();
/// let name: &str = arena.alloc_str("Ada");
/// let squares: &[u32] = arena.alloc_slice_fill_iter([0, 1, 2, 3].map(|n| n * n));
/// assert_eq!((name, squares), ("Ada", &[0, 1, 4, 9][..]));
/// ```
///
/// # Destructors do not run
/// A value allocated in an arena is forgotten, not dropped. Memory *inside* the arena is reclaimed
/// all the same. What the value owns *elsewhere* leaks: the heap of a `std` `String` or `Vec`, a
/// file, a lock guard, a reference count.
/// ```
/// # use repool::ArenaPool;
/// # use std::sync::Arc;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let shared = Arc::new(5);
/// ARENAS.get().alloc(Arc::clone(&shared));
/// assert_eq!(Arc::strong_count(&shared), 2); // for ever
/// ```
/// So allocate plain data in an arena, and the arena's own strings and collections:
/// [`alloc_str`](Bump::alloc_str), `bumpalo::collections::{String, Vec}`, `hashbrown`'s map (see
/// below). Keep a value that has to be dropped in a local variable, or in a `bumpalo::boxed::Box`
/// (bumpalo's feature `boxed`), which drops its value, as `bumpalo::collections::Vec` drops its
/// elements.
///
/// # Collections
/// They need bumpalo's features `collections` and `allocator-api2`: name bumpalo in your own
/// `Cargo.toml`, in the version that repool uses.
/// ```
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// use bumpalo::collections::{String, Vec};
/// use hashbrown::{DefaultHashBuilder, HashMap};
///
/// let arena = ARENAS.get();
/// let mut words = Vec::new_in(&arena);
/// words.extend(["to", "be", "or", "not", "to", "be"]);
/// let line = bumpalo::format!(in &arena, "{} words", words.len());
/// assert_eq!(line, "6 words");
///
/// let mut counts = HashMap::with_hasher_in(DefaultHashBuilder::default(), &*arena);
/// for word in &words {
///     *counts.entry(*word).or_insert(0) += 1;
/// }
/// assert_eq!(counts["to"], 2);
/// # let _: String = line;
/// ```
/// A collection that grows leaves its old memory behind until the arena is reset, unless it was the
/// last allocation. Give it the capacity it will need.
///
/// # In async code
/// An `Arena` is `Send` and `'static`: a request's future can own it and hold it over any `.await`.
/// The future can also hold plain references *into* the arena, to data that is `Sync`.
///
/// A future that is to be `Send` must not hold a `&Bump` or `&Arena` over an `.await`. That
/// includes a growing collection, which allocates through such a reference. The reference is not
/// `Send` because `Bump` is not `Sync`: it advances its pointer without synchronisation, so two
/// threads with a `&Bump` each would get the same memory. Finish the collection first, and keep the
/// slice:
/// ```
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// # async fn wait() {}
/// async fn request(body: &str) -> usize {
///     let arena = ARENAS.get();
///     let words: &[&str] = {
///         let mut words = bumpalo::collections::Vec::new_in(&arena);
///         words.extend(body.split(' '));
///         words.into_bump_slice()
///     };
///     wait().await; // another thread may go on from here
///     let longest = arena.alloc(words.iter().map(|word| word.len()).max());
///     wait().await;
///     longest.unwrap_or(0)
/// }
/// fn spawn(_: impl Future<Output = usize> + Send + 'static) {}
/// spawn(request("a body"));
/// ```
/// ```compile_fail
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// # async fn wait() {}
/// async fn request(body: &str) -> usize {
///     let arena = ARENAS.get();
///     let words: bumpalo::collections::Vec<&str> = {
///         let mut words = bumpalo::collections::Vec::new_in(&arena);
///         words.extend(body.split(' '));
///         words
///     };
///     wait().await; // holds a `&Bump`
///     words.len()
/// }
/// fn spawn(_: impl Future<Output = usize> + Send + 'static) {}
/// spawn(request("a body"));
/// ```
///
/// # How large an arena is
/// A new arena has one chunk of 4 KiB, or of [`first_chunk`](crate::ArenaPoolBuilder::first_chunk).
/// A request that needs more gets more chunks, as from any `Bump`. When the request ends, one chunk
/// of their total size replaces them, so the same request fits the next time without an allocator
/// call. The needs of one request make no other arena larger: a pool whose requests all need 1 MiB
/// makes about ten allocator calls for each new arena, unless `first_chunk` is set.
///
/// The pool cuts an arena that is larger than a new one when it comes back from a request that used
/// less than a quarter of it, if none of the pool's last 5 requests, in whichever arena, used a
/// quarter of it either. If the arena grows back within the pool's next 20 requests, the cut was a
/// mistake, and the next cut takes 20 requests instead of 5; after further mistakes 80, 320, 1280
/// and 5120. Cuts that were right, and trim passes, lower that number again step by step. So what a
/// spike has left behind is gone once each arena has served one or two small requests after the
/// pool's last 5, or at most 5120 where cuts have been mistakes. (Requests that fit and are not
/// small are counted 16 at a time.)
///
/// bumpalo's collections return the memory at the end of an arena when they are dropped, so a
/// request may look smaller at its end than it was. That can cause such a mistake.
///
/// Trim passes drop arenas that are not needed, as for [`Pool`](crate::Pool::trim).
///
/// # When not to pool
/// A request that makes only a handful of small allocations gains nothing. Code that stays on its
/// thread and does not hold the arena over an `.await` can keep one `Bump` in a `thread_local!` and
/// reset it: nothing is cheaper, but it has no limits and no passes.
pub struct ArenaPool {
    pool: Pool<PooledBump>,
    /// The bytes of an arena's first chunk, and the most that it may have, while the pool is off.
    first_chunk: usize,
    limit: usize,
    /// Whether the pool is in the registry of named pools, if it has a name.
    registered: AtomicBool,
}

static GLOBAL: ArenaPool = ArenaPool::named("global");

impl ArenaPool {
    /// Creates a pool with the default settings.
    ///
    /// This is a `const fn`, so it works in a `static`. It allocates nothing; the first use does.
    #[must_use]
    pub const fn new() -> Self {
        Self::of_name(None)
    }

    /// Like [`ArenaPool::new`], with a name.
    ///
    /// The name identifies the pool in [`pools`](crate::pools), in metrics, and in
    /// `REPOOL=off:name` in the environment.
    ///
    /// # Examples
    /// ```
    /// use repool::ArenaPool;
    /// static REQUESTS: ArenaPool = ArenaPool::named("requests");
    /// REQUESTS.get().alloc(5);
    /// assert!(repool::pools().iter().any(|pool| pool.name == "requests"));
    /// ```
    #[must_use]
    pub const fn named(name: &'static str) -> Self {
        Self::of_name(Some(name))
    }

    /// `first_chunk` and `limit` are those of the pool's settings.
    pub(super) fn of(pool: Pool<PooledBump>, first_chunk: usize, limit: usize) -> Self {
        Self {
            pool,
            first_chunk,
            limit,
            registered: AtomicBool::new(false),
        }
    }

    /// Adds the pool to the registry of named pools, once, if it has a name.
    #[inline]
    fn register(&self) {
        // Relaxed: a single thread adds it, and the registry has a lock.
        if !self.registered.load(Ordering::Relaxed) {
            self.register_slow();
        }
    }

    #[cold]
    fn register_slow(&self) {
        // Relaxed: as above.
        if self.registered.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(name) = self.name() {
            registry::add(name, self.pool.core());
        }
    }

    const fn of_name(name: Option<&'static str>) -> Self {
        Self {
            // The arenas of a pool share a `Sizes`, which the first use creates.
            pool: Pool::deferred(name, Role::Arenas, factory::default),
            first_chunk: FIRST,
            limit: usize::MAX,
            registered: AtomicBool::new(false),
        }
    }

    /// Returns the process-wide pool, named `global`, for code that needs no settings of its own.
    ///
    /// Its users share arenas. If their requests differ greatly in size, give each kind a pool of
    /// its own.
    ///
    /// # Examples
    /// ```
    /// use repool::ArenaPool;
    /// assert_eq!(*ArenaPool::global().get().alloc(5), 5);
    /// ```
    #[must_use]
    pub fn global() -> &'static Self {
        &GLOBAL
    }

    /// Returns an empty arena: an idle one, or a new one.
    ///
    /// A hit touches only the calling thread's cache, as for [`Pool::get`](crate::Pool::get). A new
    /// arena allocates its chunk and its node.
    #[inline]
    #[track_caller]
    pub fn get(&self) -> Arena {
        match self.pool.try_get_fast() {
            Some(object) => Arena(ByValue::new(object)),
            None => self.get_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn get_slow(&self) -> Arena {
        self.register();
        let unpooled =
            |slot: &mut MaybeUninit<_>| PooledBump::unpooled(slot, self.first_chunk, self.limit);
        // SAFETY: `unpooled` writes a value.
        if let Some(object) = unsafe { self.pool.get_if_off(unpooled) } {
            return Arena(ByValue::new(object));
        }
        let mut object = self.pool.get_slow();
        if object.went_out() {
            object.poison();
        }
        Arena(ByValue::new(object))
    }

    /// Calls `f` with an empty arena, and returns the arena to the pool afterwards. Nothing
    /// allocated in the arena can leave `f`.
    ///
    /// # Examples
    /// ```
    /// use repool::ArenaPool;
    /// static ARENAS: ArenaPool = ArenaPool::new();
    ///
    /// let shouted = ARENAS.with(|bump| {
    ///     let mut text = bumpalo::collections::String::new_in(bump);
    ///     text.push_str("hello");
    ///     text.make_ascii_uppercase();
    ///     text.len()
    /// });
    /// assert_eq!(shouted, 5);
    /// ```
    /// ```compile_fail
    /// # use repool::ArenaPool;
    /// # static ARENAS: ArenaPool = ArenaPool::new();
    /// let kept: &str = ARENAS.with(|bump| bump.alloc_str("hello"));
    /// ```
    /// ```
    /// # use repool::ArenaPool;
    /// # static ARENAS: ArenaPool = ArenaPool::new();
    /// let kept: String = ARENAS.with(|bump| bump.alloc_str("hello").to_owned());
    /// ```
    #[inline]
    #[track_caller]
    pub fn with<R>(&self, f: impl FnOnce(&Bump) -> R) -> R {
        f(&self.get())
    }

    /// Runs one trim pass and returns what it dropped; see [`Pool::trim`](crate::Pool::trim).
    pub fn trim(&self) -> Trimmed {
        self.trim_under(Level::Normal)
    }

    /// Runs one trim pass under the rule for this level of memory pressure; see
    /// [`Pool::trim_under`](crate::Pool::trim_under).
    pub fn trim_under(&self, level: Level) -> Trimmed {
        self.pool.trim_under(level)
    }

    /// Drops every idle arena, in every thread's cache and in the depot, and returns what it
    /// dropped.
    pub fn clear(&self) -> Trimmed {
        self.pool.clear()
    }

    /// Returns what the pool has done and what it holds. An object is an arena; its bytes are those
    /// of its chunk.
    ///
    /// An arena that grows or is cut is still the same object. One that grows beyond
    /// `max_object_bytes` is dropped and counts in
    /// [`Discarded::oversize`](crate::Discarded::oversize).
    pub fn stats(&self) -> Stats {
        self.pool.stats()
    }

    /// Switches pooling off or on, as [`Pool::set_enabled`](crate::Pool::set_enabled) does.
    ///
    /// While the pool is off, an arena makes exactly the allocator calls of a `Bump` with the same
    /// first chunk, so that runs with and without the pool compare fairly. It takes about 15 ns
    /// longer: on glibc, a get and drop that allocates 64 bytes took 34 ns where
    /// `Bump::with_capacity` took 19 ns, and one that allocates 20 strings took 87 ns and 80 ns.
    pub fn set_enabled(&self, on: bool) {
        self.pool.set_enabled(on);
    }

    /// Returns whether the pool keeps arenas: `false` if it was switched off.
    pub fn is_enabled(&self) -> bool {
        self.pool.is_enabled()
    }

    /// Returns the name given to the builder or to [`named`](ArenaPool::named).
    pub fn name(&self) -> Option<&str> {
        self.pool.name()
    }
}

impl Default for ArenaPool {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ArenaPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArenaPool")
            .field("name", &self.name())
            .field("enabled", &self.is_enabled())
            .finish_non_exhaustive()
    }
}

/// An arena on loan from an [`ArenaPool`]; dropping it resets and returns it.
///
/// It dereferences to [`bumpalo::Bump`]. It is one pointer wide, `Send` and `'static`: it has no
/// lifetime parameter, may outlive its pool, and may be dropped on any thread, which it then serves
/// next. The arena is freed instead if it is dropped while its thread panics, or if its pool is
/// gone.
///
/// An allocation limit applies to the current request only; see
/// [`set_allocation_limit`](Arena::set_allocation_limit).
///
/// # What the compiler rejects
/// Nothing allocated in an arena can outlive it. Returning a reference:
/// ```compile_fail,E0515
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// fn name() -> &'static str {
///     let arena = ARENAS.get();
///     arena.alloc_str("Ada")
/// }
/// ```
/// ```
/// # use repool::{Arena, ArenaPool};
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// fn name(arena: &Arena) -> &str {
///     arena.alloc_str("Ada")
/// }
/// assert_eq!(name(&ARENAS.get()), "Ada");
/// ```
/// Dropping the arena first:
/// ```compile_fail,E0505
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let arena = ARENAS.get();
/// let name = arena.alloc_str("Ada");
/// drop(arena);
/// assert_eq!(name, "Ada");
/// ```
/// ```
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let arena = ARENAS.get();
/// let name = arena.alloc_str("Ada");
/// assert_eq!(name, "Ada");
/// drop(arena);
/// ```
/// Storing it in something that lives longer:
/// ```compile_fail,E0597
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let mut names = Vec::new();
/// {
///     let arena = ARENAS.get();
///     names.push(arena.alloc_str("Ada"));
/// }
/// assert_eq!(names.len(), 1);
/// ```
/// ```
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let arena = ARENAS.get();
/// let mut names = Vec::new();
/// {
///     names.push(arena.alloc_str("Ada"));
/// }
/// assert_eq!(names.len(), 1);
/// ```
/// Sending a reference to the arena to another thread, while the arena itself may be dropped:
/// ```compile_fail,E0277
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let arena = ARENAS.get();
/// std::thread::scope(|scope| {
///     scope.spawn(|| arena.alloc_str("Ada").len());
/// });
/// ```
/// ```
/// # use repool::ArenaPool;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let arena = ARENAS.get();
/// std::thread::scope(|scope| {
///     scope.spawn(move || arena.alloc_str("Ada").len());
/// });
/// ```
#[must_use = "an arena that is dropped at once goes straight back"]
pub struct Arena(ByValue<Pooled<PooledBump>>);

/// An `Arena` is one pointer, and so is an `Option<Arena>`.
const _: () = assert!(size_of::<Option<Arena>>() == size_of::<usize>());

impl Arena {
    /// Limits how many bytes this request may allocate in total.
    ///
    /// Beyond the limit the `try_` methods return an error and the other methods panic. `None`
    /// removes the limit; the end of the request removes it as well. Setting a limit makes no
    /// allocator call.
    ///
    /// The limit does not depend on the chunk that the arena already has: if the limit is below it,
    /// the request cannot use the rest of the chunk, and beyond the chunk the request allocates at
    /// most the limit. What the request allocated before it set the limit counts. As in bumpalo,
    /// whole chunks count, so a request may reach the limit a little early.
    ///
    /// This method shadows [`Bump::set_allocation_limit`], which also counts the chunk made by the
    /// pool, and which has no effect if the limit is below that chunk. So do not set limits through
    /// a `&Bump`. [`allocation_limit`](Bump::allocation_limit) and
    /// [`allocated_bytes`](Bump::allocated_bytes) are bumpalo's and count the pool's chunk, so the
    /// limit that you read may be larger than the one you set.
    ///
    /// # Examples
    /// ```
    /// use repool::ArenaPool;
    /// static ARENAS: ArenaPool = ArenaPool::new();
    ///
    /// let arena = ARENAS.get();
    /// arena.set_allocation_limit(Some(1024));
    /// assert!(arena.try_alloc([0_u8; 1000]).is_ok());
    /// assert!(arena.try_alloc([0_u8; 1000]).is_err());
    /// ```
    pub fn set_allocation_limit(&self, bytes: Option<usize>) {
        self.0.limit(bytes);
    }
}

impl Leave for Pooled<PooledBump> {
    #[inline(always)]
    fn leave(mut self) {
        self.end();
        match self.settled() {
            Some(weight) => Pooled::give_back_clean(self, weight),
            None => Pooled::give_back_slow(self),
        }
    }
}

impl Deref for Arena {
    type Target = Bump;

    #[inline(always)]
    fn deref(&self) -> &Bump {
        &self.0.bump
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("allocated_bytes", &self.allocated_bytes())
            .field("chunk_capacity", &self.chunk_capacity())
            .finish()
    }
}
