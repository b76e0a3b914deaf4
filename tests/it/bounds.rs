//! The bounds that `src/memory.md` states: what one thread can keep to itself, and a check that the
//! tests it names exist.

use super::support::{Worker, manual, n, some};
use repool::Pool;
use std::path::Path;
use std::sync::Arc;

/// A list: at most this many objects, with this many bytes on the heap, or a single object with
/// more.
const LIST: usize = 64;
const LIST_BYTES: usize = 128 << 10;

/// What a pool has done, as far as these tests look at it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    created: usize,
    idle: usize,
    idle_bytes: usize,
}

impl Seen {
    fn of(stats: &repool::Stats) -> Self {
        Self {
            created: stats.created as usize,
            idle: stats.idle as usize,
            idle_bytes: stats.idle_bytes as usize,
        }
    }
}

/// Lets one thread return `many` objects at once, gets as many on this thread, and returns what is
/// still idle: the other thread has it to itself.
fn kept_by_one_thread<P: Send + Sync + 'static, G: Send + 'static>(
    pool: P,
    many: usize,
    get: fn(&P) -> G,
    seen: fn(&P) -> Seen,
) -> Seen {
    let pool = Arc::new(pool);
    let hoarder = Worker::new();
    let source = pool.clone();
    hoarder.run(move || drop((0..many).map(|_| get(&source)).collect::<Vec<_>>()));
    let before = seen(&pool);
    let got: Vec<_> = (0..before.idle).map(|_| get(&pool)).collect();
    let left = seen(&pool);
    // A get that creates has found nothing in reach.
    assert_eq!(
        left.idle,
        left.created - before.created,
        "{before:?}, {left:?}"
    );
    drop(got);
    hoarder.end();
    left
}

/// `own` is the size of an object apart from what it has on the heap.
#[track_caller]
fn assert_two_lists(left: Seen, own: usize, heap: usize) {
    assert_two_lists_of(LIST_BYTES, left, own, heap);
}

#[track_caller]
fn assert_two_lists_of(list_bytes: usize, left: Seen, own: usize, heap: usize) {
    let bytes = left.idle_bytes - left.idle * own;
    let within = left.idle <= 2 * LIST && bytes <= 2 * list_bytes;
    assert!(
        within || left.idle <= 2,
        "objects of {heap} bytes: {left:?}"
    );
}

#[test]
fn one_thread_keeps_at_most_two_lists_to_itself() {
    for weight in some(
        [
            0,
            1,
            1_000,
            2_047,
            2_048,
            2_049,
            4_096,
            65_000,
            131_071,
            131_072,
            131_073,
            1 << 20,
        ],
        3,
    ) {
        for many in some([1, 3, 63, 64, 65, 127, 128, 129, 191, 192, 193, 300], 2) {
            let pool = manual(move || Vec::<u8>::with_capacity(weight)).build();
            let seen = |pool: &Pool<Vec<u8>>| Seen::of(&pool.stats());
            let left = kept_by_one_thread(pool, many, Pool::get, seen);
            assert_two_lists(left, size_of::<Vec<u8>>(), weight);
        }
    }
}

#[test]
fn one_thread_keeps_at_most_a_quarter_of_a_limit_to_itself() {
    for limit in some([1, 2, 7, 8, 40, 16, 80, 200, 400, 1_000], 2) {
        let pool = manual(|| 0_u8).reset(|_| true).max_idle(limit).build();
        let left = kept_by_one_thread(pool, 2 * limit, Pool::get, |pool| Seen::of(&pool.stats()));
        let most = (2 * (limit / 8).max(1)).min(2 * LIST);
        assert!(left.idle <= most, "limit {limit}: {left:?}");
    }
}

#[test]
#[cfg(all(feature = "bytes", feature = "bumpalo"))]
fn one_thread_keeps_at_most_two_lists_of_a_class_to_itself() {
    use repool::{ArenaPool, BufferPool};

    let buffers = || BufferPool::builder().trim_manually().build();
    let seen = |pool: &BufferPool| Seen::of(&pool.stats());
    let left = kept_by_one_thread(buffers(), n(300, 130), |pool| pool.get(64), seen);
    assert_two_lists(left, 0, 64);
    let left = kept_by_one_thread(buffers(), n(100, 20), |pool| pool.get(16 << 10), seen);
    assert_two_lists(left, 0, 16 << 10);
    let left = kept_by_one_thread(buffers(), n(20, 4), |pool| pool.get(1 << 20), seen);
    assert_two_lists(left, 0, 1 << 20);

    let seen = |pool: &ArenaPool| Seen::of(&pool.stats());
    for (list_bytes, limit) in [(2 * LIST_BYTES, usize::MAX), (LIST_BYTES, 1 << 30)] {
        for first in [4 << 10, 16 << 10, 200 << 10] {
            let arenas = ArenaPool::builder()
                .first_chunk(first)
                .max_idle_bytes(limit)
                .trim_manually()
                .build();
            let many = n(200, 2 * list_bytes / first + 12);
            let left = kept_by_one_thread(arenas, many, ArenaPool::get, seen);
            assert_two_lists_of(list_bytes, left, 0, first);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn every_stated_bound_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    let page = read("src/memory.md");
    let mut rows = 0;
    for row in page
        .lines()
        .skip_while(|line| *line != "| | bound | tests |")
        .skip(2)
    {
        let Some(tests) = row
            .strip_suffix(" |")
            .and_then(|row| row.rsplit(" | ").next())
        else {
            break;
        };
        let (mut file, mut names) = (String::new(), 0);
        for name in tests.split('`').skip(1).step_by(2) {
            if !name.ends_with(".rs") {
                assert!(file.contains(&format!("fn {name}(")), "{name}, of {row}");
                names += 1;
                continue;
            }
            file = match name.starts_with("src/") {
                true => read(name),
                false => read(&format!("tests/{name}")),
            };
        }
        assert!(names > 0, "no test holds {row}");
        rows += 1;
    }
    assert!(rows > 15, "{rows}");
}
