//! Pools with diagnostics: leak reports, chaos and determinism, for each kind of pool.
#![cfg(all(feature = "diagnostics", not(target_family = "wasm")))]

use repool::diagnostics::{Diagnostics, Leak, leaks};
use repool::{Budget, Builder, Pool, Pooled};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Barrier;
use std::thread;

/// How often; under Miri, `miri` times.
const fn n(full: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { full }
}

const NONE: Diagnostics = Diagnostics::new();

fn vectors(diagnostics: Diagnostics) -> Builder<Vec<u8>> {
    Pool::builder(|| Vec::with_capacity(64))
        .trim_manually()
        .diagnostics(diagnostics)
}

/// Returns the leaks of this pool only: tests run in parallel in one process.
fn leaks_of(pool: &str) -> Vec<Leak> {
    let mut all = leaks();
    all.retain(|leak| &*leak.pool == pool);
    all
}

/// Returns the number of guards of a pool that are out, by line.
fn lines(pool: &str) -> BTreeMap<u32, u64> {
    let all = leaks_of(pool);
    // This file, or one in the folder of its name.
    let here = file!().trim_end_matches(".rs");
    let mut files = all.iter().map(|leak| leak.site.file());
    assert!(files.all(|file| file.starts_with(here)), "{all:?}");
    let mut lines = BTreeMap::new();
    for leak in all {
        *lines.entry(leak.site.line()).or_insert(0) += leak.guards;
    }
    lines
}

/// The figures of a pool always add up.
fn adds_up<T: Send>(pool: &Pool<T>) {
    let stats = pool.stats();
    let went = stats.in_use + stats.idle + stats.discarded + stats.trimmed + stats.taken;
    assert_eq!(stats.created + stats.adopted, went, "{stats:?}");
}

// -------------------------------------------------------------------- leaks

#[test]
fn a_report_names_the_line_of_each_guard_that_is_out() {
    let pool = vectors(NONE.leaks(1)).name("report").build();
    assert_eq!(lines("report"), BTreeMap::new());
    let first = line!() + 1;
    let mut held: Vec<_> = (0..3).map(|_| pool.get()).collect();
    held.push(pool.get_or_else(Vec::new));
    held.push(pool.try_get_with(|| Ok::<_, ()>(Vec::new())).unwrap());
    held.push(pool.attach(Vec::new()));
    let expected = [(first, 3), (first + 1, 1), (first + 2, 1), (first + 3, 1)];
    assert_eq!(lines("report"), expected.into());
    let said = leaks_of("report")[0].to_string();
    let start = format!("report: 3 guards from {}:{first}:", file!());
    assert!(said.starts_with(&start), "{said}");
    // The same objects, got at a different place.
    held.clear();
    assert_eq!(lines("report"), BTreeMap::new());
    held.extend(pool.try_get());
    assert_eq!(lines("report"), [(line!() - 1, 1)].into());
    assert_eq!(pool.stats().in_use, 1);
}

#[test]
fn a_guard_that_ends_in_any_way_is_out_of_the_report() {
    let pool = vectors(NONE.leaks(1)).name("ends").max_idle(1).build();
    drop((pool.get(), pool.get())); // one is refused
    drop(Pooled::into_inner(pool.get()));
    Pooled::discard(pool.get());
    let held = pool.get();
    thread::spawn(move || drop(held)).join().unwrap();
    let held = pool.get();
    let panicked = thread::spawn(move || {
        let _held = held;
        panic!("expected");
    });
    assert!(panicked.join().is_err());
    pool.put(Vec::new());
    pool.set_enabled(false);
    drop(pool.get());
    assert_eq!(lines("ends"), BTreeMap::new());
    // And one that outlives its pool.
    let held = pool.get();
    drop(pool);
    assert_eq!(lines("ends"), [(line!() - 2, 1)].into());
    drop(held);
    assert_eq!(lines("ends"), BTreeMap::new());
}

#[test]
#[cfg_attr(miri, ignore = "leaks on purpose")]
fn a_forgotten_guard_stays_in_the_report() {
    let pool = vectors(NONE.leaks(1)).name("forgotten").build();
    std::mem::forget(pool.get());
    drop(pool);
    assert_eq!(lines("forgotten"), [(line!() - 2, 1)].into());
}

#[test]
fn one_in_so_many_gets_is_recorded() {
    let pool = vectors(NONE.leaks(10)).name("sampled").build();
    let held: Vec<_> = (0..1_000).map(|_| pool.get()).collect();
    assert_eq!(lines("sampled"), [(line!() - 1, 100)].into());
    drop(held);
    assert_eq!(lines("sampled"), BTreeMap::new());
}

#[test]
fn a_pool_without_diagnostics_leaves_no_record() {
    let pool = vectors(NONE).name("plain").build();
    let _held = pool.get();
    let named = vectors(NONE.chaos(1)).name("plain").build();
    let _other = named.get();
    assert_eq!(lines("plain"), BTreeMap::new());
}

#[test]
fn pools_without_a_name_are_called_by_their_type() {
    struct Unheard;
    let pool = Pool::builder(|| Unheard)
        .reset(|_| true)
        .diagnostics(NONE.leaks(1))
        .build();
    let _held = pool.get();
    let mut all = leaks();
    all.retain(|leak| leak.pool.ends_with("Unheard"));
    assert_eq!(all.len(), 1);
}

#[test]
fn many_threads_leave_no_record_behind() {
    let pool = vectors(NONE.leaks(1).chaos(3)).name("threads").build();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut held = Vec::new();
                for round in 0..n(2_000, 30) {
                    held.push(pool.get());
                    if round % 7 == 0 {
                        held.clear();
                    }
                }
            });
        }
    });
    assert_eq!(lines("threads"), BTreeMap::new());
    assert_eq!(pool.stats().in_use, 0);
    adds_up(&pool);
}

// -------------------------------------------------------------------- determinism

/// As many threads as share a static in a test binary, each with its own expectations.
#[test]
fn what_a_thread_gives_back_it_gets_next_and_no_other_thread_gets_it() {
    let pool = vectors(NONE.deterministic()).build();
    let barrier = Barrier::new(4);
    const LAST: usize = n(20, 5);
    thread::scope(|scope| {
        for thread in 1..=4 {
            let (pool, barrier) = (&pool, &barrier);
            scope.spawn(move || {
                // By capacity: a thread can tell its own objects from those of other threads, in
                // the order they came back.
                for round in 1..=LAST {
                    let all: Vec<_> = (0..round)
                        .map(|_| pool.get_or_else(|| Vec::with_capacity(1_000 * thread)))
                        .collect();
                    assert!(all.iter().all(|one| one.capacity() == 1_000 * thread));
                    barrier.wait();
                    let addresses: Vec<_> = all.iter().map(|one| one.as_ptr().addr()).collect();
                    drop(all);
                    barrier.wait();
                    let again: Vec<_> = (0..round).map(|_| pool.try_get().unwrap()).collect();
                    let mut last_first: Vec<_> =
                        again.iter().map(|one| one.as_ptr().addr()).collect();
                    last_first.reverse();
                    assert_eq!(last_first, addresses);
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!(
        (stats.created, stats.idle, stats.in_use),
        (4 * LAST as u64, 4 * LAST as u64, 0)
    );
    assert!(pool.try_get().is_none(), "this thread gave nothing back");
    adds_up(&pool);
}

/// The only idle object is the hottest one.
#[test]
fn a_single_object_is_reused() {
    for diagnostics in [NONE.leaks(1), NONE.deterministic()] {
        for limit in [1, usize::MAX] {
            let pool = vectors(diagnostics).max_idle(limit).build();
            let rounds = n(100, 10) as u64;
            for _ in 0..rounds {
                drop(pool.get());
            }
            let stats = pool.stats();
            let figures = (stats.created, stats.reused, stats.idle);
            assert_eq!(figures, (1, rounds - 1, 1));
            adds_up(&pool);
        }
        let pool = vectors(diagnostics).build();
        pool.put(Vec::with_capacity(7));
        assert!(pool.try_get().is_some());
    }
}

#[test]
fn an_object_belongs_to_the_thread_that_gave_it_back() {
    let pool = vectors(NONE.deterministic()).build();
    let held = pool.get();
    thread::scope(|scope| {
        scope.spawn(|| {
            drop(held);
            assert!(pool.try_get().is_some());
        });
    });
    assert!(pool.try_get().is_none());
    assert_eq!(pool.stats().idle, 1);
    assert_eq!(pool.clear().objects, 1);
}

/// The janitor's interval has passed many times before the last line.
#[test]
fn passes_of_a_deterministic_pool_are_the_users() {
    let pool = Pool::builder(String::new)
        .trim_every(std::time::Duration::from_millis(1))
        .diagnostics(NONE.deterministic())
        .build();
    drop(pool.get());
    thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!((pool.stats().idle, pool.stats().trimmed), (1, 0));
    let dropped: Vec<_> = (0..3).map(|_| pool.trim().objects).collect();
    assert_eq!(dropped, [0, 0, 1]);
}

#[test]
fn what_comes_back_last_is_kept_where_a_limit_refuses_one() {
    let of = |builder: Builder<Vec<u8>>| {
        let pool = builder.build();
        let (first, last) = (pool.get(), pool.get());
        let address = last.as_ptr();
        drop(first);
        drop(last);
        assert_eq!(pool.stats().idle, 1);
        assert_eq!(pool.get().as_ptr(), address);
        adds_up(&pool);
    };
    of(vectors(NONE.deterministic()).max_idle(1));
    of(vectors(NONE.deterministic()).max_idle_bytes(100));
    of(vectors(NONE.deterministic()).budget(Budget::new(100)));
}

#[test]
fn prefilled_objects_are_for_every_thread() {
    let pool = vectors(NONE.deterministic()).build();
    assert_eq!(pool.prefill(3), 3);
    thread::scope(|scope| {
        scope.spawn(|| assert!(pool.try_get().is_some()));
    });
    let all: Vec<_> = std::iter::from_fn(|| pool.try_get()).collect();
    assert_eq!(all.len(), 2, "the other thread has kept one");
}

// -------------------------------------------------------------------- chaos

/// Returns what a seed does to a program: which gets created, and which returns were dropped.
fn traced(diagnostics: Diagnostics) -> Vec<u64> {
    let pool = vectors(diagnostics).build();
    (0..n(200, 10))
        .flat_map(|round| {
            drop((0..round % 4 + 1).map(|_| pool.get()).collect::<Vec<_>>());
            [pool.stats().created, pool.stats().discarded_by.reset]
        })
        .collect()
}

#[test]
fn chaos_follows_from_its_seed() {
    assert_eq!(traced(NONE.chaos(5)), traced(NONE.chaos(5)));
    assert_ne!(traced(NONE.chaos(5)), traced(NONE.chaos(6)));
    let both = NONE.chaos(5).deterministic();
    assert_eq!(traced(both), traced(both));
    let calm = traced(NONE.deterministic());
    assert_eq!(calm[calm.len() - 2..], [4, 0]);
}

#[test]
#[cfg_attr(miri, ignore = "statistics of thousands of returns")]
fn a_quarter_of_returns_is_dropped_and_a_quarter_of_gets_finds_nothing() {
    let pool = vectors(NONE.chaos(11)).build();
    assert_eq!(pool.prefill(100), 100);
    for _ in 0..4_000 {
        drop(pool.get());
        if pool.stats().idle < 10 {
            pool.prefill(50);
        }
    }
    let stats = pool.stats();
    let dropped = stats.discarded_by.reset as f64 / 4_000.0;
    assert!((0.22..0.28).contains(&dropped), "{stats}");
    let missed = 1.0 - stats.reused as f64 / 4_000.0;
    assert!((0.22..0.28).contains(&missed), "{stats}");
    adds_up(&pool);
}

/// Code that relies on getting its own object back is found within a few rounds.
#[test]
fn chaos_finds_code_that_relies_on_getting_its_own_object_back() {
    let relies = |pool: &Pool<Vec<u8>>| {
        pool.get().reserve(5_000);
        pool.get().capacity() >= 5_000
    };
    let calm = vectors(NONE).build();
    assert!((0..100).all(|_| relies(&calm)));
    let wild = vectors(NONE.chaos(1)).build();
    assert!(!(0..10).all(|_| relies(&wild)));
}

#[test]
fn objects_change_threads_under_chaos() {
    let pool = vectors(NONE.chaos(2)).build();
    drop(
        (0..50)
            .map(|_| pool.get_or_else(|| Vec::with_capacity(999)))
            .collect::<Vec<_>>(),
    );
    let foreign = thread::scope(|scope| {
        let other = scope.spawn(|| (0..20).filter(|_| pool.get().capacity() == 999).count());
        other.join().unwrap()
    });
    assert!(foreign >= 5, "{foreign}");
}

/// Reads the memory behind the content, as code with a wrong `set_len` does.
fn behind(bytes: &mut Vec<u8>) -> Vec<u8> {
    let spare = bytes.spare_capacity_mut();
    // SAFETY: the memory was written by the test's last user of the object, and by the pool.
    let seen = spare.iter().map(|byte| unsafe { byte.assume_init() });
    seen.collect()
}

#[test]
fn spare_memory_has_nothing_of_the_last_user_under_chaos() {
    for (diagnostics, expected) in [(NONE, b's'), (NONE.chaos(4), 0xA5)] {
        let pool = vectors(diagnostics).build();
        for _ in 0..20 {
            pool.get().resize(64, b's');
            if let Some(mut bytes) = pool.try_get() {
                assert_eq!(behind(&mut bytes), [expected; 64]);
            }
        }
    }
}

// -------------------------------------------------------------------- which pools have diagnostics

#[test]
fn a_pool_gets_what_its_builder_its_name_or_the_process_say() {
    static NAMED: Pool<String> = Pool::named("by-name", String::new);
    static LATE: Pool<String> = Pool::named("by-name-late", String::new);
    drop(LATE.get());
    NONE.leaks(1).set_for("by-name");
    NONE.leaks(1).set_for("by-name-late");
    let held = (NAMED.get(), LATE.get());
    assert_eq!(lines("by-name"), [(line!() - 1, 1)].into());
    assert_eq!(lines("by-name-late"), BTreeMap::new(), "used before");
    drop(held);
    let own = vectors(NONE).name("by-name").build();
    let _held = own.get();
    assert_eq!(lines("by-name"), BTreeMap::new());
}

/// The child gets from each kind of pool, with and without names.
#[test]
#[ignore = "run by the next one, as a child"]
fn diagnostics_child() {
    static FRAMES: Pool<String> = Pool::named("frames", String::new);
    static LINES: Pool<String> = Pool::named("lines", String::new);
    static UNNAMED: Pool<String> = Pool::new(String::new);
    if std::env::var_os("SET_DEFAULT").is_some() {
        NONE.leaks(1).set_default();
    }
    let _held = [FRAMES.get(), LINES.get(), UNNAMED.get()];
    let mut said: Vec<_> = leaks().iter().map(|leak| leak.pool.to_string()).collect();
    said.sort();
    println!("recorded {}.", said.join(" "));
}

#[test]
#[cfg_attr(miri, ignore = "children of this binary")]
fn the_environment_and_the_process_say_which_pools_have_diagnostics() {
    let all = "alloc::string::String frames lines";
    for (environment, default, recorded, complaint) in [
        (None, false, "", false),
        (Some("leaks"), false, all, false),
        (Some("leaks:frames,other"), false, "frames", false),
        (Some("deterministic"), false, "", false),
        (Some("leaks=0"), false, "", true),
        (Some("leaks:frames"), true, all, false),
    ] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["diagnostics_child", "--exact", "--ignored", "--nocapture"]);
        child
            .env_remove("REPOOL_DIAGNOSTICS")
            .env_remove("SET_DEFAULT");
        if let Some(said) = environment {
            child.env("REPOOL_DIAGNOSTICS", said);
        }
        if default {
            child.env("SET_DEFAULT", "1");
        }
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let words = String::from_utf8_lossy(&output.stdout);
        let after = words.split("recorded ").nth(1).expect("the child's line");
        assert_eq!(after.split('.').next(), Some(recorded), "{environment:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            errors.contains("repool: REPOOL_DIAGNOSTICS="),
            complaint,
            "{errors}"
        );
    }
}

#[cfg(feature = "bytes")]
#[path = "diagnostics/buffers.rs"]
mod buffers;

// -------------------------------------------------------------------- arenas

#[cfg(feature = "bumpalo")]
mod arenas {
    use super::*;
    use repool::ArenaPool;

    fn pool(name: &str, diagnostics: Diagnostics) -> ArenaPool {
        ArenaPool::builder()
            .name(name)
            .trim_manually()
            .diagnostics(diagnostics)
            .build()
    }

    #[test]
    fn a_report_names_the_line_of_each_arena() {
        let pool = pool("arenas-report", NONE.leaks(1));
        for _ in 0..3 {
            let held = [pool.get(), pool.get()];
            held[0].alloc([7; 10_000]);
            assert_eq!(lines("arenas-report"), [(line!() - 2, 2)].into());
            drop(held);
            pool.with(|_| assert_eq!(lines("arenas-report"), [(line!(), 1)].into()));
            assert_eq!(lines("arenas-report"), BTreeMap::new());
        }
        assert_eq!(pool.stats().created, 2);
    }

    #[test]
    fn what_a_thread_gives_back_it_gets_next() {
        let pool = pool("arenas-own", NONE.deterministic());
        let own = |bytes| {
            pool.get().alloc_slice_fill_copy(bytes, 1_u8);
            pool.get().chunk_capacity()
        };
        let large = own(50_000);
        assert!(large >= 50_000);
        thread::scope(|scope| {
            scope.spawn(|| assert!(own(10) < 5_000));
        });
        assert_eq!(own(40_000), large);
        assert_eq!(pool.stats().created, 2);
    }

    #[test]
    fn spare_memory_of_arenas_has_nothing_of_the_last_request_under_chaos() {
        let pool = pool("arenas-poisoned", NONE.chaos(9));
        for _ in 0..n(50, 10) {
            let arena = pool.get();
            let spare = arena.chunk_capacity();
            assert!(spare > 1_000);
            let layout = std::alloc::Layout::array::<u8>(spare).unwrap();
            let start = arena.alloc_layout(layout);
            // SAFETY: the pool has written all of it.
            let seen = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), spare) };
            assert!(seen.iter().all(|byte| *byte == 0xA5));
            seen.fill(b's');
        }
        assert!(pool.stats().reused > n(10, 2) as u64);
    }
}
