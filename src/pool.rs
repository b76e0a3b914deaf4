//! [`Pool`] and [`Builder`]: what users call, and the typed part of a core.

use crate::budget::Budget;
use crate::core::{Core, Directory, VTable};
use crate::guard::Pooled;
use crate::limits::Limits;
use crate::node::Link;
use crate::recycle::{Recycle, is_inlined, known_weight};
use crate::stats::{Stats, Trimmed};
use crate::sync::{AtomicPtr, Ordering};
use crate::trim::{self, Level};
use crate::{fence, janitor, thread};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::time::Duration;

/// Reusable objects of one type, with a cache per thread.
///
/// [`get`](Pool::get) hands out an idle object, or makes one; dropping the [`Pooled`] guard resets
/// the object and gives it back. A hit touches only the calling thread's cache: no lock, no atomic
/// read-modify-write, no fence instruction, no allocation.
///
/// Pools work in a `static`, in a struct, in an `Arc`. A pool that nobody has used holds no memory
/// outside itself. Dropping a pool drops its idle objects; guards that are still out drop theirs
/// when they go.
///
/// # When not to pool
/// An object that is cheap to make (a small `Vec` that a modern allocator hands out in some
/// nanoseconds), or one that can simply stay in a local variable, is better left alone. Measure:
/// [`set_enabled`](Pool::set_enabled) switches pooling off at run time.
///
/// # Examples
/// ```
/// use repool::Pool;
///
/// static BUFS: Pool<Vec<u8>> = Pool::new(Vec::new);
///
/// let mut buf = BUFS.get();
/// buf.extend_from_slice(b"hello");
/// assert_eq!(buf.len(), 5);
/// drop(buf); // cleared, and kept with its capacity
/// assert!(BUFS.get().is_empty());
/// ```
///
/// `T` has to be `Send`, because an object may serve any thread next; it need not be `Sync`:
/// ```
/// use repool::Pool;
/// use std::cell::Cell;
/// fn shared<S: Send + Sync>(_: &S) {}
/// shared(&Pool::<Cell<u8>>::builder(|| Cell::new(0)).reset(|_| true).build());
/// ```
/// ```compile_fail
/// use repool::Pool;
/// use std::rc::Rc;
/// let pool = Pool::<Rc<u8>>::builder(|| Rc::new(0)).reset(|_| true).build();
/// ```
pub struct Pool<T: Send + 'static> {
    /// The core, or [`NOWHERE`] before the first use.
    core: AtomicPtr<Core>,
    /// How to make the core; used once.
    plan: Plan<T>,
    object: PhantomData<fn() -> T>,
}

/// What the first use of a `const` pool makes its core from.
struct Plan<T> {
    create: Option<fn() -> T>,
    reset: Option<Reset<T>>,
}

/// Stands in for the directory of a pool that has no core yet: every lookup finds nothing.
static NOWHERE: Directory = Directory::EMPTY;

impl<T: Send> UnwindSafe for Pool<T> {}
impl<T: Send> RefUnwindSafe for Pool<T> {}

impl<T: Recycle + Send + 'static> Pool<T> {
    /// A pool that makes objects with `create` and resets them with [`Recycle`].
    ///
    /// `const`, so it works in a `static`. Nothing is allocated before the first use. For limits,
    /// or a `create` that captures something, use [`Pool::builder`].
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// static LINES: Pool<String> = Pool::new(|| String::with_capacity(256));
    /// assert!(LINES.get().capacity() >= 256);
    /// ```
    pub const fn new(create: fn() -> T) -> Self {
        Self {
            core: AtomicPtr::new((&raw const NOWHERE).cast::<Core>().cast_mut()),
            plan: Plan {
                create: Some(create),
                reset: Some(own_reset::<T>),
            },
            object: PhantomData,
        }
    }
}

impl<T: Send + 'static> Pool<T> {
    /// A pool with settings: limits, a reset of its own, a name.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// let pool = Pool::builder(|| Vec::<u8>::with_capacity(4096))
    ///     .name("frames")
    ///     .max_idle(1_000)
    ///     .max_object_bytes(1 << 20)
    ///     .build();
    /// assert!(pool.get().capacity() >= 4096);
    /// ```
    pub fn builder(create: impl Fn() -> T + Send + Sync + 'static) -> Builder<T> {
        Builder {
            create: Box::new(create),
            reset: OwnReset,
            weigh: None,
            on_pass: None,
            settings: Settings::default(),
        }
    }

    /// An idle object, or a new one.
    ///
    /// A hit costs some nanoseconds and touches nothing shared. A miss looks at the depot, which
    /// is one lock per batch of objects, and then calls `create`.
    ///
    /// # Panics
    /// When `create` does; the pool goes on.
    #[inline]
    pub fn get(&self) -> Pooled<T> {
        match NonNull::new(self.hit()) {
            // SAFETY: a node of this pool, taken from this thread's cache.
            Some(link) => unsafe { Pooled::from_link(link) },
            None => self.get_slow(),
        }
    }

    /// An idle object, if there is one in reach: in this thread's cache or in the depot.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// assert!(pool.try_get().is_none());
    /// pool.put(String::from("from elsewhere"));
    /// assert_eq!(*pool.try_get().unwrap(), "");
    /// ```
    #[inline]
    pub fn try_get(&self) -> Option<Pooled<T>> {
        let mut link = self.hit();
        if link.is_null() {
            link = self.take_slow();
        }
        // SAFETY: a node of this pool, taken from a cache or the depot.
        NonNull::new(link).map(|link| unsafe { Pooled::from_link(link) })
    }

    /// Gives the pool a value that was made elsewhere. It is reset first, as if a guard had been
    /// dropped.
    pub fn put(&self, value: T) {
        let core = self.core();
        core.counters.adopted();
        // SAFETY: the core of this pool is the head of a `Shell<T>`.
        drop(unsafe { Shell::<T>::guard(core, || value) });
    }

    /// Runs one trim pass, and says what it dropped.
    ///
    /// A pass moves the objects of threads that did not use the pool since the last pass to where
    /// other threads can get them, and drops what nobody needed during the last two intervals,
    /// coldest first. So the first pass after a burst drops nothing, a steady load never has to
    /// make anything again, and an idle pool is empty after three.
    ///
    /// Destructors run on the calling thread, with nothing locked; if one panics, the panic goes on
    /// when all are gone.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// drop(pool.get());
    /// assert_eq!(pool.trim().objects, 0);
    /// assert_eq!(pool.trim().objects, 0);
    /// assert_eq!(pool.trim().objects, 1);
    /// ```
    pub fn trim(&self) -> Trimmed {
        self.trim_under(Level::None)
    }

    /// Runs one trim pass by the rule for this level of memory pressure: at [`Level::Some`] what
    /// was not needed for one interval goes, at [`Level::High`] everything idle goes at once.
    pub fn trim_under(&self, level: Level) -> Trimmed {
        self.core_if_used()
            .map(|core| trim::pass(core, level))
            .unwrap_or_default()
    }

    /// Drops every idle object, in every thread's cache and in the depot, and says what it was.
    ///
    /// Objects that are in use stay so. Destructors run on the calling thread; if one panics, the
    /// panic goes on when all are gone.
    pub fn clear(&self) -> Trimmed {
        let Some(core) = self.core_if_used() else {
            return Trimmed::default();
        };
        core.clear()
    }

    /// What the pool has done and holds. Cheap enough for once a second: it adds up the figures
    /// of each thread's cache.
    pub fn stats(&self) -> Stats {
        self.core_if_used().map(Stats::of).unwrap_or_default()
    }

    /// Switches pooling off and on. Off, every get creates and every drop drops, by the same
    /// calls, for comparing runs with and without. What is idle stays until `clear`.
    ///
    /// # Examples
    /// ```
    /// # use repool::Pool;
    /// let pool: Pool<String> = Pool::new(String::new);
    /// pool.set_enabled(false);
    /// drop(pool.get());
    /// drop(pool.get());
    /// assert_eq!(pool.stats().created, 2);
    /// ```
    pub fn set_enabled(&self, on: bool) {
        self.core().set_enabled(on);
    }

    /// The name given to the builder.
    pub fn name(&self) -> Option<&str> {
        self.core_if_used()?.name.as_deref()
    }

    // ---------------------------------------------------------------- inside

    /// The hit path of a get: this thread's place, its cache, the top object. Null: slow path.
    #[inline(always)]
    fn hit(&self) -> *mut Link {
        // Acquire: pairs with the Release in `core_slow`.
        let core = self.core.load(Ordering::Acquire);
        // SAFETY: `NOWHERE`, or a core, whose head is its directory; the pool keeps it.
        let directory = unsafe { &*core.cast::<Directory>() };
        let cache = thread::place(|place| directory.cache_at(place));
        if cache.is_null() {
            return ptr::null_mut();
        }
        // SAFETY: caches live as long as their core, which the pool keeps.
        let cache = unsafe { &*cache };
        // SAFETY: I3: the cache of this thread's place; threads with a place have the barrier that
        // makes `light` their half of the fence.
        unsafe { cache.pop(fence::light) }
    }

    #[cold]
    #[inline(never)]
    fn get_slow(&self) -> Pooled<T> {
        let core = self.core();
        if let Some(link) = NonNull::new(core.take(thread::number())) {
            // SAFETY: a node of this pool, just taken.
            return unsafe { Pooled::from_link(link) };
        }
        // SAFETY: the core of this pool is the head of a `Shell<T>`.
        unsafe { Shell::<T>::create(core) }
    }

    #[cold]
    #[inline(never)]
    fn take_slow(&self) -> *mut Link {
        self.core_if_used()
            .map_or(ptr::null_mut(), |core| core.take(thread::number()))
    }

    fn core_if_used(&self) -> Option<&Core> {
        // Acquire: pairs with the Release in `core_slow`.
        let core = self.core.load(Ordering::Acquire);
        // SAFETY: not the stand-in, so a core, which the pool keeps.
        (!is_nowhere(core)).then(|| unsafe { &*core })
    }

    fn core(&self) -> &Core {
        match self.core_if_used() {
            Some(core) => core,
            None => self.core_slow(),
        }
    }

    #[cold]
    fn core_slow(&self) -> &Core {
        let (Some(create), Some(reset)) = (self.plan.create, self.plan.reset) else {
            unreachable!("a pool from the builder has its core");
        };
        let payload = Payload {
            create: Create::Plain(create),
            reset,
            custom: None,
            on_pass: None,
        };
        let fresh = Shell::allocate(payload, Settings::default());
        let nowhere = (&raw const NOWHERE).cast::<Core>().cast_mut();
        // Release: pairs with the Acquire wherever the core is read. Acquire: the other's core.
        let core =
            match self
                .core
                .compare_exchange(nowhere, fresh, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => fresh,
                Err(first) => {
                    // SAFETY: fresh, so this is its only reference.
                    unsafe { Core::release(fresh) };
                    first
                }
            };
        // SAFETY: a core, which the pool keeps.
        unsafe { &*core }
    }
}

impl<T: Send + 'static> Drop for Pool<T> {
    fn drop(&mut self) {
        let core = *self.core.get_mut();
        if is_nowhere(core) {
            return;
        }
        // A destructor of an idle object may panic: the reference goes all the same.
        let handle = Handle(core);
        // SAFETY: the handle keeps the core.
        unsafe { (*handle.0).close() };
    }
}

/// The pool's own reference to its core.
struct Handle(*const Core);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pool's reference, given up once.
        unsafe { Core::release(self.0) };
    }
}

impl<T: Send> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("name", &self.name())
            .field("stats", &self.stats())
            .finish()
    }
}

fn is_nowhere(core: *const Core) -> bool {
    ptr::eq(core.cast(), &raw const NOWHERE)
}

/// Resets an object; its weight then, or [`DROP_IT`]. The core is the head of the `Shell<T>`.
type Reset<T> = unsafe fn(*const Core, &mut T) -> usize;

/// What a reset says of an object that is not to be kept.
pub(crate) const DROP_IT: usize = usize::MAX;

/// By [`Recycle`].
///
/// # Safety
/// None: it has the type of those that need the core.
unsafe fn own_reset<T: Recycle>(_core: *const Core, object: &mut T) -> usize {
    object.recycle();
    object.retained_bytes().min(DROP_IT - 1)
}

/// By the builder's closures.
///
/// # Safety
/// As [`Shell::payload`], of a pool that has them.
unsafe fn custom_reset<T: Send + 'static>(core: *const Core, object: &mut T) -> usize {
    // SAFETY: the caller's.
    let payload = unsafe { Shell::<T>::payload(core) };
    let Some(custom) = &payload.custom else {
        unreachable!("a reset of its own")
    };
    if (custom.reset)(object) {
        (custom.weigh)(object).min(DROP_IT - 1)
    } else {
        DROP_IT
    }
}

// -------------------------------------------------------------------- the typed core

/// The heap cell of an object. The untyped part is its head.
#[repr(C)]
pub(crate) struct Node<T> {
    link: Link,
    pub(crate) value: T,
}

impl<T: Send + 'static> Node<T> {
    /// Takes the value out and frees the node.
    ///
    /// # Safety
    /// The caller holds the node and gives it up.
    pub(crate) unsafe fn into_value(node: *mut Node<T>) -> T {
        // SAFETY: the caller holds the node.
        let core = unsafe { Link::core(node.cast()) };
        // SAFETY: the node keeps its core alive.
        unsafe { (*core).counters.taken() };
        let memory = NodeMemory { node, core };
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw const (*node).value };
        // SAFETY: the value is there, and the node is not used again: `memory` only frees it.
        let value = unsafe { value.read() };
        drop(memory);
        value
    }

    /// For the vtable.
    ///
    /// # Safety
    /// As [`Node::into_value`].
    unsafe fn drop_node(link: *mut Link) {
        let node = link.cast::<Node<T>>();
        // SAFETY: the caller holds the node.
        let core = unsafe { Link::core(link) };
        // Also when the destructor panics.
        let _memory = NodeMemory { node, core };
        // SAFETY: in bounds of the node.
        let value = unsafe { &raw mut (*node).value };
        // SAFETY: the value is there, and nobody else has the node.
        unsafe { ptr::drop_in_place(value) };
    }
}

/// Frees a node whose value is gone, then its reference to the core.
struct NodeMemory<T> {
    node: *mut Node<T>,
    core: *const Core,
}

impl<T> Drop for NodeMemory<T> {
    fn drop(&mut self) {
        // SAFETY: allocated as a box in `Shell::guard`, value gone.
        drop(unsafe { Box::from_raw(self.node.cast::<MaybeUninit<Node<T>>>()) });
        // SAFETY: the node's reference, given up with it.
        unsafe { Core::release(self.core) };
    }
}

/// A core with what it needs of its type; the core is its head.
#[repr(C)]
pub(crate) struct Shell<T: Send + 'static> {
    core: Core,
    payload: ManuallyDrop<Payload<T>>,
}

struct Payload<T> {
    reset: Reset<T>,
    custom: Option<Custom<T>>,
    create: Create<T>,
    on_pass: Option<OnPass>,
}

/// Runs at the start of each pass, with nothing held; `true` if it wants to see the next pass even
/// if nothing is idle.
pub(crate) type OnPass = Box<dyn Fn() -> bool + Send + Sync>;

enum Create<T> {
    Plain(fn() -> T),
    Boxed(Box<dyn Fn() -> T + Send + Sync>),
}

struct Custom<T> {
    reset: Box<dyn Fn(&mut T) -> bool + Send + Sync>,
    weigh: Weigh<T>,
}

type Weigh<T> = Box<dyn Fn(&T) -> usize + Send + Sync>;

impl<T: Send + 'static> Shell<T> {
    const VTABLE: &'static VTable = &VTable {
        drop_node: Node::<T>::drop_node,
        drop_payload: Self::drop_payload,
        on_pass: Self::on_pass,
        free: Self::free,
    };

    fn allocate(payload: Payload<T>, settings: Settings) -> *mut Core {
        // The hit path of a return would use the inlined reset.
        let slow_returns = payload.custom.is_some() && is_inlined::<T>();
        let limits = settings.limits();
        let interval = settings.interval;
        let core = Core::new(Self::VTABLE, settings.name, limits, slow_returns, interval);
        let shell = Box::new(Self {
            core,
            payload: ManuallyDrop::new(payload),
        });
        let core = Box::into_raw(shell).cast::<Core>();
        // SAFETY: fresh, and nobody else knows it.
        unsafe { Core::settle(core) };
        core
    }

    /// # Safety
    /// `core` is the head of a live `Shell<T>` whose payload is there: a strong reference is held.
    unsafe fn payload<'a>(core: *const Core) -> &'a Payload<T> {
        // SAFETY: the caller's.
        unsafe { &(*core.cast::<Self>()).payload }
    }

    /// Makes an object.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    unsafe fn create(core: &Core) -> Pooled<T> {
        // SAFETY: the caller's.
        let payload = unsafe { Self::payload(core.address()) };
        let guard = match &payload.create {
            // SAFETY: the caller's.
            Create::Plain(create) => unsafe { Self::guard(core, create) },
            // SAFETY: the caller's.
            Create::Boxed(create) => unsafe { Self::guard(core, create) },
        };
        core.counters.created();
        guard
    }

    /// A guard with a new node, whose value is written in place. `value` may panic.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    unsafe fn guard(core: &Core, value: impl FnOnce() -> T) -> Pooled<T> {
        let mut memory = Box::<Node<T>>::new_uninit();
        let node = memory.as_mut_ptr();
        // SAFETY: in bounds of the box.
        let slot = unsafe { &raw mut (*node).value };
        // SAFETY: as above; nothing is there yet.
        unsafe { slot.write(value()) };
        // SAFETY: in bounds of the box.
        let head = unsafe { &raw mut (*node).link };
        // SAFETY: as above; nothing is there yet.
        unsafe { head.write(Link::new(core.orphan())) };
        core.retain();
        // SAFETY: a box is not null.
        let link = unsafe { NonNull::new_unchecked(Box::into_raw(memory).cast::<Link>()) };
        // SAFETY: the head of a node that nobody else knows.
        unsafe { Pooled::from_link(link) }
    }

    /// Resets an object; its weight, or [`DROP_IT`]. User code: may panic.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    #[inline(always)]
    pub(crate) unsafe fn reset(core: *const Core, object: &mut T) -> usize {
        // SAFETY: the caller's.
        let reset = unsafe { Self::payload(core) }.reset;
        // SAFETY: the core is the head of the shell that this reset was put in.
        unsafe { reset(core, object) }
    }

    /// For the vtable.
    ///
    /// # Safety
    /// As [`Shell::payload`].
    unsafe fn on_pass(core: *const Core) -> bool {
        // SAFETY: the caller's.
        unsafe {
            Self::payload(core)
                .on_pass
                .as_ref()
                .is_some_and(|on_pass| on_pass())
        }
    }

    /// For the vtable.
    ///
    /// # Safety
    /// The last strong reference is gone.
    unsafe fn drop_payload(core: *const Core) {
        let shell = core.cast_mut().cast::<Self>();
        // SAFETY: alive, since the weak reference of the strong ones is held.
        let payload = unsafe { &mut (*shell).payload };
        // SAFETY: nobody calls the closures any more; they are dropped once.
        unsafe { ManuallyDrop::drop(payload) };
    }

    /// For the vtable.
    ///
    /// # Safety
    /// The last reference is gone, and the payload.
    unsafe fn free(core: *const Core) {
        // SAFETY: allocated as a box in `allocate`; the last reference is gone.
        let mut shell = unsafe { Box::from_raw(core.cast_mut().cast::<Self>()) };
        // SAFETY: nobody uses the caches any more.
        unsafe { shell.core.free_buckets() };
    }
}

// -------------------------------------------------------------------- the builder

#[derive(Debug)]
struct Settings {
    name: Option<Box<str>>,
    max_idle: usize,
    max_idle_bytes: usize,
    max_object_bytes: usize,
    budget: Option<Budget>,
    interval: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            max_idle: usize::MAX,
            max_idle_bytes: usize::MAX,
            max_object_bytes: usize::MAX,
            budget: None,
            interval: Some(janitor::INTERVAL),
        }
    }
}

impl Settings {
    fn limits(&self) -> Limits {
        let budget = self.budget.clone().or_else(Budget::default_for_pools);
        Limits::new(self.max_idle, self.max_idle_bytes, self.max_object_bytes).with_budget(budget)
    }
}

/// The reset is `T`'s own, by [`Recycle`].
#[derive(Debug, Clone, Copy)]
pub struct OwnReset;

/// The reset is a closure, set by [`Builder::reset`].
pub struct CustomReset<T>(Box<dyn Fn(&mut T) -> bool + Send + Sync>);

impl<T> fmt::Debug for CustomReset<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomReset(..)")
    }
}

/// Settings for a [`Pool`], from [`Pool::builder`].
///
/// `R` says whose reset the pool uses; only [`build`](Builder::build) looks at it.
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<T: Send + 'static, R = OwnReset> {
    create: Box<dyn Fn() -> T + Send + Sync>,
    reset: R,
    weigh: Option<Weigh<T>>,
    on_pass: Option<OnPass>,
    settings: Settings,
}

impl<T: Send, R: fmt::Debug> fmt::Debug for Builder<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("reset", &self.reset)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<T: Send + 'static, R> Builder<T, R> {
    /// A name for logs and statistics.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = Some(name.into().into_boxed_str());
        self
    }

    /// Resets objects with `reset` instead of [`Recycle`], for any `T: Send`. It runs when a guard
    /// is dropped; `false` drops the object.
    ///
    /// Costs two indirect calls on each return; for the types whose own reset is inlined (see
    /// [`Recycle`]), the slow path on each return as well.
    ///
    /// # Examples
    /// ```
    /// use repool::Pool;
    /// struct Parser { depth: u32, broken: bool }
    /// let pool = Pool::builder(|| Parser { depth: 0, broken: false })
    ///     .reset(|parser| {
    ///         parser.depth = 0;
    ///         !parser.broken
    ///     })
    ///     .build();
    /// pool.get().broken = true;
    /// assert_eq!(pool.stats().discarded_by.reset, 1);
    /// ```
    pub fn reset(
        self,
        reset: impl Fn(&mut T) -> bool + Send + Sync + 'static,
    ) -> Builder<T, CustomReset<T>> {
        Builder {
            create: self.create,
            reset: CustomReset(Box::new(reset)),
            weigh: self.weigh,
            on_pass: self.on_pass,
            settings: self.settings,
        }
    }

    /// For pools made of pools: see [`OnPass`].
    #[cfg_attr(
        not(any(feature = "bytes", feature = "bumpalo")),
        expect(dead_code, reason = "for buffers")
    )]
    pub(crate) fn on_pass(mut self, on_pass: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.on_pass = Some(Box::new(on_pass));
        self
    }

    /// How many objects the pool keeps idle at most, in all threads together. Default: no limit.
    ///
    /// Never exceeded. Threads take their share of it in advance, one object at first and at most
    /// two lists of 32, so a small limit and many threads may keep fewer than the limit. 0 means
    /// no pooling.
    pub fn max_idle(mut self, objects: usize) -> Self {
        self.settings.max_idle = objects;
        self
    }

    /// How many heap bytes the idle objects may hold together. Default: no limit.
    ///
    /// Never exceeded. A thread's share counts each object at the weight of the heaviest that it
    /// has lately returned, so mixed sizes may keep less than the limit. 0 keeps only objects
    /// without heap bytes.
    pub fn max_idle_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_idle_bytes = bytes;
        self
    }

    /// Counts what the pool keeps idle towards `budget`, which other pools may share. Default: the
    /// process-wide one, if there is one ([`Budget::set_default`]).
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.budget = Some(budget);
        self
    }

    /// Lets the janitor, a background thread, run a pass every `interval`. Default: every 5 s.
    ///
    /// Idle objects are gone after three passes: 15 s by default. Down to 10 ms is sensible; the
    /// thread wakes up that often while anything is idle, and not at all while nothing is.
    ///
    /// # Panics
    /// If `interval` is zero.
    pub fn trim_every(mut self, interval: Duration) -> Self {
        assert!(
            !interval.is_zero(),
            "the time between two trim passes must not be zero"
        );
        self.settings.interval = Some(interval);
        self
    }

    /// Leaves passes to you: call [`Pool::trim`] from a timer, a frame loop, an idle hook.
    pub fn trim_manually(mut self) -> Self {
        self.settings.interval = None;
        self
    }

    /// How many heap bytes one object may hold and still be kept. Default: no limit.
    ///
    /// This is what keeps one huge request from pinning its memory while small ones go on.
    pub fn max_object_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_object_bytes = bytes;
        self
    }
}

impl<T: Recycle + Send + 'static> Builder<T, OwnReset> {
    /// Makes the pool.
    pub fn build(self) -> Pool<T> {
        finish(
            Payload {
                reset: own_reset::<T>,
                custom: None,
                create: Create::Boxed(self.create),
                on_pass: self.on_pass,
            },
            self.settings,
        )
    }
}

impl<T: Send + 'static> Builder<T, CustomReset<T>> {
    /// What an object holds on the heap, for limits and statistics, as
    /// [`Recycle::retained_bytes`] does for pools without a reset of their own. Default: 0, except
    /// for the types whose reset is inlined (`Vec<u8>`, `String`), which are known.
    pub fn retained_bytes(mut self, weigh: impl Fn(&T) -> usize + Send + Sync + 'static) -> Self {
        self.weigh = Some(Box::new(weigh));
        self
    }

    /// Makes the pool.
    pub fn build(self) -> Pool<T> {
        let weigh = self.weigh.unwrap_or_else(|| Box::new(known_weight::<T>));
        finish(
            Payload {
                reset: custom_reset::<T>,
                custom: Some(Custom {
                    reset: self.reset.0,
                    weigh,
                }),
                create: Create::Boxed(self.create),
                on_pass: self.on_pass,
            },
            self.settings,
        )
    }
}

fn finish<T: Send + 'static>(payload: Payload<T>, settings: Settings) -> Pool<T> {
    Pool {
        core: AtomicPtr::new(Shell::allocate(payload, settings)),
        plan: Plan {
            create: None,
            reset: None,
        },
        object: PhantomData,
    }
}
