//! The cost of a request that makes 100 small allocations of mixed size: arenas from repool and
//! from its peers, and the same boxes and strings from malloc.
//!
//! As in `ratios`, all contenders run in one process, in turn, in many short rounds, and the order
//! changes from round to round. A ratio is taken within each round; the median is reported with
//! its quartiles.
//!
//! Usage: `cargo bench --bench arenas [-- ROUNDS [MICROSECONDS]]`: rounds (201), and the time of
//! one contender in one (300).

use bumpalo::Bump;
use repool::ArenaPool;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::{Barrier, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

const ALLOCATIONS: usize = 100;

/// Where the parts of a request come from.
trait Scratch {
    fn value<T: Copy + 'static>(&self, value: T) -> &T;
    fn text(&self, text: &str) -> &str;
}

/// [`parts`], compiled once per kind of arena, so that contenders with the same arena run the same
/// code and differ only in their pools.
#[inline(never)]
fn request(scratch: &impl Scratch) {
    parts(scratch);
}

/// Three structs and two strings in five, of 16 to 96 and 4 to 60 bytes: 3 KiB in total.
///
/// If it were inlined into a loop, it would be compiled differently in each; for bumpalo that makes
/// up to 8 %, which is more than the difference between the pools.
#[inline(always)]
fn parts(scratch: &impl Scratch) {
    static TEXT: &str = "the text that names and values are cut from, all sixty bytes";
    for n in 0..ALLOCATIONS / 5 {
        let n = black_box(n);
        black_box(scratch.value([n; 2]));
        black_box(scratch.text(&TEXT[..4 + n]));
        black_box(scratch.value([n; 4]));
        black_box(scratch.text(&TEXT[..60 - n]));
        black_box(scratch.value([n; 12]));
    }
}

impl Scratch for Bump {
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        self.alloc(value)
    }

    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        self.alloc_str(text)
    }
}

impl Scratch for bump_scope::BumpScope<'_> {
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        bump_scope::BumpBox::into_ref(self.alloc(value))
    }

    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        bump_scope::BumpBox::into_ref(self.alloc_str(text))
    }
}

impl Scratch for blink_alloc::Blink<&blink_alloc::BlinkAlloc> {
    #[inline(always)]
    fn value<T: Copy + 'static>(&self, value: T) -> &T {
        self.put_no_drop(value)
    }

    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        self.copy_str(text)
    }
}

/// Boxes and strings, freed one by one at the end, in the order of their creation.
struct Boxes<A: GlobalAlloc + 'static> {
    allocator: &'static A,
    owned: RefCell<Vec<(*mut u8, Layout)>>,
}

impl<A: GlobalAlloc> Boxes<A> {
    #[inline(always)]
    fn place(&self, layout: Layout) -> *mut u8 {
        // SAFETY: no layout here is of size zero.
        let at = unsafe { self.allocator.alloc(layout) };
        assert!(!at.is_null());
        self.owned.borrow_mut().push((at, layout));
        at
    }
}

impl<A: GlobalAlloc> Scratch for Boxes<A> {
    #[inline(always)]
    fn value<T: Copy>(&self, value: T) -> &T {
        let at = self.place(Layout::new::<T>()).cast::<T>();
        // SAFETY: fresh, and with the layout of `T`.
        unsafe { at.write(value) };
        // SAFETY: written just now, and freed after its last use.
        unsafe { &*at }
    }

    #[inline(always)]
    fn text(&self, text: &str) -> &str {
        let layout = Layout::for_value(text);
        let at = self.place(layout);
        // SAFETY: fresh, and of the text's length.
        unsafe { at.copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        // SAFETY: written just now.
        let bytes = unsafe { std::slice::from_raw_parts(at, text.len()) };
        // SAFETY: a copy of a text.
        unsafe { std::str::from_utf8_unchecked(bytes) }
    }
}

fn boxes<A: GlobalAlloc>(allocator: &'static A, n: u64) {
    // The list is created once: only the boxes are measured.
    let scratch = Boxes {
        allocator,
        owned: RefCell::new(Vec::with_capacity(ALLOCATIONS)),
    };
    for _ in 0..n {
        request(&scratch);
        for (at, layout) in scratch.owned.borrow_mut().drain(..) {
            // SAFETY: from this allocator, with this layout, freed once.
            unsafe { allocator.dealloc(at, layout) };
        }
    }
}

static REPOOL: ArenaPool = ArenaPool::new();

#[inline(never)]
fn repool(n: u64) {
    for _ in 0..n {
        request(&*REPOOL.get());
    }
}

thread_local! {
    static FLOOR: RefCell<Bump> = RefCell::new(Bump::with_capacity(16 << 10));
}

#[inline(never)]
fn thread_local_bump(n: u64) {
    for _ in 0..n {
        FLOOR.with_borrow_mut(|bump| {
            request(bump);
            bump.reset();
        });
    }
}

#[inline(never)]
fn repool_inlined(n: u64) {
    for _ in 0..n {
        parts(&*REPOOL.get());
    }
}

/// Without any pool: what exceeds this is the price of the pool.
#[inline(never)]
fn own_bump(n: u64) {
    let mut bump = Bump::with_capacity(16 << 10);
    for _ in 0..n {
        request(&bump);
        bump.reset();
    }
}

/// The same for bump-scope: the two arenas also differ in price.
#[inline(never)]
fn own_bump_scope(n: u64) {
    let mut bump = bump_scope::Bump::<bump_scope::alloc::Global>::with_size(16 << 10);
    for _ in 0..n {
        bump.scoped(|scope| request(scope));
    }
}

#[inline(never)]
fn own_bump_inlined(n: u64) {
    let mut bump = Bump::with_capacity(16 << 10);
    for _ in 0..n {
        parts(&bump);
        bump.reset();
    }
}

#[inline(never)]
fn own_bump_scope_inlined(n: u64) {
    let mut bump = bump_scope::Bump::<bump_scope::alloc::Global>::with_size(16 << 10);
    for _ in 0..n {
        bump.scoped(|scope| parts(scope));
    }
}

#[inline(never)]
fn glibc(n: u64) {
    boxes(&System, n);
}

#[inline(never)]
fn mimalloc(n: u64) {
    boxes(&mimalloc::MiMalloc, n);
}

#[inline(never)]
fn object_pool(n: u64) {
    static POOL: LazyLock<object_pool::Pool<Bump>> =
        LazyLock::new(|| object_pool::Pool::new(8, || Bump::with_capacity(16 << 10)));
    for _ in 0..n {
        let mut bump = POOL.pull(|| Bump::with_capacity(16 << 10));
        request(&*bump);
        bump.reset();
    }
}

static BUMP_POOL: LazyLock<bump_scope::BumpPool> = LazyLock::new(bump_scope::BumpPool::new);

#[inline(never)]
fn bump_scope_pool(n: u64) {
    for _ in 0..n {
        BUMP_POOL
            .get_with_size(16 << 10)
            .scoped(|scope| request(scope));
    }
}

#[inline(never)]
fn bump_scope_pool_inlined(n: u64) {
    for _ in 0..n {
        BUMP_POOL
            .get_with_size(16 << 10)
            .scoped(|scope| parts(scope));
    }
}

#[inline(never)]
fn blink_cache(n: u64) {
    static CACHE: LazyLock<blink_alloc::BlinkAllocCache> =
        LazyLock::new(blink_alloc::BlinkAllocCache::new);
    for _ in 0..n {
        let mut alloc = CACHE.pop().unwrap_or_default();
        request(&blink_alloc::Blink::new_in(&alloc));
        alloc.reset();
        CACHE.push(alloc);
    }
}

#[inline(never)]
fn fresh_bump(n: u64) {
    for _ in 0..n {
        request(&Bump::with_capacity(16 << 10));
    }
}

type Loop = fn(u64);

const CONTENDERS: [(&str, Loop); 14] = [
    ("repool", repool),
    ("thread-local Bump, reset", thread_local_bump),
    ("glibc", glibc),
    ("mimalloc", mimalloc),
    ("object_pool<Bump>", object_pool),
    ("bump_scope::BumpPool, scoped", bump_scope_pool),
    ("blink-alloc's cache", blink_cache),
    ("a fresh Bump", fresh_bump),
    ("no pool: one Bump, reset", own_bump),
    ("no pool: one bump_scope::Bump, scoped", own_bump_scope),
    ("repool, inlined", repool_inlined),
    ("bump_scope::BumpPool, inlined", bump_scope_pool_inlined),
    ("one Bump, inlined", own_bump_inlined),
    ("one bump_scope::Bump, inlined", own_bump_scope_inlined),
];

/// The wanted ratio to the other for the same boxes and strings; for the others, below one.
const TARGETS: [f64; 8] = [1.0, 1.1, 0.35, 0.6, 1.0, 1.0, 1.0, 1.0];

/// Nanoseconds per request, for each of this many threads at the same time.
fn time(run: Loop, threads: usize, n: u64) -> f64 {
    let barrier = Barrier::new(threads);
    let one = || {
        run(n / 8 + 1);
        barrier.wait();
        let start = Instant::now();
        run(n);
        start.elapsed()
    };
    let slowest = if threads == 1 {
        one()
    } else {
        thread::scope(|scope| {
            let others: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
            let join = |other: thread::ScopedJoinHandle<'_, Duration>| {
                other.join().expect("no contender panics")
            };
            others.into_iter().map(join).max().unwrap_or_default()
        })
    };
    slowest.as_nanos() as f64 / n as f64
}

fn common_divisor(one: usize, other: usize) -> usize {
    if other == 0 {
        one
    } else {
        common_divisor(other, one % other)
    }
}

/// The median and the quartiles.
fn quartiles(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [0.25, 0.5, 0.75].map(|share| figures[(share * (figures.len() - 1) as f64).round() as usize])
}

/// Runs one contender on this thread, for callgrind: `arenas one NAME TIMES`.
fn only_one(name: &str, times: u64) {
    let (_, run) = CONTENDERS
        .iter()
        .find(|(known, _)| *known == name)
        .expect("the name of a contender");
    run(times);
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == "one") {
        let times = args[at + 2].parse().expect("a number of requests");
        return only_one(&args[at + 1], times);
    }
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|arg| arg.parse().ok())
        .collect();
    let rounds = numbers.first().copied().unwrap_or(201).max(1) as usize;
    let slice = Duration::from_micros(numbers.get(1).copied().unwrap_or(300));

    let cases: Vec<(usize, usize)> = [1, 2]
        .into_iter()
        .flat_map(|threads| (0..CONTENDERS.len()).map(move |at| (at, threads)))
        .collect();
    // Each figure starts two threads; that must not dominate it.
    let counts: Vec<u64> = cases
        .iter()
        .map(|&(at, threads)| {
            let once = time(CONTENDERS[at].1, threads, 500);
            (slice.as_nanos() as f64 / once * threads as f64).max(1.0) as u64
        })
        .collect();
    // Prime to the number of cases: each runs once per round, and follows each other one in turn.
    let steps: Vec<usize> = (1..cases.len())
        .filter(|&step| common_divisor(step, cases.len()) == 1)
        .collect();
    let mut times = vec![Vec::with_capacity(rounds); cases.len()];
    for round in 0..rounds {
        for turn in 0..cases.len() {
            let case = (round * 5 + turn * steps[round % steps.len()]) % cases.len();
            let (at, threads) = cases[case];
            times[case].push(time(CONTENDERS[at].1, threads, counts[case]));
        }
    }

    println!("{ALLOCATIONS} allocations of mixed size per request; {rounds} rounds\n");
    println!(
        "{:<48} {:>8} {:>17}",
        "ns per request and thread", "median", "quartiles"
    );
    for (case, (at, threads)) in cases.iter().enumerate() {
        let [low, median, high] = quartiles(times[case].clone());
        let name = format!("{}, {threads} threads", CONTENDERS[*at].0);
        println!(
            "{name:<48} {median:>8.0} {:>17}",
            format!("{low:.0} - {high:.0}")
        );
    }
    println!();
    let ratio = |name: &str, one: usize, other: usize, target: Option<f64>| {
        let ratios = times[one]
            .iter()
            .zip(&times[other])
            .map(|(one, other)| one / other);
        let [low, median, high] = quartiles(ratios.collect());
        let range = format!("{low:.3} - {high:.3}");
        let target = target.map_or(String::new(), |target| format!("  target <= {target}"));
        println!("{name:<48} {median:>8.3} {range:>17}{target}");
    };
    for threads in 0..2 {
        let first = threads * CONTENDERS.len();
        for (at, target) in TARGETS.iter().enumerate().skip(1) {
            let name = format!("repool / {}, {} threads", CONTENDERS[at].0, threads + 1);
            ratio(&name, first, first + at, Some(*target));
        }
        let threads = threads + 1;
        let name = format!("repool / no pool, {threads} threads");
        ratio(&name, first, first + 8, None);
        let name = format!("BumpPool / no pool, {threads} threads");
        ratio(&name, first + 5, first + 9, None);
        let name = format!("Bump / bump_scope::Bump, {threads} threads");
        ratio(&name, first + 8, first + 9, None);
        let name = format!("inlined: repool / BumpPool, {threads} threads");
        ratio(&name, first + 10, first + 11, None);
        let name = format!("inlined: Bump / bump_scope::Bump, {threads} threads");
        ratio(&name, first + 12, first + 13, None);
    }
    let second = CONTENDERS.len();
    ratio("repool, 2 threads / 1 thread", second, 0, Some(1.15));
    ratio(
        "thread-local Bump, 2 threads / 1 thread",
        second + 1,
        1,
        Some(1.15),
    );
    println!("\nrepool: {}", REPOOL.stats());
}
