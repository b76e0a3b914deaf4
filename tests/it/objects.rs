//! What a pool does with objects, on one thread.

use super::support::{Census, Tag, balanced, manual, n, panics};
use repool::{Pool, Pooled};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

#[test]
fn an_empty_pool_creates() {
    // A first get that finds garbage, or nothing.
    let census = Census::new();
    let pool = manual(census.create()).build();
    assert!(pool.try_get().is_none());
    assert_eq!(census.born(), 0);
    let guard = pool.get();
    assert_eq!((guard.id, census.born()), (0, 1));
    assert_eq!(pool.get().id, 1);
}

#[test]
fn what_was_put_comes_back_and_nothing_else() {
    // Objects lost or duplicated where lists fill up, turn over, or move to the depot.
    for k in [1, 2, 31, 32, 33, 63, 64, 65, 96, 97, n(1_000, 130)] {
        let census = Census::new();
        let pool = manual(census.create()).build();
        let mine: BTreeSet<usize> = (0..k)
            .map(|_| {
                let tag = census.tag();
                let id = tag.id;
                pool.put(tag);
                id
            })
            .collect();
        let all: Vec<Pooled<Tag>> = (0..k).map(|_| pool.get()).collect();
        assert_eq!(
            all.iter().map(|tag| tag.id).collect::<BTreeSet<_>>(),
            mine,
            "k = {k}"
        );
        assert_eq!(census.born(), k);
        assert!(pool.try_get().is_none());
        let fresh = pool.get();
        assert_eq!(fresh.id, k, "then it creates");
        assert_eq!(pool.stats().created, 1);
    }
}

#[test]
fn the_last_one_back_is_the_first_one_out() {
    // Reuse is last in, first out: the object that is still in the processor's cache.
    let census = Census::new();
    let pool = manual(census.create()).build();
    let (a, b) = (pool.get(), pool.get());
    let (first, last) = (a.id, b.id);
    drop(a);
    drop(b);
    let (b, a) = (pool.get(), pool.get());
    assert_eq!((b.id, a.id), (last, first));
}

#[test]
fn create_runs_only_on_a_miss() {
    // A pool that creates although it has an object, or miscounts.
    static CREATED: AtomicUsize = AtomicUsize::new(0);
    let pool: Pool<Vec<u8>> = manual(|| {
        CREATED.fetch_add(1, SeqCst);
        Vec::with_capacity(8)
    })
    .build();
    for round in 0..n(10_000, 50) {
        let held: Vec<_> = (0..1 + round % 5).map(|_| pool.get()).collect();
        drop(held);
    }
    assert_eq!(CREATED.load(SeqCst), 5);
    assert_eq!(pool.stats().created, 5);
    assert!(pool.try_get().is_some());
    assert_eq!(CREATED.load(SeqCst), 5, "try_get creates nothing");
}

#[test]
fn an_object_comes_out_as_its_reset_left_it() {
    // One user's state visible to the next. Inlined, called and custom resets.
    let bytes = manual(Vec::<u8>::new).build();
    let names = manual(Vec::<String>::new).build();
    let custom = manual(|| 0u32).reset(|n| {
        *n = 7;
        true
    });
    let custom = custom.build();
    for _ in 0..3 {
        let mut b = bytes.get();
        assert!(b.is_empty());
        b.extend_from_slice(b"secret");
        let mut s = names.get();
        assert!(s.is_empty());
        s.push("secret".to_owned());
        *custom.get() = 99;
        assert_eq!(*custom.get(), 7);
    }
    assert!(bytes.get().capacity() >= 6, "the allocation is kept");
    bytes.put(b"elsewhere".to_vec());
    assert!(bytes.get().is_empty(), "put resets first");
}

#[test]
fn what_an_object_referred_to_is_let_go_on_return() {
    // An idle object that keeps a user's data alive.
    let pool = manual(Vec::<Arc<()>>::new).build();
    let data = Arc::new(());
    pool.get().push(data.clone());
    assert_eq!(Arc::strong_count(&data), 1);
}

#[test]
fn every_standard_container_keeps_its_memory_and_loses_its_content() {
    // A `recycle` for std's types that forgets to clear, or that frees.
    macro_rules! check {
        ($Type:ty, $fill:expr, $keeps:expr) => {{
            let pool: Pool<$Type> = manual(<$Type>::default).build();
            let mut object = pool.get();
            #[allow(clippy::redundant_closure_call, reason = "a closure for each type")]
            ($fill)(&mut *object);
            drop(object);
            let object = pool.get();
            assert_eq!(*object, <$Type>::default(), stringify!($Type));
            drop(object);
            let heap = pool.stats().idle_bytes as usize - size_of::<$Type>();
            assert_eq!(heap > 0, $keeps, stringify!($Type));
        }};
    }
    check!(Vec<u8>, |v: &mut Vec<u8>| v.push(1), true);
    check!(Vec<u16>, |v: &mut Vec<u16>| v.push(1), true);
    check!(Vec<f64>, |v: &mut Vec<f64>| v.push(1.0), true);
    check!(Vec<char>, |v: &mut Vec<char>| v.push('a'), true);
    check!(Vec<[u8; 3]>, |v: &mut Vec<[u8; 3]>| v.push([1; 3]), true);
    check!(String, |s: &mut String| s.push('a'), true);
    check!(VecDeque<u8>, |v: &mut VecDeque<u8>| v.push_back(1), true);
    check!(
        std::ffi::OsString,
        |s: &mut std::ffi::OsString| s.push("a"),
        true
    );
    check!(
        std::path::PathBuf,
        |s: &mut std::path::PathBuf| s.push("a"),
        true
    );
    check!(HashMap<u8, u8>, |m: &mut HashMap<u8, u8>| assert!(m.insert(1, 1).is_none()), true);
    check!(
        HashSet<u8>,
        |m: &mut HashSet<u8>| assert!(m.insert(1)),
        true
    );
    check!(BTreeMap<u8, u8>, |m: &mut BTreeMap<u8, u8>| assert!(m.insert(1, 1).is_none()), false);
    check!(
        BTreeSet<u8>,
        |m: &mut BTreeSet<u8>| assert!(m.insert(1)),
        false
    );
    check!(
        LinkedList<u8>,
        |l: &mut LinkedList<u8>| l.push_back(1),
        false
    );
    check!(Cell<u8>, |c: &mut Cell<u8>| c.set(1), false);
    check!(Duration, |d: &mut Duration| *d = Duration::MAX, false);
    check!(Box<Vec<u8>>, |b: &mut Box<Vec<u8>>| b.push(1), true);
    check!(Option<Vec<u8>>, |_: &mut Option<Vec<u8>>| (), false);
    check!([Vec<u8>; 2], |a: &mut [Vec<u8>; 2]| a[1].push(1), true);
    check!(
        (Vec<u8>, String),
        |t: &mut (Vec<u8>, String)| t.1.push('a'),
        true
    );

    let slices: Pool<Box<[u8]>> = manual(|| Box::from([0; 100])).build();
    slices.get()[99] = 1;
    assert_eq!(
        (&**slices.get(), slices.stats().created),
        (&[0; 100][..], 1)
    );
    assert_eq!(
        slices.stats().idle_bytes as usize,
        100 + size_of::<Box<[u8]>>()
    );
    let heaps: Pool<BinaryHeap<u8>> = manual(BinaryHeap::new).build();
    heaps.get().push(1);
    assert!(heaps.get().is_empty() && heaps.get().capacity() > 0);
    let options: Pool<Option<String>> = manual(|| None).build();
    *options.get() = Some("abc".to_owned());
    assert_eq!((&*options.get(), options.stats().created), (&None, 1));
}

#[test]
fn an_attached_value_goes_to_the_pool_when_it_is_dropped() {
    let pool = manual(Vec::<u8>::new).build();
    let guard = pool.attach(vec![1, 2, 3]);
    assert_eq!(guard, [1, 2, 3], "not reset before its use");
    assert_eq!((pool.stats().adopted, pool.stats().in_use), (1, 1));
    drop(guard);
    assert!(pool.get().is_empty() && pool.get().capacity() >= 3);
    assert_eq!(pool.stats().created, 0);
    balanced(&pool.stats());
}

#[test]
fn what_the_caller_makes_counts_as_a_miss() {
    let census = Census::new();
    let pool = manual(census.create()).build();
    drop(pool.get_or_else(|| census.tag()));
    let guard = pool.get_or_else(|| unreachable!("one is idle"));
    assert_eq!((census.born(), pool.stats().created), (1, 1));
    let failed = pool.try_get_with(|| Err::<Tag, _>("no memory"));
    assert_eq!(failed.err(), Some("no memory"));
    census.agrees_with(&pool.stats(), 1);
    drop(pool.try_get_with(|| Ok::<_, ()>(census.tag())));
    assert_eq!((pool.stats().created, pool.stats().idle), (2, 1));
    drop(guard);
    let _ = pool.clear();
    assert_eq!(
        panics(|| drop(pool.get_or_else(|| panic!("while it is made")))),
        "while it is made"
    );
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn a_discarded_guard_is_discarded_and_not_taken() {
    // `into_inner` and a drop counted as taken.
    let census = Census::new();
    let pool = manual(census.create()).build();
    Pooled::discard(pool.get());
    drop(pool.get());
    Pooled::discard(pool.get());
    let stats = pool.stats();
    assert_eq!((stats.taken, stats.discarded_by.user), (0, 2));
    assert_eq!(census.alive(), 0);
    census.agrees_with(&stats, 0);
}

#[test]
fn a_pool_says_whether_it_is_switched_on() {
    let pool: Pool<String> = Pool::new(String::new);
    assert!(pool.is_enabled(), "before its first use");
    pool.set_enabled(false);
    assert!(!pool.is_enabled());
    assert_eq!(
        format!("{pool:?}"),
        "Pool { name: None, enabled: false, .. }"
    );
    pool.set_enabled(true);
    assert!(pool.is_enabled());
}

#[test]
fn a_foreign_type_sits_in_a_static_with_its_reset() {
    // `zstd::CCtx` and `flate2::Compress` needed a `LazyLock`.
    struct Foreign(u32);
    static POOL: Pool<Foreign> = Pool::with_reset(
        || Foreign(1),
        |foreign| {
            foreign.0 += 1;
            foreign.0 < 4
        },
    );
    static BYTES: Pool<Vec<u8>> = Pool::with_reset(Vec::new, |bytes| {
        bytes.truncate(1);
        true
    });
    for expected in [1, 2, 3, 1] {
        assert_eq!(POOL.get().0, expected);
    }
    let stats = POOL.stats();
    assert_eq!((stats.created, stats.discarded_by.reset), (2, 1));
    BYTES.get().extend([7; 10]);
    assert_eq!(*BYTES.get(), [7], "not the type's own reset");
}

#[test]
fn a_reset_that_says_no_drops_the_object() {
    // An object declared broken that is handed out again.
    let census = Census::new();
    let pool = manual(census.create())
        .reset(|tag: &mut Tag| tag.id % 2 == 0)
        .build();
    for _ in 0..10 {
        let (a, b) = (pool.get(), pool.get());
        assert_ne!(a.id, b.id);
    }
    // Object 0 stays; every other get creates an odd or an even one; only even ones are ever
    // reused.
    let idle: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
    assert!(idle.iter().all(|tag| tag.id % 2 == 0));
    let stats = pool.stats();
    assert!(stats.discarded_by.reset > 0);
    assert_eq!(stats.discarded, stats.discarded_by.reset);
    census.agrees_with(&stats, idle.len());
}

#[test]
fn a_put_that_is_rejected_drops_the_value() {
    // With `put`: a value that was never in the pool must not get in without its reset.
    let census = Census::new();
    let pool = manual(census.create()).reset(|_| false).build();
    pool.put(census.tag());
    assert_eq!(census.died(), 1);
    assert!(pool.try_get().is_none());
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn an_emptied_pool_keeps_nothing_alive() {
    // A cleared or trimmed pool whose objects live on in some list.
    let data = Arc::new(());
    let maker = data.clone();
    let pool = manual(move || maker.clone()).reset(|_| true).build();
    let held: Vec<_> = (0..200).map(|_| pool.get()).collect();
    drop(held);
    assert_eq!(Arc::strong_count(&data), 202);
    assert_eq!(pool.clear().objects, 200);
    assert_eq!(Arc::strong_count(&data), 2);
    drop((0..200).map(|_| pool.get()).collect::<Vec<_>>());
    for _ in 0..3 {
        let _ = pool.trim();
    }
    assert_eq!(Arc::strong_count(&data), 2);
    drop(pool);
    assert_eq!(Arc::strong_count(&data), 1, "nor does its `create`");
}

#[test]
fn clear_drops_what_is_idle_and_only_that() {
    // For `clear`: N of N, not N - 1, and not the ones in use.
    let census = Census::new();
    let pool = manual(census.create()).build();
    for k in [0, 1, 32, 33, 100] {
        let before = census.died();
        let in_use: Vec<_> = (0..3).map(|_| pool.get()).collect();
        let idle: Vec<_> = (0..k).map(|_| pool.get()).collect();
        drop(idle);
        assert_eq!(pool.clear().objects, k);
        assert_eq!(census.died() - before, k as usize);
        assert_eq!(pool.clear().objects, 0);
        census.agrees_with(&pool.stats(), 3);
        drop(in_use);
        let _ = pool.clear();
    }
}

#[test]
fn into_inner_gives_the_object_away_for_good() {
    // An object that leaves the pool and is dropped by it as well.
    let census = Census::new();
    let pool = manual(census.create()).build();
    let tag = Pooled::into_inner(pool.get());
    assert_eq!(census.died(), 0);
    assert_eq!(pool.stats().taken, 1);
    assert!(pool.try_get().is_none());
    drop(pool);
    assert_eq!(census.died(), 0);
    drop(tag);
    assert_eq!(census.died(), 1);
}

#[test]
fn a_forgotten_guard_leaks_its_object_and_no_more() {
    // `mem::forget` is safe code: counts must not depend on guards being dropped. (The object is
    // retrieved at the end, so that leak checkers stay silent.)
    let census = Census::new();
    let pool = manual(census.create()).build();
    let mut guard = std::mem::ManuallyDrop::new(pool.get());
    drop(pool.get());
    assert_eq!(pool.clear().objects, 1);
    census.agrees_with(&pool.stats(), 1);
    drop(pool);
    assert_eq!(census.alive(), 1);
    // SAFETY: not dropped before, not used after.
    unsafe { std::mem::ManuallyDrop::drop(&mut guard) };
    assert_eq!(census.alive(), 0);
}

#[test]
fn zero_sized_objects_are_pooled_like_others() {
    // The address of a zero-sized object says nothing; counts must.
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPS.fetch_add(1, SeqCst);
        }
    }
    let pool = manual(|| Nothing).reset(|_| true).build();
    drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
    drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!((pool.stats().created, DROPS.load(SeqCst)), (100, 0));
    let out = Pooled::into_inner(pool.get());
    drop(pool);
    assert_eq!(DROPS.load(SeqCst), 99);
    drop(out);
    assert_eq!(DROPS.load(SeqCst), 100);
}

#[test]
fn over_aligned_objects_stay_aligned() {
    // Nodes laid out by hand that forget the object's alignment.
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let pool = manual(|| Page([3; 4096])).reset(|_| true).build();
    for _ in 0..3 {
        let held: Vec<_> = (0..40).map(|_| pool.get()).collect();
        for page in &held {
            assert_eq!((&raw const **page).addr() % 4096, 0);
            let step = if cfg!(miri) { 1_365 } else { 1 };
            assert!(page.0.iter().step_by(step).all(|&byte| byte == 3));
        }
        drop(held);
    }
    assert_eq!(pool.stats().created, 40);
    assert_eq!(Pooled::into_inner(pool.get()).0[4095], 3);
}

#[test]
fn huge_objects_are_handed_over_in_place() {
    // A `T` of 1 MiB that passes through the stack more often than `create` does.
    const MIB: usize = if cfg!(miri) { 1 << 12 } else { 1 << 20 };
    struct Huge([u8; MIB]);
    let run = || {
        let pool = manual(|| Huge([0; MIB])).reset(|_| true).build();
        let mut guard = pool.get();
        guard.0[MIB - 1] = 9;
        let address = (&raw const *guard).addr();
        drop(guard);
        let guard = pool.get();
        assert_eq!((&raw const *guard).addr(), address);
        assert_eq!(guard.0[MIB - 1], 9);
    };
    let stack = std::thread::Builder::new().stack_size(16 << 20);
    stack
        .spawn(run)
        .expect("a thread")
        .join()
        .expect("no overflow");
}

#[test]
fn an_object_does_not_move_while_it_is_pooled() {
    // This makes huge objects free to pool: their address is that of the node.
    let pool = manual(|| [0u64; 16]).reset(|_| true).build();
    let guard = pool.get();
    let address = (&raw const *guard).addr();
    let guard = Box::new(guard); // moving the guard does not move the object
    assert_eq!((&raw const **guard).addr(), address);
}

#[test]
fn a_pool_works_in_a_static_an_arc_and_a_struct_and_after_a_move() {
    // A core that points back at its handle.
    static POOL: Pool<Vec<u8>> = Pool::new(Vec::new);
    struct Server {
        pool: Pool<Vec<u8>>,
    }
    fn use_it(pool: &Pool<Vec<u8>>) {
        pool.get().push(1);
        assert!(pool.get().is_empty());
        balanced(&pool.stats());
        assert_eq!(pool.stats().created, 1);
    }
    use_it(&POOL);
    use_it(&Arc::new(Pool::new(Vec::new)));

    let mut server = Server {
        pool: Pool::new(Vec::new),
    };
    use_it(&server.pool);
    let early = server.pool.get();
    let moved = Box::new(server); // with a guard out, and after its first use
    drop(early);
    use_it(&moved.pool);
    server = *moved;
    let mut others = vec![server.pool];
    others.reserve(100);
    use_it(&others[0]);
    use_it(&std::mem::replace(&mut others[0], Pool::new(Vec::new)));
}

#[test]
fn limit_zero_means_no_pooling_and_everything_works() {
    // A limit of zero that divides by it, or keeps one object.
    for pool in [
        manual(|| vec![0u8; 8]).max_idle(0).build(),
        manual(|| vec![0u8; 8]).max_idle_bytes(0).build(),
        manual(|| vec![0u8; 8]).max_object_bytes(0).build(),
    ] {
        drop((0..50).map(|_| pool.get()).collect::<Vec<_>>());
        pool.put(vec![1; 8]);
        assert!(pool.try_get().is_none());
        assert_eq!(Pooled::into_inner(pool.get()).len(), 8);
        assert_eq!(pool.trim().objects + pool.clear().objects, 0);
        let stats = pool.stats();
        balanced(&stats);
        assert_eq!((stats.idle, stats.reused, stats.created), (0, 0, 51));
    }
}

#[test]
fn switched_off_every_get_creates_and_every_drop_drops() {
    // An A/B run that still measures a little pooling.
    let census = Census::new();
    let pool = manual(census.create()).build();
    drop(pool.get());
    pool.set_enabled(false);
    for round in 1..=10 {
        let guard = pool.get();
        assert_eq!(guard.id, round);
        drop(guard);
        assert_eq!(census.died(), round);
    }
    pool.put(census.tag());
    assert!(pool.try_get().is_none());
    let stats = pool.stats();
    assert_eq!(
        (stats.idle, stats.reused),
        (1, 0),
        "what is idle stays until `clear`"
    );
    assert_eq!(stats.discarded_by.switched_off, 11);
    census.agrees_with(&stats, 0);

    let across = pool.get();
    pool.set_enabled(true);
    drop(across);
    assert_eq!(pool.stats().idle, 1, "what was made while it was off goes");
    drop((0..20).map(|_| pool.get()).collect::<Vec<_>>());
    drop((0..20).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(pool.stats().idle, 20, "switched on, it pools again");
    pool.set_enabled(false);
    assert_eq!(pool.clear().objects, 20);
    census.agrees_with(&pool.stats(), 0);
}

#[test]
fn a_pool_can_be_switched_off_before_its_first_use() {
    // `set_enabled` on a pool in a static that has no core yet.
    static POOL: Pool<String> = Pool::new(String::new);
    POOL.set_enabled(false);
    drop(POOL.get());
    drop(POOL.get());
    assert_eq!((POOL.stats().created, POOL.stats().idle), (2, 0));
    POOL.set_enabled(true);
    drop(POOL.get());
    assert_eq!(POOL.stats().idle, 1);
}

#[test]
fn an_unused_pool_answers_everything() {
    // `trim`, `clear`, `stats` and the drop of a pool that was never used.
    static POOL: Pool<String> = Pool::new(String::new);
    for pool in [&POOL, &Pool::new(String::new), &manual(String::new).build()] {
        assert_eq!(pool.trim(), repool::Trimmed::default());
        assert_eq!(pool.clear(), repool::Trimmed::default());
        assert_eq!(pool.stats(), repool::Stats::default());
        assert_eq!(pool.name(), None);
        assert!(pool.try_get().is_none());
    }
}
