//! [`ArenaPool`] and [`Arena`]: a bump allocator for each request.
//!
//! A pool of `Region`s with another face: caches, depot, passes, limits and figures are those of
//! [`Pool`](crate::Pool). What is of its own is the size of arenas: `sizes` decides it, `region` has
//! the reset.

use super::recipes;
use super::region::Region;
use super::roster;
use crate::object::by_value::{ByValue, Leave};
use crate::object::guard::Pooled;
use crate::object::pool::Pool;
use crate::object::settings::Role;
use crate::raw::stats::{Stats, Trimmed};
use crate::sync::{AtomicBool, Ordering};
use crate::sys::memory::Level;
use bumpalo::Bump;
use std::fmt;
use std::ops::Deref;

/// Bump arenas, one per request: for everything that a request builds and throws away together.
///
/// [`get`](ArenaPool::get) hands out an [`Arena`], which derefs to a [`bumpalo::Bump`]: parse
/// trees, header maps, temporary strings, scratch vectors, each with the arena's lifetime.
/// Dropping the arena frees all of them at once and keeps the memory for the next request.
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
/// What is allocated in an arena is forgotten, not dropped. Memory *inside* the arena is
/// reclaimed all the same; what a value owns *elsewhere* leaks: the heap of a `std` `String` or
/// `Vec`, a file, a lock guard, a reference count.
/// ```
/// # use repool::ArenaPool;
/// # use std::sync::Arc;
/// # static ARENAS: ArenaPool = ArenaPool::new();
/// let shared = Arc::new(5);
/// ARENAS.get().alloc(Arc::clone(&shared));
/// assert_eq!(Arc::strong_count(&shared), 2); // for ever
/// ```
/// So put plain data there, and the arena's own strings and collections:
/// [`alloc_str`](Bump::alloc_str), `bumpalo::collections::{String, Vec}`, `hashbrown`'s map (see
/// below). What has to be dropped belongs in a local variable, or in a `bumpalo::boxed::Box`
/// (bumpalo's feature `boxed`), which drops its value, as `bumpalo::collections::Vec` drops its
/// elements.
///
/// # Collections
/// With bumpalo's features `collections` and `allocator-api2`; name bumpalo, of the version that
/// repool uses, in your own `Cargo.toml`:
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
/// A collection that grows leaves its old memory behind until the arena goes, unless it was the
/// last thing allocated: give it the capacity it will need.
///
/// # In async code
/// An `Arena` is `Send` and `'static`: the request's future owns it, and may hold it over any
/// `.await`. So may it hold plain references *into* the arena, to data that is `Sync`.
///
/// What a future must not hold over an `.await`, if it is to be `Send`, is a `&Bump` or `&Arena`,
/// and that includes a growing collection: it allocates through that reference. Such a reference
/// is not `Send`, because `Bump` is not `Sync`: it moves its finger without synchronisation, so two
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
/// A new arena has one chunk of 4 KiB, or of [`first_chunk`](crate::ArenaPoolBuilder::first_chunk). A request
/// that needs more gets more chunks, as from any `Bump`. When it ends they are replaced by one of
/// their size together, so that the same request fits the next time without a call of the allocator.
/// What one request needed makes no other arena larger: a pool whose requests all need 1 MiB pays some
/// ten calls of the allocator for each new arena, unless `first_chunk` says so.
///
/// An arena that is larger than a new one is cut when it comes back from a request that used less than a
/// quarter of it, if the pool's last 5 requests, in whichever arenas, did not use a quarter of it either.
/// Should it grow back within the pool's next 20 requests, the cut was a mistake, and the next
/// takes 20 requests instead of 5; then 80, 320, 1280 and 5120. Cuts that were right, and passes, make
/// the pool quick again step by step. So what a spike has left behind is gone once each arena has
/// served one or two small requests after the pool's last 5, or at most 5120 where cuts have been mistakes.
/// (Requests that fit and are not small are counted 16 at a time.)
///
/// bumpalo's collections give the memory at the end of an arena back when they are dropped, so a request
/// may look smaller at its end than it was. That is one such mistake.
///
/// Passes drop arenas that are not needed, as for [`Pool`](crate::Pool::trim).
///
/// # When not to pool
/// A request that makes a handful of small allocations gains nothing. Code that never leaves its
/// thread, nor holds the arena over an `.await`, can keep one `Bump` in a `thread_local!`, and
/// reset it: that is the floor, without limits or passes.
pub struct ArenaPool {
    pool: Pool<Region>,
    /// Whether the pool has entered the roster, if it has a name.
    entered: AtomicBool,
}

static GLOBAL: ArenaPool = ArenaPool::named("global");

impl ArenaPool {
    /// A pool with the default settings.
    ///
    /// `const`, so it works in a `static`. Nothing is allocated before the first use.
    #[must_use]
    pub const fn new() -> Self {
        Self::of_name(None)
    }

    /// A pool as by [`ArenaPool::new`] that has a name: for [`pools`](crate::pools), metrics, and
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

    pub(super) fn of(regions: Pool<Region>) -> Self {
        Self {
            pool: regions,
            entered: AtomicBool::new(false),
        }
    }

    /// Enters the pool in the roster, once, if it has a name.
    #[inline]
    fn enter(&self) {
        // Relaxed: one thread enters it, and the roster has a lock.
        if !self.entered.load(Ordering::Relaxed) {
            self.enter_slow();
        }
    }

    #[cold]
    fn enter_slow(&self) {
        // Relaxed: as above.
        if self.entered.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(name) = self.name() {
            roster::enter(name, self.pool.core());
        }
    }

    const fn of_name(name: Option<&'static str>) -> Self {
        Self {
            // Each pool's arenas share what its requests need, and that is made by the first use.
            pool: Pool::deferred(name, Role::Regions, recipes::of_regions),
            entered: AtomicBool::new(false),
        }
    }

    /// The pool of the whole process, named `global`, for code that needs no settings of its own. Its users share
    /// arenas: requests of very different size are better served by a pool each.
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

    /// An empty arena: an idle one, or a new one.
    ///
    /// A hit touches only the calling thread's cache, as for [`Pool::get`](crate::Pool::get). A
    /// new arena costs an allocation for its chunk as well as its node.
    #[inline]
    #[track_caller]
    pub fn get(&self) -> Arena {
        match self.pool.try_get_fast() {
            Some(region) => Arena(ByValue::new(region)),
            None => self.get_slow(),
        }
    }

    #[cold]
    #[inline(never)]
    #[track_caller]
    fn get_slow(&self) -> Arena {
        self.enter();
        let mut region = self.pool.get_slow();
        if region.went_out() {
            region.poison();
        }
        Arena(ByValue::new(region))
    }

    /// Runs `f` with an empty arena, for borrows that end with a call. Nothing that is allocated in
    /// it gets out.
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

    /// Runs one trim pass, as [`Pool::trim`](crate::Pool::trim).
    pub fn trim(&self) -> Trimmed {
        self.trim_under(Level::Normal)
    }

    /// Runs one trim pass by the rule for this level of memory pressure, as
    /// [`Pool::trim_under`](crate::Pool::trim_under).
    pub fn trim_under(&self, level: Level) -> Trimmed {
        self.pool.trim_under(level)
    }

    /// Drops every idle arena, in every thread's cache and in the depot, and says what it was.
    pub fn clear(&self) -> Trimmed {
        self.pool.clear()
    }

    /// What the pool has done and holds. An object is an arena; its bytes are those of its chunk.
    ///
    /// An arena that grows or is cut down is still the same object; one that grows beyond
    /// `max_object_bytes` is dropped, and counts as `discarded_by.oversize`.
    pub fn stats(&self) -> Stats {
        self.pool.stats()
    }

    /// Switches pooling off and on, as [`Pool::set_enabled`](crate::Pool::set_enabled).
    ///
    /// Off, an arena costs exactly the calls of the allocator that a `Bump` of the same first chunk does,
    /// so that runs with and without compare fairly. (And some 15 ns more: a get and drop that allocates 64
    /// bytes took 34 ns where `Bump::with_capacity` took 19, and one with 20 strings 87 and 80, on glibc.)
    pub fn set_enabled(&self, on: bool) {
        self.pool.set_enabled(on);
    }

    /// Whether the pool keeps arenas: `false` once it was switched off.
    pub fn is_enabled(&self) -> bool {
        self.pool.is_enabled()
    }

    /// The name given to the builder or to [`named`](ArenaPool::named).
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

/// An arena on loan from an [`ArenaPool`]; reset, and given back, when dropped.
///
/// Derefs to [`bumpalo::Bump`]. It is one pointer wide, `Send` and `'static`: it needs no lifetime,
/// may outlive its pool, and may be dropped on any thread, which it then serves next. An arena that
/// is dropped while its thread panics is freed instead; so is one whose pool is gone.
///
/// An allocation limit that is set on it ends with the request: see
/// [`set_allocation_limit`](Arena::set_allocation_limit).
///
/// # What the compiler refuses
/// Nothing that is allocated in an arena outlives it. Returning a reference:
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
/// Sending a reference to the arena to another thread, while the arena itself may go:
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
pub struct Arena(ByValue<Pooled<Region>>);

/// One pointer, for `Option<Arena>` as well.
const _: () = assert!(size_of::<Option<Arena>>() == size_of::<usize>());

impl Arena {
    /// Limits what this request may allocate to this many bytes altogether. The limit goes with the
    /// request; `None` lifts it before. Beyond it the `try_` methods return an error, and the others panic.
    ///
    /// The same whatever chunk the pool has left in the arena: a limit below that chunk puts the rest of
    /// it out of the request's reach, and no more than the limit is allocated beyond it. What the
    /// request has allocated before it set the limit counts. As in bumpalo, whole chunks count, so a request
    /// may meet the limit a little earlier. Costs no call of the allocator.
    ///
    /// Shadows [`Bump::set_allocation_limit`], which counts the pool's chunk as well, and does nothing when
    /// the limit is below that: do not set limits through a `&Bump`.
    /// [`allocation_limit`](Bump::allocation_limit) and [`allocated_bytes`](Bump::allocated_bytes) are
    /// bumpalo's. They count the pool's chunk, so the limit that is read may be larger than the one that was set.
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

impl Leave for Pooled<Region> {
    #[inline(always)]
    fn leave(mut self) {
        self.end();
        match self.settled() {
            Some(weight) => Pooled::give_back_clean(self, weight),
            None => drop(self),
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
